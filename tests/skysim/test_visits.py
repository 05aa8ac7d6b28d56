"""Simulated nights like real ones: looked at where, when and as deep as real alerts tell."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fink_broker import sky
from fink_broker.errors import ConfigError
from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.observatory import LSST, ZTF, magnitude, nanojansky
from fink_broker.skysim.places import extragalactic
from fink_broker.skysim.realism import compare, features, real
from fink_broker.skysim.visits import visited

JD = 2460324.9  # January 15, 2024, before midnight in California


def visit(days_before: float, fid: int = 1, depth: float | None = 20.5) -> dict[str, object]:
    return {"jd": JD - days_before, "fid": fid, "diffmaglim": depth}


def alert(ra: float, dec: float, *before: dict[str, object], **own: object) -> dict[str, object]:
    return {"candidate": visit(0.0) | {"ra": ra, "dec": dec, "jdstarthist": JD - 100.0} | own, "prv_candidates": list(before) or None}


MJD = 61109.2  # March 10, 2026, in the night of Chile


def source(days_before: float, band: str = "g", light: float = 0.0, psf: float | None = 0.36) -> dict[str, object]:
    """A measurement of LSST: of a detection with the width of its point-spread function [arcsec2], of forced photometry without."""
    dark = 400.0**2  # [nJy2]
    err = float((dark + (1 + LSST.template_light) * light * nanojansky(LSST.zero_electrons["ugrizy".index(band)])) ** 0.5)
    widths = {} if psf is None else {"ixxPSF": psf, "iyyPSF": psf}
    return {"visit": round((MJD - days_before) * 1e5), "midpointMjdTai": MJD - days_before, "band": band, "psfFluxErr": err, "scienceFlux": light} | widths


def deep(ra: float, dec: float, forced: list[dict[str, object]] | None = None, seen: list[dict[str, object]] | None = None) -> dict[str, object]:
    """A packet of LSST."""
    return {"diaSource": source(0.0) | {"ra": ra, "dec": dec}, "prvDiaSources": seen, "prvDiaForcedSources": forced}


def test_places_of_lsst_are_visited_as_forced_photometry_and_detections_tell() -> None:
    forced = [source(10.0, "i", 1e5, None), source(3.0, "z", psf=None), source(0.01, psf=None), source(0.0, psf=None)]
    old = deep(150.0, 2.0, forced, [source(20.0, "r", psf=0.25), source(3.0, "z", psf=0.5)])
    young, moving = deep(150.9, 2.0, [source(0.0, psf=None)]), deep(150.0, 3.2)
    north = deep(188.0, 9.8, [source(0.0, psf=None)])
    plan = visited(LSST, [old, young, moving, north])
    field = plan.field_of(np.array([150.1, 151.1, 150.1, 188.1, 35.7]), np.array([2.1, 2.1, 3.1, 9.9, -4.75]))
    assert plan.count[field].tolist() == [5, 5, 5, 1, 0]  # a young object and one that moves tell less of their place than their neighbour
    visits = slice(plan.start[field[0]], plan.start[field[0]] + 5)
    assert np.allclose(MJD - plan.mjd[visits], [20, 10, 3, 0.01, 0], atol=1e-6)
    assert [LSST.bands[one] for one in plan.band[visits]] == ["r", "i", "z", "g", "g"]
    assert np.allclose(plan.depth[visits], magnitude(np.full(5, 5 * 400.0)))  # the noise of the light is no lack of depth
    assert np.allclose(plan.seeing[visits][[0, 2, 4]], 2.355 * np.sqrt([0.25, 0.5, 0.36]))
    assert (plan.settled - plan.start)[field].tolist()[:4] == [3, 3, 3, 0]


def test_places_in_the_milky_way_have_galaxies_too() -> None:
    blind = deep(266.0, -28.0, [source(0.0, psf=None) | {"psfFluxErr": None}]) | {"diaSource": source(0.0) | {"ra": 266.0, "dec": -28.0, "psfFluxErr": None}}
    plan = visited(LSST, [deep(266.4, -29.0, [source(1.0, psf=None), source(0.0, psf=None)]), blind])  # one tells no error, and so nothing
    ra, dec = extragalactic(np.random.default_rng(1), 40, plan.site)
    assert (np.hypot((ra - 266.4) * np.cos(np.radians(29)), dec + 29) < 1.7).all()


def test_a_real_night_of_lsst_has_the_same_past(shared: Path) -> None:
    packets = list(real([shared / "alerts/lsst/lsst_v10_0_fink_20260310"], "lsst"))
    made = list(Campaign("lsst", 150, 1, mix={"AGN": 1.0, "asteroid": 0.5}, models="built-in", plan=visited(LSST, packets)).alerts())
    assert len(made) == 150
    times = np.array([one["diaSource"]["midpointMjdTai"] for one in packets])
    assert {round(one.mjd, 5) for one in made} <= {round(time, 5) for time in times}
    true, simulated = (pd.DataFrame(features("lsst", one) for one in some) for some in (packets, [one.packet for one in made]))
    assert compare(simulated, true)["KS"]["forced"] < 0.25


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
    with pytest.raises(ConfigError, match="no alert to take the nights from; give files of LSST alerts of objects seen before"):
        visited(LSST, [])
    with pytest.raises(ConfigError, match=r"^none of 1 alerts has forced photometry \(prvDiaForcedSources\), so there is no alert to take the nights from"):
        visited(LSST, [deep(150.0, 2.0)])
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
