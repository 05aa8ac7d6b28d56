"""Made-up alerts: complete, plausible, the same for the same seed."""

import gzip
import io

import fastavro
import numpy as np
import pytest
from astropy.io import fits

from fink_broker.errors import ConfigError
from fink_broker.testing import KINDS, encode, make_alerts, newest

SURVEYS = ["ztf", "lsst", "elasticc"]


@pytest.mark.parametrize("survey", SURVEYS)
def test_packets_have_every_field_of_the_schema_and_survive_the_wire(survey: str) -> None:
    schema = newest(survey)
    names = [field["name"] for field in schema.json["fields"]]
    for made in make_alerts(survey, 40):
        assert list(made.packet) == names
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, schema.json, made.packet, strict=True)
        stream.seek(0)
        back = fastavro.schemaless_reader(stream, schema.json, None)
        assert back["diaSource" if survey != "ztf" else "candidate"].keys() == made.packet["diaSource" if survey != "ztf" else "candidate"].keys()
    if survey == "ztf":
        record = next(iter(fastavro.reader(io.BytesIO(encode(survey, made.packet)))))
        assert record["candid"] == int(made.alert_id)  # type: ignore[index, call-overload]


@pytest.mark.parametrize("survey", SURVEYS)
def test_ids_are_unique_times_in_order_and_the_seed_decides(survey: str) -> None:
    alerts = list(make_alerts(survey, 300, seed=5))
    assert len({made.alert_id for made in alerts}) == 300
    assert 30 < len({made.object_id for made in alerts}) < 300
    assert all(one.mjd <= other.mjd for one, other in zip(alerts, alerts[1:], strict=False))
    assert {made.truth["kind"] for made in alerts} == set(KINDS)
    again = list(make_alerts(survey, 300, seed=5))
    assert [encode(survey, made.packet) for made in again[:20]] == [encode(survey, made.packet) for made in alerts[:20]]


def test_magnitudes_errors_and_history_fit_together() -> None:
    for made in make_alerts("ztf", 200):
        candidate = made.packet["candidate"]
        assert 0 < candidate["sigmapsf"] < 0.25
        assert candidate["magpsf"] < candidate["diffmaglim"] + 0.1
        for earlier in made.packet["prv_candidates"] or []:
            assert candidate["jd"] - 30.01 < earlier["jd"] < candidate["jd"]
            assert (earlier["magpsf"] is None) == (earlier["candid"] is None)
    sizes = [len(encode("ztf", made.packet)) for made in make_alerts("ztf", 60)]
    assert 45_000 < np.median(sizes) < 90_000


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_stamps_have_the_source_in_their_middle(survey: str) -> None:
    for made in make_alerts(survey, 30, kinds=["asteroid"]):
        stamp = made.packet["cutoutDifference"]
        value = gzip.decompress(stamp["stampData"]) if survey == "ztf" else stamp
        with fits.open(io.BytesIO(value)) as hdus:
            assert len(hdus) == (1 if survey == "ztf" else 3)
            image = hdus[0].data
        middle = image.shape[0] // 2
        assert abs(image[middle - 2 : middle + 3, middle - 2 : middle + 3]).max() > 3 * np.std(image[:10])


def test_an_unknown_survey_or_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="no made-up alerts for survey 'atlas'; there are elasticc, lsst, ztf"):
        next(make_alerts("atlas"))
    with pytest.raises(ConfigError, match="unknown kind nova; known: supernova"):
        next(make_alerts("ztf", kinds=["nova"]))
