"""Comparison of simulated with real alerts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.realism import compare, features, main, real, tell_apart


def test_two_simulations_are_alike_and_another_kind_is_not() -> None:
    one, other = (
        pd.DataFrame(features("ztf", made.packet) for made in Campaign("ztf", 120, seed, mix={"rr_lyrae": 1.0}, models="built-in").alerts()) for seed in (1, 2)
    )
    asteroids = pd.DataFrame(features("ztf", made.packet) for made in Campaign("ztf", 120, 3, mix={"asteroid": 1.0}, models="built-in").alerts())
    assert compare(one, other)["KS"].median() < 0.2
    assert compare(one, asteroids)["KS"].max() > 0.5
    score, telling = tell_apart(one, asteroids)
    assert score > 0.95
    assert telling.sum() == pytest.approx(1)


def test_real_alerts_are_read(shared: Path) -> None:
    ztf = pd.DataFrame(features("ztf", packet) for packet in real([shared / "alerts/ztf/ztf_v4_02_boom_20240715.tar.xz"], "ztf"))
    assert len(ztf) == 6
    assert ztf["difference_peak"].notna().all()
    lsst = pd.DataFrame(features("lsst", packet) for packet in real([shared / "alerts/lsst/lsst_v10_0_fink_20260310"], "lsst"))
    assert len(lsst) == 57
    assert np.isfinite(lsst["log_flux"]).all()


def test_magnitudes_and_errors_are_as_in_a_real_night(shared: Path) -> None:
    night = sorted((shared / "alerts/ztf/labelled").glob("fink_night_20240115_part*.parquet"))
    true = pd.DataFrame(features("ztf", packet) for packet in real(night, "ztf")).query("rb > 0.55")
    simulated = pd.DataFrame(features("ztf", made.packet) for made in Campaign("ztf", 400, 1, models="built-in").alerts()).query("rb > 0.55")
    table = compare(simulated, true)["KS"]
    assert (table[["magpsf", "sigmapsf", "scorr", "g_minus_r", "fwhm", "chipsf", "distnr"]] < 0.25).all(), table


def test_what_cannot_be_compared_is_told_in_one_line(shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["realism", str(shared / "alerts/lsst/lsst_v9_0_lsstcam_20250906.tar.xz"), "--survey", "lsst", "--like"])
    with pytest.raises(SystemExit):
        main()
    assert "error: none of 57 alerts has forced photometry (prvDiaForcedSources)" in capsys.readouterr().err.splitlines()[-1]
