"""Quasars: how many there are of a magnitude at a redshift, and what a mean one's spectrum is in a survey's bands."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fink_broker.skysim.cosmos import Floats, modulus, volume_mpc3
from fink_broker.skysim.observatory import Observatory

# Luminosity function of Palanque-Delabrouille et al. 2016 (A&A 587, A41), table 4, pure luminosity evolution: a broken power law whose break moves.
# Fitted from z = 0.68 to 4 and to g = 22.5; nearer and fainter it is drawn out, as in their tables 6 and 7.
PIVOT, BREAK, DENSITY = 2.2, -26.71, 10**-6.01  # M_g as of z = 2; [1/Mpc^3/mag]
NEAR = {"bright": -4.31, "faint": -1.54, "k1": -0.08, "k2": -0.40}  # below the pivot
FAR = {"bright": -3.04, "faint": -1.38, "k1": -0.25, "k2": -0.05}
FAINTEST = -17.0  # a core that is less is lost in its galaxy
REDSHIFTS = np.geomspace(0.01, 4.0, 240)
# Mean spectrum: power law in frequency, and broad lines by equivalent width [Angstrom] (Vanden Berk et al. 2001, AJ 122, 549, table 2).
SLOPE = -0.44
LINES = {1033: 9.6, 1216: 92.9, 1398: 8.1, 1546: 23.8, 1906: 21.2, 2800: 32.3, 4346: 12.6, 4853: 46.2, 5008: 13.2, 6565: 194.5}
LINE_WIDTH = 0.008  # sigma over wavelength
SLOPE_SCATTER = 0.3  # Richards et al. 2006 (AJ 131, 2766)
REFERENCE_Z, REFERENCE = 2.0, (4770.0, 1370.0)  # magnitudes are of the g band there: its wavelength and width


def density(absolute: Floats, z: Floats) -> Floats:
    """Quasars a Mpc^3 and magnitude, of absolute magnitudes M_g(z = 2)."""
    bright, faint, k1, k2 = (np.where(z < PIVOT, NEAR[name], FAR[name]) for name in NEAR)
    over = absolute - BREAK + 2.5 * (k1 * (z - PIVOT) + k2 * (z - PIVOT) ** 2)
    found: Floats = DENSITY / (10 ** (0.4 * (bright + 1) * over) + 10 ** (0.4 * (faint + 1) * over))
    return found


def spectrum(wave: Floats, z: Floats) -> Floats:
    """Light by frequency at wavelengths as they arrive [Angstrom]: lines, and what hydrogen on the way takes (Madau 1995, ApJ 441, 18)."""
    own = wave / (1 + z)
    found = (own / 2500.0) ** -SLOPE
    lines = sum(width / (np.sqrt(2 * np.pi) * LINE_WIDTH * line) * np.exp(-(((own / line - 1) / LINE_WIDTH) ** 2) / 2) for line, width in LINES.items())
    depth = np.where(own < 1216, 0.0036 * (wave / 1216) ** 3.46, 0) + np.where(own < 1026, 0.0017 * (wave / 1026) ** 3.46, 0)
    light: Floats = found * (1 + lines) * np.exp(-depth) * np.where(own < 912, 0.02, 1)
    return light


def through(z: Floats, centre: float, width: float) -> Floats:
    """Mean light in a box of wavelengths, by photons."""
    wave = np.linspace(centre - width / 2, centre + width / 2, 60)
    found: Floats = np.average(spectrum(wave[None, :], z[:, None]), axis=1, weights=1 / wave)
    return found


@lru_cache(maxsize=8)
def _tables(site: Observatory) -> tuple[Floats, Floats]:
    """At REDSHIFTS: magnitudes of each band against r, (z, band), and of r against M_g(z = 2) at its distance."""
    light = np.stack([through(REDSHIFTS, *box) for box in zip(site.wavelength, site.width, strict=True)], axis=1)
    r = light[:, site.bands.index("r")]
    reference = float(through(np.array([REFERENCE_Z]), *REFERENCE)[0])
    return -2.5 * np.log10(light / r[:, None]), -2.5 * np.log10(r / reference * (1 + REDSHIFTS) / (1 + REFERENCE_Z))


def colours(site: Observatory, z: Floats, slope: Floats) -> Floats:
    """Magnitudes against r, (thing, band), of quasars whose power law is steeper than the mean one's by `slope`."""
    mean, _ = _tables(site)
    found = np.stack([np.interp(z, REDSHIFTS, column) for column in mean.T], axis=1)
    wave = np.array(site.wavelength)
    redder: Floats = found + slope[:, None] * 2.5 * np.log10(wave / wave[site.bands.index("r")])[None, :]
    return redder


def absolute(site: Observatory, mag: Floats, z: Floats) -> Floats:
    """M_g(z = 2) of magnitudes in r."""
    found: Floats = mag - modulus(z) - np.interp(z, REDSHIFTS, _tables(site)[1])
    return found


@lru_cache(maxsize=8)
def counts(site: Observatory, brightest: float, faintest: float) -> tuple[Floats, Floats]:
    """Magnitudes in r, and quasars on the whole sky in each step of them and of REDSHIFTS (between one and the next)."""
    mags = np.arange(brightest, faintest, 0.05) + 0.025
    m, z = np.meshgrid(mags, np.sqrt(REDSHIFTS[1:] * REDSHIFTS[:-1]), indexing="ij")
    luminosity = absolute(site, m.ravel(), z.ravel()).reshape(m.shape)
    found: Floats = density(luminosity, z) * (luminosity < FAINTEST) * np.diff(volume_mpc3(REDSHIFTS))[None, :] * 0.05
    return mags, found


def draw(rng: np.random.Generator, number: int, site: Observatory, brightest: float, faintest: float) -> tuple[Floats, Floats]:
    """Magnitudes in r, before any dust, and redshifts."""
    mags, found = counts(site, brightest, faintest)
    summed = np.cumsum(found)
    cell = np.searchsorted(summed, rng.random(number) * summed[-1])
    row, column = np.divmod(np.minimum(cell, found.size - 1), found.shape[1])
    mag = mags[row] + 0.05 * (rng.random(number) - 0.5)
    return mag, np.exp(np.interp(column + rng.random(number), np.arange(len(REDSHIFTS)), np.log(REDSHIFTS)))
