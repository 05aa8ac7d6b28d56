"""Active nuclei of galaxies: quasars and Seyferts by a damped random walk, blazars faster and higher."""

from __future__ import annotations

import numpy as np

from fink_broker.skysim.cosmos import Floats, Ints, modulus
from fink_broker.skysim.kind import GALAXY_COLOURS, Heaven, Kind, Things, behind_dust, catalogued, hosted
from fink_broker.skysim.observatory import nanojansky
from fink_broker.skysim.stars import faint_heavy
from fink_broker.skysim.walks import walk

QUASAR_COLOURS = {"u": 0.35, "g": 0.15, "r": 0.0, "i": -0.1, "z": -0.12, "y": -0.15}


def _draw(rng: np.random.Generator, number: int, heaven: Heaven, blazar: bool) -> Things:
    site = heaven.site
    mag = faint_heavy(rng, number, 14.5, site.limit() - 0.3, 0.42 if not blazar else 0.3)
    z = np.clip(0.25 * 10 ** (0.13 * (mag - 17.0)) * np.exp(rng.normal(0, 0.55, number)), 0.01, 3.8)
    things = hosted(rng, number, heaven, z, rng.normal(-21.2, 0.7, number), nuclear=True)
    absolute = mag - modulus(z)
    colours = heaven.band_values(QUASAR_COLOURS) * (1 + 0.4 * rng.normal(size=number))[:, None]
    core = nanojansky(mag[:, None] + colours) * behind_dust(site, things.ebv)
    host = things.template
    things.template = core + host
    whole = 31.4 - 2.5 * np.log10(things.template[:, site.bands.index("r")])
    # a catalogue takes it for a star where the core outshines the galaxy
    core_share = core[:, 1] / things.template[:, 1]
    star = np.where(rng.random(number) < core_share, 1 - 0.06 * rng.random(number) ** 2, 0.3 * rng.random(number))
    things.near_arcsec, things.near_star, things.near_mag = catalogued(rng, things.ra, things.dec, rng.rayleigh(0.2, number), star, whole)
    if blazar:  # hours to weeks, tenths to magnitudes (Ruan et al. 2012, ApJ 760, 51)
        tau, size = np.exp(rng.normal(np.log(12), 0.7, number)), np.exp(rng.normal(np.log(0.35), 0.4, number)).clip(0.1, 1.2)
    else:  # MacLeod et al. 2010 (ApJ 721, 1014), eq. 7 and table 1: asymptotic variability and time by luminosity (M_i + 23), black-hole mass left out
        bright = absolute + 23
        tau = 10 ** (2.4 + 0.03 * bright + rng.normal(0, 0.4, number)) * (1 + z)
        size = 10 ** (-0.51 + 0.113 * bright + rng.normal(0, 0.15, number)).clip(-1.6, 0.1) / np.sqrt(2)
    things.truth |= {"mean_mag": mag, "tau_days": tau, "amplitude_mag": size, "absolute_mag": absolute, "core_share": core_share}
    return things


def _signal(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    """The walk in magnitudes of the core, larger in the blue; the template was taken at another point of the walk."""
    truth = things.truth
    offset = rng.normal(0, 0.5, len(things))
    x = walk(rng, who, mjd, truth["tau_days"]) + offset[who]
    bluer = heaven.band_values({"u": 1.25, "g": 1.15, "r": 1.0, "i": 0.88, "z": 0.8, "y": 0.75})
    change = np.clip(truth["amplitude_mag"][who] * x * bluer[band], -4, 4)
    found: Floats = things.template[who, band] * truth["core_share"][who] * (10 ** (-0.4 * change) - 1)
    return found


def _agn(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    return _draw(rng, number, heaven, False)


def _blazar(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    return _draw(rng, number, heaven, True)


# Numbers with alerts in a year: Sanchez-Saez et al. 2021 (AJ 161, 141), 35,000 nuclei in ZTF's alerts and 1,300 blazars; LSST: by depth.
NUCLEI = (
    Kind("agn", "AGN", _agn, _signal, {"ztf": 60000, "lsst": 600000}, lasting=True, dusty=False),
    Kind("blazar", "AGN", _blazar, _signal, {"ztf": 2500, "lsst": 15000}, lasting=True, dusty=False),
)
__all__ = ["GALAXY_COLOURS", "NUCLEI"]
