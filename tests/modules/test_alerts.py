"""Alerts that evaluations read: real ones of both surveys, each once, in the columns that the jobs make; truth as packets tell it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fink_broker import curve

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
    names = ("mjd", "ra", "flux", "snr", "first_mjd", "n_detections", "reliability", "neighbour_distance_arcsec", "neighbour_star_score")
    frame = _alerts.columns("ztf", [packet for _, packet in found], names)
    assert len(frame) == 67
    for place, row in frame.iterrows():
        expected = _real.row(found[int(str(place))][0])
        assert row[list(names)].to_numpy(float) == pytest.approx(np.array([expected[name] for name in names], float), rel=1e-5, nan_ok=True)


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
