"""Light of black bodies."""

from __future__ import annotations

import numpy as np

from fink_broker.skysim.cosmos import Floats

HC_K = 1.438777e8  # h c / k [Angstrom K]
# pi B_nu / (sigma T^4) with nu = c / wave: 2 pi h c / wave^3 / (exp(HC_K / wave T) - 1) / (sigma T^4), in Angstrom and K [s].
SCALE = 2 * np.pi * 6.62607015e-27 * 2.99792458e10 / 5.670374e-5 * 1e24
PARSEC_CM = 3.0856776e18
NANOJANSKY = 1e-32  # [erg/s/cm2/Hz]


def planck_shape(wave: Floats, temperature: Floats) -> Floats:
    """B_nu but for a constant, at rest-frame wavelengths [Angstrom] and temperatures [K]."""
    found: Floats = wave**-3.0 / np.expm1(np.minimum(HC_K / (wave * temperature), 600.0))
    return found


def black_body_nanojansky(luminosity: Floats, temperature: Floats, wave: Floats, z: Floats, distance_mpc: Floats) -> Floats:
    """Observed flux density [nJy] of a black body of bolometric luminosity [erg/s] at observed wavelengths [Angstrom]."""
    rest = wave / (1 + z)
    per_hertz = luminosity * SCALE * planck_shape(rest, temperature) / temperature**4
    found: Floats = (1 + z) * per_hertz / (4 * np.pi * (distance_mpc * 1e6 * PARSEC_CM) ** 2) / NANOJANSKY
    return found
