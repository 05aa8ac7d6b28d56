"""Simulated nights like real ones: looked at where, when and as deep as real alerts tell."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fink_broker import sky
from fink_broker.errors import ConfigError
from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.observatory import LSST, ZTF
from fink_broker.skysim.realism import compare, features, real
from fink_broker.skysim.visits import visited

JD = 2460324.9  # January 15, 2024, before midnight in California


def visit(days_before: float, fid: int = 1, depth: float | None = 20.5) -> dict[str, object]:
    return {"jd": JD - days_before, "fid": fid, "diffmaglim": depth}


def alert(ra: float, dec: float, *before: dict[str, object], **own: object) -> dict[str, object]:
    return {"candidate": visit(0.0) | {"ra": ra, "dec": dec, "jdstarthist": JD - 100.0} | own, "prv_candidates": list(before) or None}


def test_places_are_visited_as_the_nearest_alert_was_and_only_near_one() -> None:
    plan = visited(ZTF, [alert(100.0, 30.0, visit(12.0, 2, 19.5), visit(0.05, 2), visit(0.05, 2)), alert(103.0, 30.0)])
    field = plan.field_of(np.array([100.2, 102.9, 107.0, 100.0]), np.array([30.1, 30.2, 30.0, -20.0]))
    assert plan.count[field].tolist() == [3, 1, 0, 0]
    who, place = plan.visits(field)
    assert who.tolist() == [0, 0, 0, 1]
    assert np.allclose(plan.mjd[place[:3]], sky.mjd_tai([JD - 12, JD - 0.05, JD]), atol=1e-6)
    assert plan.band[place].tolist() == [1, 1, 0, 0]
    assert plan.depth[place].tolist() == [19.5, 20.5, 20.5, 20.5]
    assert (plan.settled[field] - plan.start[field]).tolist() == [1, 0, 0, 0]  # what is older than its night gives no alert
    assert plan.watched(np.array([100.2, 107.0]), np.array([30.1, 30.0])).tolist() == [True, False]


def test_what_is_not_a_visit_does_not_count() -> None:
    moved, dark = alert(200.0, 0.0, jdstarthist=JD + 3.0), alert(220.0, 0.0, diffmaglim=None)
    plan = visited(ZTF, [alert(100.0, 30.0, visit(2.0, 7), visit(3.0, 1, None), visit(4.0, 1, -999.0), visit(-1.0)), moved, dark])
    assert plan.count.max() == 1
    assert not plan.watched(np.array([200.0, 220.0]), np.array([0.0, 0.0])).any()


def test_what_cannot_be_simulated_again_is_told() -> None:
    with pytest.raises(ConfigError, match="no alert to take the nights from; give files of ZTF alerts"):
        visited(ZTF, [])
    with pytest.raises(ConfigError, match="only the nights of ZTF's alerts can be simulated again"):
        visited(LSST, [alert(100.0, 30.0)])
    years = [alert(100.0, 30.0), alert(103.0, 30.0, jd=JD - 700, jdstarthist=JD - 800)]
    with pytest.raises(ConfigError, match="the alerts lie 700 nights apart; give those of 10 nights at most at a time"):
        visited(ZTF, years)


def test_a_real_night_has_the_same_past(shared: Path) -> None:
    packets = list(real(sorted((shared / "alerts/ztf/labelled").glob("fink_night_20240115_part*.parquet")), "ztf"))
    campaign = Campaign("ztf", 400, 1, models="built-in", plan=visited(ZTF, packets))
    assert campaign.chunks == 1
    made = list(campaign.alerts())
    assert 350 < len(made) <= 400
    times = np.array([one["candidate"]["jd"] for one in packets])
    assert times.min() - 0.5 < made[0].packet["candidate"]["jd"] <= made[-1].packet["candidate"]["jd"] < times.max() + 1e-4
    true, simulated = (pd.DataFrame(features("ztf", one) for one in some) for some in (packets, [one.packet for one in made]))
    table = compare(simulated, true)["KS"]
    assert (table[["history", "history_days", "nights", "gap_median_days", "diffmaglim"]] < 0.13).all(), table


def test_the_seeing_is_of_the_nights_detections() -> None:
    plan = visited(ZTF, [alert(100.0 + 3 * place, 30.0, visit(5.0), fwhm=width) for place, width in enumerate((1.4, 2.0, 2.2, 2.4, 2.6, 2.8))])
    same_night = np.abs(plan.mjd - sky.mjd_tai([JD])) < 0.5
    assert np.median(plan.seeing[same_night]) == pytest.approx(2.4 * 1.01 / 1.28, rel=0.05)
    assert np.median(plan.seeing[~same_night]) != pytest.approx(2.4 * 1.01 / 1.28, rel=1e-3)
