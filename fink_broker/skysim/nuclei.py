"""Active nuclei of galaxies: quasars and Seyferts by a damped random walk, blazars faster and higher."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from fink_broker.skysim import quasars
from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.kind import GALAXY_COLOURS, Heaven, Kind, Things, behind_dust, catalogued, hosted
from fink_broker.skysim.observatory import nanojansky
from fink_broker.skysim.walks import walk

BRIGHTEST = 14.5
SAMPLE_WAVE = 4000.0  # [Angstrom] that the walk's size and time are told at
REDDER_LESS = -0.479  # power of wavelength that the walk's size falls with
TEMPLATE_DAYS = 100.0  # over which the exposures of a template are spread
# [d] in its own time, below which a quasar's light is smoother than a walk: Kepler's spectra are steeper (Smith et al. 2018, ApJ 857, 141), and 25 real
# quasars of LSST changed by 2.2 % in 10 to 25 d and 0.9 % in 3 to 8 d.
SMOOTH_DAYS = 5.0
LINES_SCATTER = 0.05  # [mag] of each band: lines are not alike
SYNCHROTRON, SYNCHROTRON_SCATTER = -1.1, 0.4  # power of frequency


def _around(rng: np.random.Generator, things: int, heaven: Heaven, z: Floats, mag: Floats, colours: Floats, host_absolute: Floats) -> Things:
    """Cores of magnitudes in r, before dust, in the middle of galaxies."""
    site = heaven.site
    found = hosted(rng, things, heaven, z, host_absolute, nuclear=True)
    core = nanojansky(mag[:, None] + colours) * behind_dust(site, found.ebv)
    found.template = core + found.template
    r = site.bands.index("r")
    whole = 31.4 - 2.5 * np.log10(found.template[:, r])
    core_share = core[:, r] / found.template[:, r]
    # a catalogue takes it for a star where the core outshines the galaxy
    star = np.where(rng.random(things) < core_share, 1 - 0.06 * rng.random(things) ** 2, 0.3 * rng.random(things))
    found.near_arcsec, found.near_star, found.near_mag = catalogued(rng, found.ra, found.dec, rng.rayleigh(0.2, things), star, whole)
    found.truth |= {"mean_mag": mag, "core_share": core_share, "absolute_mag": quasars.absolute(site, mag, z)}
    return found


def _draw_agn(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Magnitudes and redshifts by the luminosity function of quasars (module quasars), in galaxies as Falomo et al. 2014 (MNRAS 440, 476) found
    around quasars, fainter around fainter cores; the walk of MacLeod et al. 2010 (ApJ 721, 1014), eqs. 7 and 12, table 1."""
    site = heaven.site
    mag, z = quasars.draw(rng, number, site, BRIGHTEST, site.limit() - 0.3)
    absolute = quasars.absolute(site, mag, z)
    host = (-22.8 + 0.3 * np.maximum(absolute + 24, 0)).clip(max=-19.5) + rng.normal(0, 0.6, number)
    colours = quasars.colours(site, z, rng.normal(0, quasars.SLOPE_SCATTER, number)) + LINES_SCATTER * rng.normal(size=(number, len(site.bands)))
    things = _around(rng, number, heaven, z, mag, colours, host)
    bright = absolute + 0.34 + 23  # M_i, as of redshift 0 (Richards et al. 2006, AJ 131, 2766, eq. 1; Ross et al. 2013, ApJ 773, 14, section 2.5)
    mass = 2.0 - 0.27 * (bright - 23) + rng.normal(0, 1, number) * (0.58 + 0.011 * (bright - 23)) - 9
    own = np.log10(site.wavelength[site.bands.index("r")] / (1 + z) / SAMPLE_WAVE)
    size = -0.51 + REDDER_LESS * own + 0.131 * bright + 0.18 * mass + rng.normal(0, 0.15, number)
    tau = 2.4 + 0.17 * own + 0.03 * bright + 0.21 * mass + rng.normal(0, 0.4, number)
    things.truth |= {"amplitude_mag": 10 ** size.clip(-1.6, 0.1) / np.sqrt(2), "tau_days": 10**tau * (1 + z)}
    return things


def _draw_blazar(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Redshifts, and magnitudes by the peak of the synchrotron light, as of 860 BL Lacertae objects and 755 quasars of Fermi's catalogue (Ajello et al.
    2022, ApJS 263, 24); BL Lacertae objects in giant ellipticals (Sbarufatti et al. 2005, ApJ 635, 173); hours to weeks, tenths to magnitudes (Ruan et
    al. 2012, ApJ 760, 51)."""
    site = heaven.site
    quasar = rng.random(number) < 755 / (755 + 1379)
    off = rng.normal(size=number)  # of the redshift, in its own scatter
    z = np.exp(np.where(quasar, -0.01 + 0.67 * off, -1.23 + 1.01 * off)).clip(0.02, 3.8)
    mag = np.where(quasar, 18.7 + 1.3 * (0.5 * off + 0.87 * rng.normal(size=number)), 18.0 + 1.2 * (0.23 * off + 0.97 * rng.normal(size=number)))
    mag = mag.clip(BRIGHTEST, site.limit() - 0.3)
    slope = rng.normal(SYNCHROTRON, SYNCHROTRON_SCATTER, number)
    wave = np.array(site.wavelength)
    colours = 2.5 * slope[:, None] * np.log10(wave / wave[site.bands.index("r")])
    things = _around(rng, number, heaven, z, mag, colours, np.where(quasar, -22.8, -22.9) + rng.normal(0, 0.5, number))
    things.truth |= {"tau_days": np.exp(rng.normal(np.log(12), 0.7, number)), "amplitude_mag": np.exp(rng.normal(np.log(0.35), 0.4, number)).clip(0.1, 1.2)}
    return things


def _signal(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator, blazar: bool = False) -> Floats:
    """The walk in magnitudes of the core, larger in the blue, against its mean over the days of the template, which were long before."""
    truth = things.truth
    long = TEMPLATE_DAYS / truth["tau_days"]
    offset = rng.normal(0, 1, len(things)) * np.sqrt(2 / long * (1 - (1 - np.exp(-long)) / long))
    smooth = np.minimum(SMOOTH_DAYS * (1 + truth["redshift"]), truth["tau_days"] / 3)
    x = walk(rng, who, mjd, truth["tau_days"], None if blazar else smooth) + offset[who]
    wave: NDArray[np.float64] = np.array(heaven.site.wavelength)
    bluer = (wave / wave[heaven.site.bands.index("r")]) ** REDDER_LESS
    change = np.clip(truth["amplitude_mag"][who] * x * bluer[band], -4, 4)
    found: Floats = things.template[who, band] * truth["core_share"][who] * (10 ** (-0.4 * change) - 1)
    return found


# Numbers with alerts in a year. ZTF: some 31,000 known quasars and Seyfert galaxies and 1,267 blazars have six detections in a band (the labelled set of
# Sanchez-Saez et al. 2021, AJ 161, 141); here half of those that alert have six. By themselves luminosity function, walk and cadence give 150,000 for ZTF and
# 4.3 million for LSST; LSST has as many more here. Blazars do not grow as fast with depth: those of Fermi are bright.
NUCLEI = (
    Kind("agn", "AGN", _draw_agn, _signal, {"ztf": 60000, "lsst": 1700000}, lasting=True, dusty=False),
    Kind("blazar", "AGN", _draw_blazar, partial(_signal, blazar=True), {"ztf": 2500, "lsst": 15000}, lasting=True, dusty=False),
)
__all__ = ["GALAXY_COLOURS", "NUCLEI"]
