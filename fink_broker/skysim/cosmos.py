"""Distances, volumes and redshifts: flat Lambda-CDM with H0 = 70 km/s/Mpc and Omega_m = 0.3."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HUBBLE_MPC = 299792.458 / 70.0  # [Mpc]
OMEGA_M = 0.3
HIGHEST = 4.0


@lru_cache(maxsize=1)
def _comoving() -> tuple[Floats, Floats]:
    z = np.concatenate([[0.0], np.geomspace(1e-4, HIGHEST, 4000)])
    inverse = 1 / np.sqrt(OMEGA_M * (1 + z) ** 3 + 1 - OMEGA_M)
    steps = np.diff(z) * (inverse[1:] + inverse[:-1]) / 2
    return z, HUBBLE_MPC * np.concatenate([[0.0], np.cumsum(steps)])


def luminosity_mpc(z: Floats) -> Floats:
    """Luminosity distance [Mpc]."""
    grid, distance = _comoving()
    found: Floats = np.interp(z, grid, distance) * (1 + np.asarray(z))
    return found


def modulus(z: Floats) -> Floats:
    """Distance modulus [mag]."""
    found: Floats = 5 * np.log10(luminosity_mpc(z)) + 25
    return found


def volume_mpc3(z: Floats) -> Floats:
    """Comoving volume of the whole sky up to redshifts [Mpc^3]."""
    grid, distance = _comoving()
    found: Floats = 4 / 3 * np.pi * np.interp(z, grid, distance) ** 3
    return found


def draw_redshifts(rng: np.random.Generator, number: int, lowest: float, highest: float, evolution: float = 0.0) -> Floats:
    """Redshifts of events whose rate per comoving volume grows as (1 + z)^evolution, as counted by an observer (time runs slower there)."""
    z = np.geomspace(lowest, highest, 600)
    grid, distance = _comoving()
    comoving = np.interp(z, grid, distance)
    density = comoving**2 / np.sqrt(OMEGA_M * (1 + z) ** 3 + 1 - OMEGA_M) * (1 + z) ** (evolution - 1) * z  # a step in ln z
    summed = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    found: Floats = np.interp(rng.random(number) * summed[-1], summed, z)
    return found


def events_per_year(rate_mpc3_yr: float, lowest: float, highest: float, evolution: float = 0.0) -> float:
    """Number of events a year on the whole sky between two redshifts, of a rate today [1/Mpc^3/yr]."""
    z = np.linspace(lowest, highest, 2000)
    grid, distance = _comoving()
    comoving = np.interp(z, grid, distance)
    volume = 4 * np.pi * comoving**2 * HUBBLE_MPC / np.sqrt(OMEGA_M * (1 + z) ** 3 + 1 - OMEGA_M)
    return float(np.trapezoid(volume * rate_mpc3_yr * (1 + z) ** (evolution - 1), z))
