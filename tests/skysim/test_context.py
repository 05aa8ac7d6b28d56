"""What an alert says of the time before the simulated days: no later day changes it, and stars were detected as often then."""

import numpy as np
import pytest

from fink_broker.skysim.alerts import _past
from fink_broker.skysim.context import context, earlier
from fink_broker.skysim.observation import Observed, Sky


def cut(seen: Observed, last: np.ndarray) -> Observed:
    """The same things as if nobody had looked after a visit of each."""
    stays = np.arange(len(seen.mjd)) <= last[seen.who]
    end = np.cumsum(np.bincount(seen.who[stays], minlength=len(seen.begin)))
    columns = (getattr(seen, name)[stays] for name in ("mjd", "band", "flux", "err", "depth", "seeing", "forced", "detected", "usable"))
    return Observed(seen.kind, seen.things, np.concatenate([[0], end[:-1]]), end, *columns)


@pytest.mark.parametrize("kind", ["rr_lyrae", "dwarf_nova", "agn", "bogus", "sn_ia", "asteroid"])
@pytest.mark.parametrize("which", [0, 1])
def test_nothing_an_alert_says_of_the_past_knows_the_days_after_it(kind: str, which: int) -> None:
    model = Sky("ztf", 5, {kind: 1}, models="built-in")
    seen = model.block(0, 60)[0]
    things = np.arange(len(seen.begin))
    usable = [np.flatnonzero(seen.usable[begin:end]) + begin for begin, end in zip(seen.begin, seen.end, strict=True)]
    alert = np.array([places[min(which, len(places) - 1)] for places in usable])
    shorter = cut(seen, alert)
    before, after = (context(np.random.default_rng(9), model, one, things, place) for one, place in ((seen, alert), (shorter, shorter.end - 1)))
    assert len(shorter.mjd) < len(seen.mjd)
    for name in ("ra", "dec", "ss_distance_arcsec", "reliability", "first_mjd", "n_detections", "neighbour_distance_arcsec"):
        assert np.array_equal(getattr(before, name), getattr(after, name), equal_nan=True), name
    assert before.quality == after.quality
    for thing in things[:9].tolist():
        assert _past(np.random.default_rng(4), model, seen, thing) == _past(np.random.default_rng(4), model, shorter, thing)


def test_stars_were_seen_as_often_before_as_in_the_simulated_days() -> None:
    model = Sky("ztf", 6, {"rr_lyrae": 1}, models="built-in")
    (seen,) = model.block(0, 400)
    plan = model.heaven.schedule
    _, more = earlier(np.random.default_rng(1), seen.kind, seen.things, model.heaven)
    often = seen.detected.sum() / len(seen.begin) / plan.days
    assert more.mean() == pytest.approx(often * (plan.first - 58050) * 0.83, rel=0.2)
