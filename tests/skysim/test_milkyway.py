"""How many stars there are at each magnitude, against laws that can be worked out."""

from dataclasses import replace

import numpy as np
import pytest

from fink_broker.skysim import stars, variables
from fink_broker.skysim.milkyway import Population, counts, disc, halo, magnitudes, ratio
from fink_broker.skysim.observatory import LSST, ZTF
from fink_broker.skysim.population import KINDS
from fink_broker.skysim.variables import RR_LYRAE

ALL = (-90.0, 90.0)


def slope(population: Population, low: float, high: float, brightest: float = 5.0, faintest: float = 30.0) -> float:
    """Growth of the numbers between two magnitudes, as a power of ten."""
    grid, share = counts(population, ALL, brightest, faintest)
    density = np.interp([low, high], (grid[1:] + grid[:-1]) / 2, np.diff(share))
    return float(np.log10(density[1] / density[0]) / (high - low))


def test_near_stars_fill_space_and_far_ones_the_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fink_broker.skysim.milkyway.SLAB", 0.0)
    assert slope(Population(disc(1e6), 10.0, 0.3), 12, 14) == pytest.approx(0.6, abs=0.02)  # Euclid's, where the density is the same
    assert slope(Population(disc(20), 6.0, 0.3), 14.5, 16.5) == pytest.approx(0.4, abs=0.03)  # of a thin sheet
    assert slope(Population(halo, 0.6, 0.1), 20, 22) == pytest.approx(0.6 - 4.5 / 5, abs=0.04)  # r^-4.5, as r grows by 10^0.2 a magnitude


def test_dust_hides_what_is_far_in_the_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    dusty = slope(Population(disc(70), 0.0, 0.5), 9, 15)
    monkeypatch.setattr("fink_broker.skysim.milkyway.SLAB", 0.0)
    assert dusty < slope(Population(disc(70), 0.0, 0.5), 9, 15) - 0.05


@pytest.mark.parametrize("site", [ZTF, LSST])
def test_magnitudes_are_drawn_as_they_are_counted(site: object) -> None:
    some = replace(RR_LYRAE, faintest=20.0)
    drawn = magnitudes(np.random.default_rng(1), 50_000, some, site)  # type: ignore[arg-type]
    grid, share = counts(some, site.dec_range, 12.5, 20.0)  # type: ignore[attr-defined]
    assert drawn.min() >= 12.5
    assert drawn.max() <= 20.0
    assert np.mean(drawn < 16) == pytest.approx(np.interp(16, grid, share), abs=0.01)


def test_lsst_has_as_many_more_stars_as_it_reaches() -> None:
    populations = {"dwarf_nova": stars.DWARF_NOVAE, "m_dwarf_flare": stars.M_DWARFS, "young_star": stars.YOUNG_STARS, "rr_lyrae": variables.RR_LYRAE,
                   "cepheid": variables.CEPHEIDS, "eclipsing_binary": variables.ECLIPSING, "long_period_variable": variables.LONG_PERIOD}  # fmt: skip
    for name, population in populations.items():
        stated = KINDS[name].per_year
        assert stated["lsst"] / stated["ztf"] == pytest.approx(ratio(population, LSST, ZTF), rel=0.06), name
