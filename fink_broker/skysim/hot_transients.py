"""Transients that shine as black bodies: superluminous supernovae, tidal disruptions, kilonovae."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fink_broker.skysim.cosmos import Floats, Ints, draw_redshifts, luminosity_mpc, modulus
from fink_broker.skysim.kind import Heaven, Kind, Things, hosted, seen_at_all, until
from fink_broker.skysim.thermal import black_body_nanojansky

SOLAR_R = 4.65  # absolute magnitude of the Sun in r [AB] (Willmer 2018, ApJS 236, 47)


def _light(things: Things, who: Ints, band: Ints, heaven: Heaven, log_luminosity: Floats, temperature: Floats) -> Floats:
    wave, z = np.array(heaven.site.wavelength)[band], things.truth["redshift"]
    distance = luminosity_mpc(z)
    found: Floats = black_body_nanojansky(10**log_luminosity, np.maximum(temperature, 1200.0), wave, z[who], distance[who])
    return found


def _magnitudes(heaven: Heaven, z: Floats, log_luminosity: Floats, temperature: Floats) -> dict[str, Floats]:
    """Apparent and absolute magnitude at maximum in r."""
    wave = np.full(len(z), heaven.site.wavelength[heaven.site.bands.index("r")])
    flux = black_body_nanojansky(10**log_luminosity, temperature, wave, z, luminosity_mpc(z))
    peak = 31.4 - 2.5 * np.log10(np.maximum(flux, 1e-9))
    return {"peak_mag": peak, "absolute_mag": peak - modulus(z)}


def _draw_slsn(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """M_g = -21.2 +- 0.7, rise and decline as in De Cia et al. 2018 (ApJ 860, 100) and Chen et al. 2023 (ApJ 943, 41); faint hosts (Lunnan et al. 2014)."""

    def propose(count: int) -> dict[str, Floats]:
        z = draw_redshifts(rng, count, 0.02, min(heaven.site.deepest_redshift * 2, 2.5), 2.5)
        log_l = 43.95 + rng.normal(0, 0.28, count)  # of a black body of 12,000 K this is about M_g = -21.2
        hot = rng.normal(13000, 2500, count).clip(8000)
        return {"redshift": z, "log_luminosity": log_l, "temperature": hot, **_magnitudes(heaven, z, log_l, hot)}

    def some(count: int) -> tuple[Things, NDArray[Any]]:
        found = seen_at_all(count, heaven.site.limit(), propose)
        things = hosted(rng, count, heaven, found["redshift"], rng.normal(-17.8, 1.5, count))
        rise = np.exp(rng.normal(np.log(34), 0.4, count))
        t0 = heaven.near_visit(rng, things.ra, things.dec, rise * 1.2, rise * 2.5)
        things.truth |= found | {"peak_mjd": t0, "rise_days": rise, "fall_days": rise * rng.uniform(1.2, 2.2, count)}
        return things, np.isfinite(t0)

    return until(number, some)


def _signal_slsn(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    truth = things.truth
    phase = (mjd - truth["peak_mjd"][who]) / (1 + truth["redshift"][who])
    width = np.where(phase < 0, truth["rise_days"][who], truth["fall_days"][who])
    share = np.where(phase < 0, np.exp(-((phase / width) ** 2) * 1.1), 1 / (1 + np.clip(phase, 0, None) / (2 * width)) ** 2.6)
    cooling = np.exp(-np.clip(phase + 30, 0, None) / 60)
    temperature = 5500 + (truth["temperature"][who] * 1.3 - 5500) * cooling
    return _light(things, who, band, heaven, truth["log_luminosity"][who] + np.log10(np.maximum(share, 1e-12)), temperature)


def _draw_tde(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Black-body luminosity function dN/dL ~ L^-1.5 per dex (van Velzen 2018, ApJ 852, 72), temperatures and times of Hammerstein et al. 2023 (ApJ 942, 9)."""

    def propose(count: int) -> dict[str, Floats]:
        z = draw_redshifts(rng, count, 0.01, heaven.site.deepest_redshift * 1.5, 0.0)
        log_l = 43.0 - np.log10(1 - rng.random(count) * (1 - 10**-3.0)) / 1.5  # bolometric; 43 to 45
        hot = np.exp(rng.normal(np.log(20000), 0.3, count)).clip(11000, 45000)
        return {"redshift": z, "log_luminosity": log_l, "temperature": hot, **_magnitudes(heaven, z, log_l, hot)}

    def some(count: int) -> tuple[Things, NDArray[Any]]:
        found = seen_at_all(count, heaven.site.limit(), propose)
        things = hosted(rng, count, heaven, found["redshift"], rng.normal(-20.3, 0.9, count), nuclear=True)
        t0 = heaven.near_visit(rng, things.ra, things.dec, 30.0, 90.0)
        things.truth |= found | {"peak_mjd": t0, "rise_days": np.exp(rng.normal(np.log(11), 0.45, count)),
                                 "fall_days": np.exp(rng.normal(np.log(60), 0.5, count)), "warming": rng.normal(40, 40, count)}  # fmt: skip
        return things, np.isfinite(t0)

    return until(number, some)


