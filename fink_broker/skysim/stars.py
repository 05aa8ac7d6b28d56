"""Stars that erupt, flare or are lensed: dwarf novae, M dwarfs, young stars, microlensing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.kind import Heaven, Kind, Things, stellar, until
from fink_broker.skysim.milkyway import Population, disc, magnitudes
from fink_broker.skysim.observatory import nanojansky
from fink_broker.skysim.places import sun_longitude
from fink_broker.skysim.thermal import planck_shape
from fink_broker.skysim.walks import walk

# Outbursts of cataclysmic variables: M_V = 5.64 - 0.259 P (Warner 1987, MNRAS 227, 23) at 2 h and longer; height: Canbay et al. 2023 (AJ 165, 163).
DWARF_NOVAE = Population(disc(375), 5.1, 0.6, 13.0, -0.4)
# M dwarfs: their numbers peak at M_r = 11 (Bochanski et al. 2010, AJ 139, 2679); height: Juric et al. 2008 (ApJ 673, 864).
M_DWARFS = Population(disc(300), 11.0, 1.8, 15.0, 1.5)
# T Tauri stars of 0.1 to 1 solar mass and 3 million years (Baraffe et al. 2015, A&A 577, A42), dust around them left out; height: Reed 2000 (AJ 120, 314).
YOUNG_STARS = Population(disc(45), 7.5, 1.5, 13.0, -1.0)
GIANTS = 0.3  # numbers of giants of one distance, as in the bulge, grow by 10^0.3 a magnitude (Mendez et al. 2002, AJ 124, 213)


def faint_heavy(rng: np.random.Generator, number: int, brightest: float, faintest: float, slope: float = 0.35) -> Floats:
    """Magnitudes whose numbers grow by 10^slope a magnitude, as of stars at high latitude."""
    low, high = 10 ** (slope * brightest), 10 ** (slope * faintest)
    found: Floats = np.log10(low + rng.random(number) * (high - low)) / slope
    return found


def _draw_dwarf_nova(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Outbursts of 2 to 8 mag for days to weeks, again after weeks to years (Warner 1995; Otulakowska-Hypka et al. 2016, MNRAS 460, 2526)."""

    def some(count: int) -> tuple[Things, NDArray[Any]]:
        top = magnitudes(rng, count, DWARF_NOVAE, heaven.site)
        amplitude = rng.gamma(6.0, 0.6, count).clip(1.5, 8.5)
        things = stellar(rng, count, heaven, top + amplitude, 9000.0, 18.0, 0.97)
        t0 = heaven.near_visit(rng, things.ra, things.dec, 1.0, 12.0)
        plateau = np.exp(rng.normal(np.log(4.5), 0.8, count)).clip(1, 25)
        things.truth |= {"peak_mjd": t0, "peak_mag": top, "amplitude_mag": amplitude, "rise_days": rng.uniform(0.3, 1.2, count), "plateau_days": plateau,
                         "fall_mag_per_day": rng.uniform(0.35, 1.2, count),
                         "period_days": np.exp(rng.normal(np.log(90), 0.9, count)).clip(15, 900)}  # fmt: skip
        return things, np.isfinite(t0)

    return until(number, some)


