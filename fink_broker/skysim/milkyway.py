"""How many stars of a kind stand at each magnitude: where they are in the Milky Way, how bright they are, and the dust before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from fink_broker.skysim.cosmos import Floats
from fink_broker.skysim.observatory import Observatory
from fink_broker.skysim.places import SLAB, from_galactic

SUN = 8178.0  # [pc] from the centre (GRAVITY Collaboration 2019, A&A 625, L10)
DUST_HEIGHT = 100.0  # [pc] (Parenago 1940)
LENGTH = 2600.0  # [pc] of the thin disc (Juric et al. 2008, ApJ 673, 864)
FARTHEST = 26.0  # modulus: 160 kpc

Density = Callable[[Floats, Floats], Floats]  # of distances from the axis and from the plane [pc]


def disc(height: float) -> Density:
    """An exponential disc with a scale height [pc]."""
    return lambda axis, plane: np.exp(-(axis - SUN) / LENGTH - np.abs(plane) / height)


def halo(axis: Floats, plane: Floats) -> Floats:
    """Of RR Lyrae: flattened to 0.63 and r^-2.5 (Sesar et al. 2013, AJ 146, 21: -2 to -3), r^-4.5 from 30 kpc on (2010, ApJ 708, 717; Watkins et al. 2009,
    MNRAS 398, 1757); even within 2 kpc."""
    r = np.maximum(np.hypot(axis, plane / 0.63), 2000.0) / 30_000
    return np.where(r < 1, r**-2.5, r**-4.5)


@dataclass(frozen=True)
class Population:
    """Stars of one kind: their density and absolute magnitudes in r, with the scatter; and between which magnitudes they alert."""

    density: Density
    absolute: float
    scatter: float
    brightest: float = 12.3
    beyond: float = 0.0  # the faintest that a good visit just sees
    faintest: float = np.inf

    def limits(self, site: Observatory) -> tuple[float, float]:
        """Magnitudes in r between which a survey may see them change."""
        return self.brightest, min(site.limit() + self.beyond, self.faintest)


def _brighter(population: Population, dec_range: tuple[float, float], edges: Floats) -> Floats:
    """Stars brighter than magnitudes (a tenth apart), in units of the population's own."""
    sine = np.geomspace(2e-3, 1, 32)
    lon, up = (grid.ravel() for grid in np.meshgrid(np.arange(10.0, 180, 20), sine, indexing="ij"))
    _, dec = from_galactic(np.stack([lon, lon, -lon, -lon]), np.degrees(np.arcsin(up * [[1], [-1], [1], [-1]])))  # all alike, seen from the Sun
    weight = np.interp(up, sine, np.gradient(sine)) * ((dec > dec_range[0]) & (dec < dec_range[1])).sum(axis=0)
    modulus = np.arange(0, FARTHEST, 0.2)[:, None]
    far = 10 ** (0.2 * modulus + 1)
    along, plane = far * np.sqrt(1 - up**2), far * up
    axis = np.sqrt(SUN**2 + along**2 - 2 * SUN * along * np.cos(np.radians(lon)))
    dimmed = 2.285 * SLAB / up * (1 - np.exp(-plane / DUST_HEIGHT))
    number = far**3 * population.density(axis, plane) * weight
    seen = np.histogram(population.absolute + modulus + dimmed, edges, weights=number)[0]
    spread = np.exp(-0.5 * (np.arange(-60, 61) * 0.1 / population.scatter) ** 2)
    return np.concatenate([[0.0], np.cumsum(np.convolve(seen, spread, "same"))])


@cache
def counts(population: Population, dec_range: tuple[float, float], brightest: float, faintest: float) -> tuple[Floats, Floats]:
    """Magnitudes, and the share of a population's stars between the limits that are brighter, on the sky that a survey sees."""
    edges = np.arange(brightest - 8, faintest + 8, 0.1)
    grid = np.linspace(brightest, faintest, 200)
    share = np.interp(grid, edges, _brighter(population, dec_range, edges))
    return grid, (share - share[0]) / (share[-1] - share[0])


def magnitudes(rng: np.random.Generator, number: int, population: Population, site: Observatory) -> Floats:
    """Magnitudes in r, as seen, of stars of a population that a survey may see change."""
    grid, share = counts(population, site.dec_range, *population.limits(site))
    return np.interp(rng.random(number), share, grid)


def ratio(population: Population, site: Observatory, other: Observatory) -> float:
    """How many times as many of a population's stars one survey may see change as another does; none that saturate."""
    edges = np.arange(0.0, 36.0, 0.1)
    found = []
    for one in (site, other):
        brightest, faintest = population.limits(one)
        low, high = np.interp([max(brightest, one.brightest), faintest], edges, _brighter(population, one.dec_range, edges))
        found.append(high - low)
    return float(found[0] / found[1])