def _signal_tde(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    """Gaussian rise, then a power law of index -5/3; hot all along."""
    truth = things.truth
    phase = (mjd - truth["peak_mjd"][who]) / (1 + truth["redshift"][who])
    rise, fall = truth["rise_days"][who], truth["fall_days"][who]
    share = np.where(phase < 0, np.exp(-0.5 * (phase / rise) ** 2), (1 + np.clip(phase, 0, None) / fall) ** (-5 / 3))
    temperature = (truth["temperature"][who] + truth["warming"][who] * np.clip(phase, 0, 150)).clip(9000)
    return _light(things, who, band, heaven, truth["log_luminosity"][who] + np.log10(np.maximum(share, 1e-12)), temperature)


def _draw_kilonova(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """As AT2017gfo (Villar et al. 2017, ApJ 851, L21; Drout et al. 2017, Science 358, 1570), brighter or fainter by a factor of two or three."""

    def propose(count: int) -> dict[str, Floats]:
        z = draw_redshifts(rng, count, 0.002, 0.05 if heaven.site.name == "ztf" else 0.12, 0.0)
        log_l = rng.normal(41.95, 0.35, count)
        return {"redshift": z, "log_luminosity": log_l, **_magnitudes(heaven, z, log_l, np.full(count, 8000.0))}

    def some(count: int) -> tuple[Things, NDArray[Any]]:
        found = seen_at_all(count, heaven.site.limit(), propose)
        things = hosted(rng, count, heaven, found["redshift"], rng.normal(-20.3, 1.2, count))
        t0 = heaven.near_visit(rng, things.ra, things.dec, 0.2, 3.5)
        things.truth |= found | {"peak_mjd": t0, "speed": np.exp(rng.normal(0, 0.25, count))}
        return things, np.isfinite(t0)

    return until(number, some)


def _signal_kilonova(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    """Half a day of rise; bolometric light falls as t^-0.95 until 4 days and t^-1.6 later, temperature as t^-0.54 to 2,500 K."""
    truth = things.truth
    days = ((mjd - truth["peak_mjd"][who]) / (1 + truth["redshift"][who]) + 0.5) * truth["speed"][who]
    after = np.clip(days, 0.02, None)
    share = np.where(after < 0.5, after / 0.5, (after / 0.5) ** -0.95) * np.where(after > 4, (after / 4) ** -0.65, 1.0)
    temperature = np.maximum(8000 * (after / 0.5) ** -0.54, 2500.0)
    return np.where(days > 0, _light(things, who, band, heaven, truth["log_luminosity"][who] + np.log10(np.maximum(share, 1e-12)), temperature), 0.0)


# Rates today [1/Mpc^3/yr]: SLSN-I 3.5e-8 (Frohmaier et al. 2021); TDE 3.1e-7 (Yao et al. 2023, ApJ 955, L6), of those above 10^43 erg/s; binary neutron
# stars 3e-7, between 10 and 1,700 Gpc^-3/yr (Abbott et al. 2023, PRX 13, 011048) and below 900 (Andreoni et al. 2021, ApJ 918, 63).
HOT_TRANSIENTS = (
    Kind("slsn", "SLSN", _draw_slsn, _signal_slsn, rate=3.5e-8),
    Kind("tde", "TDE", _draw_tde, _signal_tde, rate=3.1e-7),
    Kind("kilonova", "kilonova", _draw_kilonova, _signal_kilonova, rate=3e-7),
)