def _signal_dwarf_nova(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    """Steep rise, slow decline on the plateau, then a fast one; blue while it lasts."""
    truth = {name: values[who] for name, values in things.truth.items()}
    since = mjd - truth["peak_mjd"]
    days = (since + 0.4 * truth["period_days"]) % truth["period_days"] - 0.4 * truth["period_days"]
    plateau = truth["plateau_days"]
    faded = np.where(days < 0, -days / truth["rise_days"] * 3, np.where(days < plateau, 0.08 * days,
                                                                       0.08 * plateau + truth["fall_mag_per_day"] * (days - plateau)))  # fmt: skip
    level = np.clip(truth["amplitude_mag"] - faded, 0, None)
    blue = 1 + 0.12 * (heaven.band_values({"u": 2.0, "g": 1, "r": 0, "i": -0.6, "z": -0.9, "y": -1.1})[band])
    return things.template[who, band] * np.where(level > 0, blue * 10 ** (0.4 * level) - 1, 0.0).clip(0)


def _draw_flare(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """M dwarfs caught in a flare: energies fall off as E^-2 (Hawley et al. 2014, ApJ 797, 121), minutes to an hour long."""

    def some(count: int) -> tuple[Things, NDArray[Any]]:
        mag = magnitudes(rng, count, M_DWARFS, heaven.site)
        things = stellar(rng, count, heaven, mag, rng.uniform(2900, 3700, count), 40.0, 0.985)
        width = np.exp(rng.normal(np.log(9.0), 0.7, count)) / 1440
        t0 = heaven.near_visit(rng, things.ra, things.dec, 0.0, 0.0) - width * rng.uniform(-0.2, 5, count)
        size = 0.6 * (1 - rng.random(count)) ** -0.9  # in units of the quiet star's light in the bluest band
        things.truth |= {"peak_mjd": t0, "width_days": width, "amplitude_flux": size.clip(0, 300)}
        return things, np.isfinite(t0)

    return until(number, some)


def _signal_flare(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    """Template of Davenport et al. 2014 (ApJ 797, 122), eqs. 1 and 4, of 10,000 K over the quiet star."""
    truth = things.truth
    t = (mjd - truth["peak_mjd"][who]) / truth["width_days"][who]
    rise = 1 + 1.941 * t - 0.175 * t**2 - 2.246 * t**3 - 1.125 * t**4
    late = np.clip(t, 0, 200)
    shape = np.where(t < -1, 0, np.where(t < 0, rise, 0.6890 * np.exp(-1.600 * late) + 0.3030 * np.exp(-0.2783 * late))).clip(0)
    wave = np.array(heaven.site.wavelength)
    hot = planck_shape(wave, np.full(len(wave), 10000.0))
    first = 0 if heaven.site.name == "ztf" else 1
    found: Floats = things.template[who, first] * truth["amplitude_flux"][who] * shape * (hot / hot[first])[band]
    return found


def _draw_young_star(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Irregular light of T Tauri stars: bursts, dips and both, days to months (Cody et al. 2014, AJ 147, 82; Fischer et al. 2023, PPVII)."""

    def some(count: int) -> tuple[Things, NDArray[Any]]:
        mag = magnitudes(rng, count, YOUNG_STARS, heaven.site)
        things = stellar(rng, count, heaven, mag, rng.uniform(3300, 4800, count), 6.0, 0.97)
        things.truth |= {"amplitude_mag": np.exp(rng.normal(np.log(0.3), 0.6, count)).clip(0.05, 2.5), "tau_days": np.exp(rng.normal(np.log(6), 0.9, count)),
                         "skew": rng.normal(0, 0.5, count)}  # fmt: skip
        return things, np.ones(count, bool)

    return until(number, some)


def _signal_young_star(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    truth = things.truth
    x = walk(rng, who, mjd, truth["tau_days"])
    skewed = x + truth["skew"][who] * (x**2 - 1) * 0.6
    bluer = heaven.band_values({"u": 1.5, "g": 1.15, "r": 1.0, "i": 0.8, "z": 0.7, "y": 0.6})
    change = truth["amplitude_mag"][who] * skewed * bluer[band]
    return things.template[who, band] * (10 ** (-0.4 * np.clip(change, -5, 5)) - 1)


def _draw_microlensing(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Point lenses: t_E log-normal about 25 d (Mroz et al. 2019, ApJS 244, 29), u0 uniform, parallax (Gould 2004, ApJ 606, 319), blends."""

    def some(count: int) -> tuple[Things, NDArray[Any]]:
        things = stellar(rng, count, heaven, faint_heavy(rng, count, 14.0, heaven.site.limit() + 0.8, GIANTS), rng.uniform(3900, 7000, count), 5.0, 0.985)
        t_e = np.exp(rng.normal(np.log(25), 0.75, count)).clip(3, 400)
        t0 = heaven.near_visit(rng, things.ra, things.dec, t_e * 0.5, t_e * 0.8)
        pi_e, angle = np.exp(rng.normal(np.log(0.12), 0.8, count)), rng.uniform(0, 2 * np.pi, count)
        things.truth |= {"t_e_days": t_e, "u0": rng.uniform(0.003, 1.0, count), "peak_mjd": t0, "parallax_north": pi_e * np.cos(angle),
                         "parallax_east": pi_e * np.sin(angle),
                         "source_share": np.where(rng.random(count) < 0.6, 1.0, rng.uniform(0.15, 1, count))}  # fmt: skip
        return things, np.isfinite(t0)

    return until(number, some)


def magnification(u: Floats) -> Floats:
    """Of a point source by a point lens (Paczynski 1986, ApJ 304, 1, eq. 2)."""
    found: Floats = (u**2 + 2) / (u * np.sqrt(u**2 + 4))
    return found


def _earth(mjd: Floats) -> tuple[Floats, Floats, Floats]:
    """Direction of the Sun seen from the Earth (equatorial): its place [au] on a round orbit."""
    lon, tilt = sun_longitude(mjd), np.radians(23.4393)
    return np.cos(lon), np.sin(lon) * np.cos(tilt), np.sin(lon) * np.sin(tilt)


def _signal_microlensing(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    """As seen from the moving Earth, in its frame at the peak (Gould 2004); u0 is counted with the source on the left of the passing lens."""
    truth = things.truth
    t0, ra, dec = truth["peak_mjd"], np.radians(things.ra), np.radians(things.dec)

    def projected(times: Floats, index: Ints) -> tuple[Floats, Floats]:
        x, y, z = _earth(times)
        r, d = ra[index], dec[index]
        return -np.sin(d) * (x * np.cos(r) + y * np.sin(r)) + np.cos(d) * z, -x * np.sin(r) + y * np.cos(r)

    every = np.arange(len(things))
    north0, east0 = projected(t0, every)
    north1, east1 = projected(t0 + 0.5, every)
    north2, east2 = projected(t0 - 0.5, every)
    north, east = projected(mjd, who)
    since = mjd - t0[who]
    north = north - north0[who] - since * (north1 - north2)[who]
    east = east - east0[who] - since * (east1 - east2)[who]
    pn, pe = truth["parallax_north"][who], truth["parallax_east"][who]
    tau = since / truth["t_e_days"][who] + pn * north + pe * east
    beta = truth["u0"][who] - pn * east + pe * north
    grown = magnification(np.hypot(tau, beta).clip(1e-4)) - 1
    return things.template[who, band] * truth["source_share"][who] * grown


# Things that give alerts in a year. Dwarf novae: Szkody et al. 2020 (AJ 159, 198); flares: van Roestel et al. 2019 (ApJ 877, 73), 1.2 a square degree and
# night above 20.5 in minutes-long searches, of which alerts catch few; young stars: Zhang et al. 2023 (ApJS 267, 7), 8,210 of 868,371 sources in ZTF's
# alerts, 91 % of those there are (in all of Gaia's sky 79,375 vary: Marton et al. 2023, A&A 674, A21); microlensing: Rodriguez et al. 2022 (ApJ 927, 150), 60
# in three years found, more seen, and for LSST by hand. LSST's others: as many more as there are stars between its limits (`milkyway.ratio`).
STARS = (
    Kind("dwarf_nova", "dwarf nova", _draw_dwarf_nova, _signal_dwarf_nova, {"ztf": 1500, "lsst": 7600}, dusty=False),
    Kind("m_dwarf_flare", "flare", _draw_flare, _signal_flare, {"ztf": 2500, "lsst": 32000}, dusty=False),
    Kind("young_star", "other", _draw_young_star, _signal_young_star, {"ztf": 9000, "lsst": 73000}, lasting=True, dusty=False),
    Kind("microlensing", "microlensing", _draw_microlensing, _signal_microlensing, {"ztf": 120, "lsst": 6000}, dusty=False),
)
__all__ = ["STARS", "faint_heavy", "magnification", "nanojansky"]
