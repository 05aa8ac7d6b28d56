"""Numbers and orbits of asteroids against what was published of them."""

import numpy as np
import pytest

from fink_broker.skysim.asteroids import BEND, _orbits, bent


def test_asteroids_grow_more_slowly_beyond_the_bend() -> None:
    mag = bent(np.random.default_rng(2), 400_000, 14.5, 24.0)
    number = np.histogram(mag, np.arange(15.0, 24.1, 0.5))[0]
    middle = np.arange(15.25, 24.0, 0.5)
    for part, grown in ((middle < BEND - 0.3, 0.51), (middle > BEND + 0.3, 0.28)):
        assert np.polyfit(middle[part], np.log10(number[part]), 1)[0] == pytest.approx(grown, abs=0.04)
    assert abs(np.log10(np.mean(np.abs(mag - BEND + 0.05) < 0.05) / np.mean(np.abs(mag - BEND - 0.05) < 0.05))) < 0.1  # no step there


def test_orbits_of_the_belts_parts() -> None:
    found = _orbits(np.random.default_rng(3), 200_000, np.full(200_000, 61000.0))
    a, e, tilt = found["a_au"], found["e"], np.degrees(found["inclination"])
    trojans, hungarias, inner = a > 5, a < 2.01, (a > 2.1) & (a < 2.495)
    assert trojans.mean() == pytest.approx(109 / 5200, abs=0.002)  # Kurlander et al. 2025
    assert (tilt[hungarias] >= 16).all()
    assert (tilt[hungarias] <= 34).all()
    assert e[hungarias].max() < 0.18
    assert np.median(tilt[trojans]) == pytest.approx(13.7 * np.sqrt(2 * np.log(2)), abs=0.5)
    assert np.mean(e[inner] ** 2) == pytest.approx(0.13**2 + 2 * 0.06**2, rel=0.03)
    assert np.mean(e[inner] < 0.05) < 0.07  # few round ones
