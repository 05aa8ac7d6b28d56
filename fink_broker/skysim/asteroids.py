"""Things of the Solar System: asteroids on Kepler orbits with H-G12 brightness, and near-Earth ones that leave trails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.kind import Heaven, Kind, Things, field_source, until
from fink_broker.skysim.observatory import nanojansky
from fink_broker.skysim.places import from_ecliptic, sun_longitude
from fink_broker.skysim.stars import faint_heavy

SAME_NIGHT = 0.35  # [d]
# Numbers a magnitude grow by 10^0.51 to H_R = 15 and by 10^0.3 beyond (Gladman et al. 2009, Icarus 202, 104); on the sky by 10^0.28 from R = 20 to 25.6 (Heinze
# et al. 2019, AJ 158, 232). H_R = 15 is V = 18.6 in the middle of the belt, opposite the Sun.
BEND, BRIGHT, FAINT = 18.6, 0.51, 0.28
COLOURS = {"u": 1.9, "g": 0.45, "r": -0.17, "i": -0.35, "z": -0.3, "y": -0.3}  # against V (Sergeyev & Carry 2021, A&A 652, A59)
# Basis functions of Muinonen et al. 2010 (Icarus 209, 542), at their knots [deg].
_ANGLES = np.array([0, 7.5, 30, 60, 90, 120, 150])
_ONE = np.array([1, 7.5e-1, 3.3486e-1, 1.3410560e-1, 5.1104756e-2, 2.1465687e-2, 3.6396989e-3])
_TWO = np.array([1, 9.25e-1, 6.2884169e-1, 3.1755495e-1, 1.2716367e-1, 2.2373903e-2, 1.6505689e-4])
_THREE_ANGLES = np.array([0, 0.3, 1, 2, 4, 8, 12, 20, 30])
_THREE = np.array([1, 8.3381185e-1, 5.7735424e-1, 4.2144772e-1, 2.3174230e-1, 1.0348178e-1, 6.1733473e-2, 1.6107006e-2, 0])


def phase_dimming(angle_deg: Floats, g12: Floats) -> Floats:
    """Magnitudes lost at a phase angle in the H, G12 system (linear between the knots of its basis functions)."""
    low = g12 < 0.2
    g1 = np.where(low, 0.7527 * g12 + 0.06164, 0.9529 * g12 + 0.02162)
    g2 = np.where(low, -0.9612 * g12 + 0.6270, -0.6125 * g12 + 0.5572)
    one, two = np.interp(angle_deg, _ANGLES, _ONE), np.interp(angle_deg, _ANGLES, _TWO)
    three = np.interp(angle_deg, _THREE_ANGLES, _THREE)
    found: Floats = -2.5 * np.log10(np.maximum(g1 * one + g2 * two + (1 - g1 - g2) * three, 1e-6))
    return found


def kepler(mean_anomaly: Floats, e: Floats) -> Floats:
    """Eccentric anomaly [rad] by Newton's method."""
    anomaly = mean_anomaly + e * np.sin(mean_anomaly)
    for _ in range(8):
        anomaly = anomaly - (anomaly - e * np.sin(anomaly) - mean_anomaly) / (1 - e * np.cos(anomaly))
    return anomaly


def earth(mjd: Floats) -> Floats:
    """Heliocentric ecliptic place of the Earth [au]: (3, time)."""
    lon = sun_longitude(mjd) + np.pi
    anomaly = np.radians(357.528 + 0.9856003 * (np.asarray(mjd) - 51544.5))
    distance = 1.00014 - 0.01671 * np.cos(anomaly) - 0.00014 * np.cos(2 * anomaly)
    return np.array([distance * np.cos(lon), distance * np.sin(lon), np.zeros_like(lon)])


def heliocentric(truth: dict[str, Floats], mjd: Floats) -> Floats:
    """Ecliptic places [au] of orbits at times [d], by two-body motion: (3, orbit)."""
    a, e = truth["a_au"], truth["e"]
    anomaly = kepler((truth["mean_anomaly"] + 0.01720209895 / a**1.5 * (mjd - truth["epoch_mjd"])) % (2 * np.pi), e)
    x, y = a * (np.cos(anomaly) - e), a * np.sqrt(1 - e**2) * np.sin(anomaly)
    w, node, i = truth["argperi"], truth["node"], truth["inclination"]
    u, v = x * np.cos(w) - y * np.sin(w), x * np.sin(w) + y * np.cos(w)
    return np.array([u * np.cos(node) - v * np.cos(i) * np.sin(node), u * np.sin(node) + v * np.cos(i) * np.cos(node), v * np.sin(i)])


