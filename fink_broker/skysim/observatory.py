"""What a survey can see: bands, depth, noise, footprint, and how its alerts remember."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fink_broker.errors import ConfigError
from fink_broker.skysim.cosmos import Floats, Ints

SPEED_OF_LIGHT = 2.99792458e18  # [Angstrom/s]


@dataclass(frozen=True)
class Observatory:
    """One survey's camera and site. Magnitudes AB, fluxes nJy, wavelengths Angstrom."""

    name: str
    bands: tuple[str, ...]
    sncosmo_bands: tuple[str, ...]
    wavelength: tuple[float, ...]  # effective
    width: tuple[float, ...]  # of a box that passes as much
    extinction: tuple[float, ...]  # A_band / E(B-V)
    depth: tuple[float, ...]  # 5 sigma, one visit, typical
    depth_scatter: float
    moonlight: tuple[float, ...]  # depth lost at full moon
    zero_electrons: tuple[float, ...]  # magnitude of one photo-electron a visit
    floor: float  # error of a subtraction, as told, as a share of the flux in the template
    floor_true: float  # the same as it is, from one visit to the next
    own: tuple[float, float]  # error of a flux, as told, as a share of itself, and the signal-to-noise at which that share has halved
    noise_share: float  # of the other errors told, what is there
    template_light: float  # share of the noise of the template's light that is in a subtraction
    brightest: float  # saturates
    latitude_deg: float
    longitude_deg: float
    dec_range: tuple[float, float]
    field_deg: float
    history_days: float
    pixel_arcsec: float
    seeing_arcsec: float
    deepest_redshift: float
    clear_share: float  # of the nights
    settle_days: float  # after which the alerts of a simulation have a history
    span_days: float  # how long one is, if nobody says
    around: tuple[tuple[float, float], ...] = ()  # places [deg] near which all things are put; none: anywhere

    def index(self, bands: NDArray[np.str_] | list[str]) -> Ints:
        """Places of bands by their letters."""
        return np.array([self.bands.index(band) for band in bands], np.int64)

    def limit(self) -> float:
        """Magnitude that a good visit just sees in its deepest band."""
        return max(self.depth) + 0.5


# Errors of ZTF: 2,800 pairs of detections minutes apart, and 496 alerts of January 2024 beside their limits: what is told is too much where it is dark.
# Bellm et al. 2019 (PASP 131, 018002), Masci et al. 2019 (PASP 131, 018003): depth, gain, zero points; A/E(B-V): Schlafly & Finkbeiner 2011, table 6.
ZTF = Observatory(
    name="ztf", bands=("g", "r", "i"), sncosmo_bands=("ztfg", "ztfr", "ztfi"), wavelength=(4814.0, 6422.0, 7883.0), width=(1230.0, 1490.0, 1470.0),
    extinction=(3.303, 2.285, 1.698), depth=(20.5, 20.3, 19.7), depth_scatter=0.35, moonlight=(0.75, 0.45, 0.25), zero_electrons=(28.2, 28.15, 27.5),
    floor=0.0055, floor_true=0.014, own=(0.09, 70.0), noise_share=0.65, template_light=1.0, brightest=12.5,
    latitude_deg=33.36, longitude_deg=-116.863, dec_range=(-29.0, 88.0), field_deg=7.0, history_days=30.0, pixel_arcsec=1.01,
    seeing_arcsec=2.0, deepest_redshift=0.32, clear_share=0.62, settle_days=31.0, span_days=130.0,
)  # fmt: skip
# Ivezic et al. 2019 (ApJ 873, 111) for zero points and bands; depths as in the alerts of March 2026, about a magnitude short of the survey's aim.
# Errors: those told are of the sky and 1.0 to 1.3 times the photons of the exposure (26,000 detections by visit), the template being of many exposures;
# 23,000 pairs of detections less than two minutes apart scatter beside that by 0.6 % of the light (0.56 to 0.75 between 30,000 and 900,000 nJy).
LSST = Observatory(
    name="lsst", bands=("u", "g", "r", "i", "z", "y"), sncosmo_bands=("lsstu", "lsstg", "lsstr", "lssti", "lsstz", "lssty"),
    wavelength=(3671.0, 4827.0, 6223.0, 7546.0, 8691.0, 9712.0), width=(570.0, 1320.0, 1330.0, 1250.0, 1030.0, 910.0),
    extinction=(4.145, 3.237, 2.273, 1.684, 1.323, 1.088), depth=(22.9, 23.9, 23.7, 23.4, 22.9, 21.9), depth_scatter=0.4,
    moonlight=(0.9, 0.6, 0.35, 0.2, 0.1, 0.05), zero_electrons=(30.7, 32.0, 31.9, 31.55, 31.15, 30.2), floor=0.0003,
    floor_true=0.006, own=(0.0, np.inf), noise_share=1.0, template_light=0.2, brightest=16.0, latitude_deg=-30.24,
    longitude_deg=-70.749, dec_range=(-72.0, 5.0), field_deg=3.5, history_days=365.0, pixel_arcsec=0.2, seeing_arcsec=1.2, deepest_redshift=1.2,
    clear_share=0.75, settle_days=120.0, span_days=420.0,
)  # fmt: skip
OBSERVATORIES = {"ztf": ZTF, "lsst": LSST, "elasticc": LSST}


def observatory(survey: str) -> Observatory:
    """The observatory behind a survey's alerts."""
    if survey not in OBSERVATORIES:
        raise ConfigError(f"no simulated sky for survey '{survey}'; there are {', '.join(sorted(OBSERVATORIES))}")
    return OBSERVATORIES[survey]


def nanojansky(mag: Floats | float) -> Floats:
    """Flux [nJy] of AB magnitudes."""
    found: Floats = 10 ** ((31.4 - np.asarray(mag, float)) / 2.5)
    return found


def magnitude(flux: Floats) -> Floats:
    """AB magnitude of fluxes [nJy]; nan where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = 31.4 - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    return found
