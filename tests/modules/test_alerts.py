"""Alerts that evaluations read: real ones of both surveys, each once, in the columns that the jobs make; truth as packets tell it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fink_broker import curve
from fink_broker.science import Registry
from fink_broker.settings import data_folder
from fink_broker.skysim import light_curves
from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.kind import LABELS
from fink_broker.survey import load_survey
from fink_broker.testing import encode

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LSST = ("lsst_v10_0_fink_20260310", "lsst_v10_0_fink_filters_20260101.parquet", "lsst_v10_0_fink_client_20260306.avro", "lsst_v9_0_lsstcam_20250906.tar.xz")


def test_real_lsst_alerts_come_once_and_as_jobs_decode_them(spark: SparkSession, shared: Path) -> None:
    from science_modules import _alerts, _lsst

    folder = shared / "alerts" / "lsst"
    found = _alerts.real([folder / LSST[0], folder / "lsst_v10_0_as_raw_avro_20260310.tar.xz"], "lsst")
    assert len(found) == 57  # the Avro files are copies of 30 of them
    frame = _alerts.columns("lsst", [packet for _, packet in found], ("alert_id", "n_detections", *curve.INPUTS))
    assert frame["mjd"].is_monotonic_increasing
    for place, row in frame.iterrows():
        record = found[int(str(place))][0]
        assert row["alert_id"] == str(record["diaSource"]["diaSourceId"])
        fluxes = [point["psfFlux"] for name in ("prvDiaSources", "prvDiaForcedSources") for point in record[name] or [] if point["psfFlux"] is not None]
        assert np.sort(row["lightcurve.flux"]) == pytest.approx(np.sort([*fluxes, record["diaSource"]["psfFlux"]]), rel=1e-5)
    known = [_lsst.truth(record) for record, _ in found]
    assert {name: known.count(name) for name in ("asteroid", "agn", "variable_star", "transient")} == {
        "asteroid": 16, "agn": 29, "variable_star": 1, "transient": 0,
    }  # fmt: skip


def test_ztf_alerts_as_jobs_decode_them_are_those_that_the_cards_count(spark: SparkSession, shared: Path) -> None:
    from science_modules import _alerts, _real

    file = shared / "alerts" / "ztf" / "labelled" / "fink_filters_regular_20211122_b.parquet"
    found = _alerts.real([file], "ztf")
    names = ("mjd", "ra", "flux", "snr", "first_mjd", "n_detections", "reliability", "neighbour_distance_arcsec", "neighbour_star_score",
             "template_flux")  # fmt: skip
    frame = _alerts.columns("ztf", [packet for _, packet in found], names)
    assert len(frame) == 67
    for place, row in frame.iterrows():
        expected = _real.row(found[int(str(place))][0])
        assert row[list(names)].to_numpy(float) == pytest.approx(np.array([expected[name] for name in names], float), rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("survey", ["ztf", "lsst", "elasticc"])
def test_light_in_the_template_is_that_of_the_packet_and_of_light_curves_without_packets(spark: SparkSession, survey: str) -> None:
    from scipy.stats import ks_2samp

    from science_modules import _alerts

    mix = {"AGN": 1, "periodic variable": 1, "SN Ia": 1, "asteroid": 1}
    made = list(Campaign(survey, 300, seed=8, nights=30, mix=mix, models="built-in").alerts())
    found = _alerts.columns(survey, [encode(load_survey(data_folder("schemas"), survey), one.packet) for one in made], ["template_flux"])["template_flux"]
    curves, _ = light_curves(1000, survey, 9, at="all", mix=mix, models="built-in")
    if survey == "elasticc":
        assert found.isna().all()
        assert curves["template_flux"].isna().all()
        return
    assert curves["template_flux"].isna().mean() == pytest.approx(found.isna().mean(), abs=0.1)
    logs = [np.log10(np.maximum(values.dropna().to_numpy(float), 10)) for values in (found, curves["template_flux"].sample(3000, random_state=1))]
    assert ks_2samp(*logs).statistic < 0.3  # other things, weighed by their alerts
    if survey == "lsst":
        assert found.to_numpy(float) == pytest.approx(np.array([one.packet["diaSource"]["templateFlux"] for one in made]), rel=1e-5)


@pytest.mark.parametrize(
    ("own", "matched", "group"),
    [
        ({"ssObjectId": 7}, {"simbad_otype": "QSO"}, "asteroid"), ({"ssObjectId": 0}, {"simbad_otype": "QSO"}, "agn"), ({}, {"simbad_otype": "Sy1"}, "agn"),
        ({}, {"simbad_otype": "AG?"}, None), ({}, {"simbad_otype": "EB*"}, "variable_star"), ({}, {"simbad_otype": "RR*"}, "variable_star"),
        ({}, {"simbad_otype": "SN*"}, "transient"), ({}, {"tns_type": "SN Ia", "simbad_otype": "QSO"}, "transient"), ({}, {"simbad_otype": "Cl*"}, None),
        ({}, {"simbad_otype": "G"}, None), ({"ssObjectId": None}, None, None),
    ],
)  # fmt: skip
def test_truth_of_an_lsst_alert(own: dict[str, object], matched: dict[str, str] | None, group: str | None) -> None:
    from science_modules import _lsst

    assert _lsst.truth({"diaSource": own, "xm": matched}) == group


def test_a_module_is_counted_by_groups_beside_simple_rules(spark: SparkSession, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from science_modules import _lsst

    class Always:
        """A rule that says one thing."""

        def __init__(self, word: str) -> None:
            self.word = word

        def predict(self, numbers: np.ndarray) -> np.ndarray:
            return np.full(len(numbers), self.word, object)

    monkeypatch.setattr(_lsst, "learned", lambda survey: (Always("AGN"), Always("asteroid")))
    module = Registry.load(data_folder("science_modules")).get("transient")()
    lines = _lsst.report(module, [shared / "alerts" / "lsst" / LSST[0]], {label: _lsst.GROUPS[label] for label in LABELS})
    assert lines[0] == "57 real LSST alerts, 46 with truth"
    asteroids = next(line for line in lines if line.startswith("| asteroid")).split("|")
    assert [int(asteroids[2]), sum(int(cell) for cell in asteroids[3:-1])] == [16, 16]
    scores = {line.split("|")[1].strip(): float(line.split("|")[2]) for line in lines[-4:]}
    assert scores["cuts in magnitude and colour, learned on the simulation"] == scores["always the most frequent group"] == round(29 / 46, 3)
    assert scores["the same of groups, each alike"] == round(16 / 46, 3)


def test_cuts_of_groups_take_each_alike() -> None:
    from science_modules._baseline import cuts

    flat = np.zeros((400, 2))
    flat[:90, 0] = 1.0  # of the fainter 90 sixty are stars, thirty asteroids: in shares of their kind asteroids are more
    kinds = np.repeat(np.array(["star", "asteroid", "star"], object), [60, 30, 310])
    assert cuts(flat, kinds).predict(np.array([[1.0, 0.0]]))[0] == "star"
    assert cuts(flat, kinds, alike=True).predict(np.array([[1.0, 0.0]]))[0] == "asteroid"