def moving(where: Callable[[Floats], Floats], mjd: Floats) -> tuple[Floats, Floats]:
    """Places [au] and velocities [km/s] of what moves."""
    return where(mjd), (where(mjd + 0.05) - where(mjd - 0.05)) * 10 * 149597870.7 / 86400


def apparent(truth: dict[str, Floats], mjd: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Right ascension, declination [deg], distances from Sun and Earth [au], phase angle [deg]; light-time left out."""
    helio = heliocentric(truth, mjd)
    topo = helio - earth(mjd)
    near, far = np.sqrt((topo**2).sum(0)), np.sqrt((helio**2).sum(0))
    ra, dec = from_ecliptic(np.arctan2(topo[1], topo[0]), np.arcsin(topo[2] / near))
    angle = np.degrees(np.arccos(np.clip((helio * topo).sum(0) / near / far, -1, 1)))
    return ra, dec, far, near, angle


def _orbits(rng: np.random.Generator, count: int, mjd: Floats) -> dict[str, Floats]:
    """Inner, middle and outer main belt between the Kirkwood gaps, Hungarias (Warner et al. 2009, Icarus 204, 172) and Jupiter's Trojans.

    Trojans are 109,000 of the 5.2 million that LSST will find (Kurlander et al. 2025), their inclinations those of Jewitt et al. 2000 (AJ 120, 1140);
    eccentricities of the inner belt: Malhotra & Wang 2017 (MNRAS 465, 4381). Shares of the others, and the other spreads, have no source.
    """
    group = rng.choice(5, count, p=(0.3, 0.36, 0.29, 0.03, 0.02))
    low, high = np.array([2.12, 2.5, 2.83, 1.78, 5.05])[group], np.array([2.49, 2.82, 3.27, 2.0, 5.35])[group]
    inner, hungaria = group == 0, group == 3
    first, second = 0.06 * rng.standard_normal((2, count))
    e = np.where(inner, np.hypot(0.13 + first, second), np.where(hungaria, 0.18 * rng.random(count), rng.rayleigh(0.1, count))).clip(0, 0.35)
    tilted = np.where(hungaria, rng.uniform(16, 34, count), rng.rayleigh(np.where(group == 4, 13.7, 6.5)).clip(0, 40))
    return {"a_au": rng.uniform(low, high), "e": e, "inclination": np.radians(tilted), "node": rng.uniform(0, 2 * np.pi, count),
            "argperi": rng.uniform(0, 2 * np.pi, count), "mean_anomaly": rng.uniform(0, 2 * np.pi, count), "epoch_mjd": mjd}  # fmt: skip


def bent(rng: np.random.Generator, count: int, brightest: float, faintest: float) -> Floats:
    """Magnitudes in V of the belt's asteroids on the sky."""
    low, high = (1 - 10 ** (BRIGHT * (brightest - BEND))) / BRIGHT, (10 ** (FAINT * (faintest - BEND)) - 1) / FAINT
    before = rng.random(count) < low / (low + high)
    return np.where(before, faint_heavy(rng, count, brightest, BEND, BRIGHT), faint_heavy(rng, count, BEND, faintest, FAINT))


def _draw(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    site, plan = heaven.site, heaven.schedule

    def some(count: int) -> tuple[Things, NDArray[Any]]:
        guess = plan.first + rng.random(count) * plan.days
        truth = _orbits(rng, count, guess)
        # orbits that stand in the night sky: the longitude is turned so that they are near opposition then
        ra, dec, *_ = apparent(truth, guess)
        turn = sun_longitude(guess) + np.pi + rng.normal(0, 0.75, count) - np.arctan2(*heliocentric(truth, guess)[1::-1])
        truth["node"] = (truth["node"] + turn) % (2 * np.pi)
        ra, dec, *_ = apparent(truth, guess)
        mjd = _visit_that_night(heaven, plan.field_of(ra, dec), guess)
        at = np.where(np.isfinite(mjd), mjd, guess)
        ra, dec, far, near, angle = apparent(truth, at)
        later = apparent(truth, at + 0.01)
        east, north = ((later[0] - ra + 180) % 360 - 180) * np.cos(np.radians(dec)) / 0.01, (later[1] - dec) / 0.01
        g12 = rng.normal(0.5, 0.15, count).clip(0.05, 0.95)
        mag = bent(rng, count, 14.5, site.limit() - 0.1)  # in V, at that time
        h = mag - 5 * np.log10(far * near) - phase_dimming(angle, g12)
        ebv = np.zeros(count)
        truth |= {"h": h, "g12": g12, "v_mag": mag, "peak_mjd": at, "speed_deg_per_day": np.hypot(east, north), "east": east, "north": north,
                  "helio_au": far, "topo_au": near, "phase_deg": angle, "rotation_mag": rng.gamma(2, 0.06, count)}  # fmt: skip
        things = Things(ra, dec, ebv, np.zeros((count, len(site.bands))), *field_source(rng, ra, dec), truth, (rng.random(count) < 0.93).astype(float))
        good = np.isfinite(mjd) & (dec > site.dec_range[0]) & (dec < site.dec_range[1]) & (h < 21.5) & (h > 5)
        return things, good

    return until(number, some)


def _visit_that_night(heaven: Heaven, field: Ints, mjd: Floats) -> Floats:
    """Time of a field's visit nearest to a time, nan where none is within a day."""
    plan = heaven.schedule
    low, high = plan.start[field], plan.start[field] + plan.count[field]
    found = np.full(len(field), np.nan)
    keys = plan.mjd + 1e6 * np.repeat(np.arange(len(plan.start)), plan.count)  # increasing over all fields
    after = np.searchsorted(keys, mjd + 1e6 * field)
    for place in (after - 1, after):
        inside = (place >= low) & (place < high)
        visit = np.where(inside, plan.mjd[np.clip(place, 0, len(plan.mjd) - 1)], np.nan)
        nearer = np.abs(visit - mjd) < np.where(np.isfinite(found), np.abs(found - mjd), 1.0)
        found = np.where(nearer, visit, found)
    return found


def _signal(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    """Light at the place where it then is, in the visits of one night; the visits of other nights see another part of the sky."""
    truth = things.truth
    here = np.abs(mjd - truth["peak_mjd"][who]) < SAME_NIGHT
    turning = np.sin(2 * np.pi * (mjd - truth["peak_mjd"][who]) / 0.12 + things.ra[who])
    mag = truth["v_mag"][who] + truth["rotation_mag"][who] * turning + heaven.band_values(COLOURS)[band]
    return np.where(here, nanojansky(mag), 0.0)


def _draw_trail(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Near-Earth asteroids: degrees a day, so that their light is drawn out over many seeing discs.

    Their numbers grow by 10^0.5 a magnitude, at any distance (Valdes 2019, arXiv:1901.07111). Speeds and elements are set by hand; orbits reach the Earth's.
    """

    def some(count: int) -> tuple[Things, NDArray[Any]]:
        plan, site = heaven.schedule, heaven.site
        lon = rng.uniform(0, 2 * np.pi, count)
        ra, dec = from_ecliptic(lon, np.radians(rng.normal(0, 20, count)))
        mjd = plan.some_visit(rng, plan.field_of(ra, dec.clip(*site.dec_range)))
        speed = np.exp(rng.normal(np.log(6), 0.8, count)).clip(1.5, 80)
        length = speed * 3600 * 30 / 86400
        mag = faint_heavy(rng, count, 14.0, site.limit() - 0.2, 0.5)
        a, near, phase = rng.uniform(1.0, 2.6, count), 0.2 / speed, rng.uniform(5, 80, count)
        g12 = np.full(count, 0.5)
        truth = {"v_mag": mag, "peak_mjd": mjd, "speed_deg_per_day": speed, "east": speed * np.cos(lon * 7), "north": speed * np.sin(lon * 7),
                 "trail_arcsec": length, "rotation_mag": rng.gamma(2, 0.1, count), "h": mag - 5 * np.log10(1.05 * near) - phase_dimming(phase, g12), "g12": g12,
                 "a_au": a, "e": 1 - rng.uniform(0.6, 1.0, count) / a, "inclination": np.radians(rng.rayleigh(10, count)),
                 "node": lon, "argperi": lon * 3 % (2 * np.pi), "mean_anomaly": lon * 5 % (2 * np.pi), "epoch_mjd": mjd,
                 "helio_au": np.full(count, 1.05), "topo_au": near, "phase_deg": phase}  # fmt: skip
        source = field_source(rng, ra, dec)
        things = Things(ra, dec, np.zeros(count), np.zeros((count, len(site.bands))), *source, truth, (rng.random(count) < 0.3).astype(float))
        return things, np.isfinite(mjd) & (dec > site.dec_range[0]) & (dec < site.dec_range[1])

    return until(number, some)


# Asteroids with alerts in a year: ZTF about 100,000 of 1.3 million known; LSST's simulated first years (Kurlander et al. 2025). Trails: Ye et al. 2019
# (PASP 131, 078002): about a hundred a year found.
ASTEROIDS = (
    Kind("asteroid", "asteroid", _draw, _signal, {"ztf": 110000, "lsst": 1500000}, moving=True, dusty=False),
    Kind("trail", "asteroid", _draw_trail, _signal, {"ztf": 400, "lsst": 4000}, moving=True, dusty=False),
)
