"""Packets of the simulated sky: complete, in time order, consistent over an object's life, with truth beside them."""

import gzip
import io
import json
from collections import Counter, defaultdict
from pathlib import Path

import fastavro
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from fink_broker.errors import ConfigError
from fink_broker.framing import read_body
from fink_broker.replay import dig
from fink_broker.schema import SchemaLibrary
from fink_broker.settings import data_folder
from fink_broker.simulate import make_sky_packets
from fink_broker.skysim.alerts import Campaign
from fink_broker.survey import load_survey
from fink_broker.testing import MadeAlert, encode, newest

FOLDER = data_folder("schemas")
SURVEYS = ("ztf", "lsst", "elasticc")


@pytest.fixture(scope="module", params=SURVEYS)
def made(request: pytest.FixtureRequest) -> list[MadeAlert]:
    return list(Campaign(request.param, 250, seed=4, mix="even", models="built-in").alerts())


def test_complete_and_in_time_order(made: list[MadeAlert]) -> None:
    survey = made[0].survey
    about, library = load_survey(FOLDER, survey), SchemaLibrary.load(FOLDER, survey)
    assert len(made) == len({one.alert_id for one in made}) == 250
    assert [one.mjd for one in made] == sorted(one.mjd for one in made)
    assert made[-1].mjd - made[0].mjd < 3.5
    schema = newest(survey)
    for one in made:
        value = encode(about, one.packet)
        body = read_body(value, about, library)
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, schema.json, one.packet)
        assert body.data == stream.getvalue()
        assert str(dig(one.packet, about.paths["alert_id"])) == one.alert_id
    assert len({one.truth["kind"] for one in made}) > 15


def test_an_objects_alerts_tell_the_same_history(made: list[MadeAlert]) -> None:
    lists = {"ztf": ("prv_candidates", "jd"), "lsst": ("prvDiaSources", "midpointMjdTai"), "elasticc": ("prvDiaSources", "midPointTai")}
    name, time = lists[made[0].survey]
    objects: defaultdict[str, list[MadeAlert]] = defaultdict(list)
    for one in made:
        if one.truth["label"] != "asteroid":  # whose alerts know nothing of each other
            objects[one.object_id].append(one)
    again = 0
    for alerts in objects.values():
        for early, late in zip(alerts, alerts[1:], strict=False):
            own = early.packet.get("candidate") or early.packet["diaSource"]
            found = [point for point in late.packet[name] if point[time] == own[time]]
            assert len(found) == 1
            key = "candid" if made[0].survey == "ztf" else "diaSourceId"
            assert found[0][key] == own[key]
            again += 1
    assert again > 5


def test_stamps_show_what_was_measured() -> None:
    for one in Campaign("ztf", 60, seed=5, mix={"SN Ia": 1.0}, models="built-in").alerts():
        images = {}
        for name in ("Science", "Template", "Difference"):
            images[name] = fits.open(io.BytesIO(gzip.decompress(one.packet[f"cutout{name}"]["stampData"])))[0].data
            assert images[name].shape == (63, 63)
        difference = images["Difference"]
        if one.packet["candidate"]["scorr"] > 12 and np.isfinite(difference).all():
            assert np.abs(difference[29:34, 29:34]).max() > 4 * np.median(np.abs(difference))
    one = max(Campaign("lsst", 40, seed=5, models="built-in").alerts(), key=lambda one: one.packet["diaSource"]["bboxSize"])
    assert one.packet["diaSource"]["bboxSize"] > 35
    hdus = fits.open(io.BytesIO(one.packet["cutoutDifference"]))
    assert [hdu.data.shape for hdu in hdus[1:]] == [hdus[0].data.shape, (41, 41)]
    assert hdus[0].data.shape == (max(30, one.packet["diaSource"]["bboxSize"]),) * 2


def test_asteroids_are_found_again_in_the_same_night() -> None:
    alerts = list(Campaign("ztf", 200, seed=6, mix={"asteroid": 1.0}, models="built-in").alerts())
    names = Counter(one.packet["candidate"]["ssnamenr"] for one in alerts if one.packet["candidate"]["ssnamenr"] != "null")
    assert max(names.values()) > 1
    assert all(not [point for point in one.packet["prv_candidates"] or [] if point["magpsf"]] for one in alerts)
    assert len({one.object_id for one in alerts}) == 200


def test_campaigns_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="no simulated sky for survey 'x'"):
        Campaign("x", 5)
    with pytest.raises(ConfigError, match="0 alerts of 3 nights, 100000 a chunk; expected 1 or more of each"):
        Campaign("ztf", 0)
    with pytest.raises(ConfigError, match="no chunk 3 of 10000000 lsst alerts; expected 0 to 2"):
        Campaign("lsst", 10_000_000, first_chunk=3)


def test_the_truth_is_written_beside(tmp_path: Path) -> None:
    file = tmp_path / "truth" / "truth.parquet"
    campaign = {"number": 40, "seed": 8, "mix": "even", "models": "built-in"}
    packets = list(make_sky_packets(["ztf", "lsst"], FOLDER, campaign, file))
    table = pd.read_parquet(file)
    assert Counter(packet.survey for packet in packets) == {"ztf": 20, "lsst": 20}
    assert list(table["alert_id"]) == [packet.alert_id for packet in packets]
    assert table["kind"].notna().all()
    assert set(table["models"]) == {"built-in"}
    assert table.loc[table["label"] == "SN Ia", "redshift"].notna().all()
    assert all(isinstance(json.loads(text), dict) for text in table["parameters"])


def test_forced_photometry_of_lsst_begins_with_the_object() -> None:
    packets = [made.packet for made in Campaign("lsst", 200, 3, nights=1, mix="even").alerts()]
    some = [packet for packet in packets if packet["prvDiaForcedSources"]]
    assert len(some) > 20
    for packet in some:
        first = min(source["midpointMjdTai"] for source in packet["prvDiaSources"])
        assert all(point["midpointMjdTai"] > first for point in packet["prvDiaForcedSources"])
        assert packet["prvDiaForcedSources"][-1]["visit"] == packet["diaSource"]["visit"]  # as real ones have it


def test_the_catalogued_source_has_the_colours_of_what_lies_there() -> None:
    """Of 911 real alerts on a star half are between 0.30 and 0.99 in g - r, of 99 on a galaxy between 0.30 and 0.68; faint ones lack bands."""
    rows = [one.packet["candidate"] | {"label": one.truth["kind"]} for one in Campaign("ztf", 500, seed=3, nights=20, models="built-in").alerts()]
    colour = {
        kind: [row["sgmag1"] - row["srmag1"] for row in rows if row["label"] == kind and row["distpsnr1"] < 1] for kind in ("agn", "long_period_variable")
    }
    assert np.median(colour["agn"]) < 0.4 < 1.0 < np.median(colour["long_period_variable"])
    known = [row["sgmag1"] - row["srmag1"] for row in rows if row["sgmag1"] > -900 and row["distpsnr1"] < 1]
    assert 0.3 < np.median(known) < 0.9
    assert all(row["sgmag1"] < 23.3 for row in rows)
    assert all(row["szmag1"] == -999 or row["szmag1"] < 22.3 for row in rows)
