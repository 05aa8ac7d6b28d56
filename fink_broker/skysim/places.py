"""Where things are on the sky: galaxies everywhere, stars in the Milky Way's disc and bulge, and the dust before them."""

from __future__ import annotations

import numpy as np

from fink_broker import sky
from fink_broker.skysim.cosmos import Floats
from fink_broker.skysim.observatory import Observatory

# Deep drilling fields of LSST (J2000 [deg]): ELAIS-S1, XMM-LSS, ECDFS, EDFS, COSMOS.
DEEP = ((9.45, -44.0), (35.71, -4.75), (53.13, -28.1), (58.9, -49.3), (150.1, 2.18))
SLAB = 0.03  # E(B-V) of all dust towards the galactic poles [mag]


def anywhere(rng: np.random.Generator, number: int, site: Observatory) -> tuple[Floats, Floats]:
    """Isotropic places [deg] inside a survey's footprint."""
    low, high = np.sin(np.radians(site.dec_range))
    ra, dec = rng.uniform(0, 360, number), np.degrees(np.arcsin(rng.uniform(low, high, number)))
    return _moved(rng, ra, dec, site, 0.0)


def _until(rng: np.random.Generator, number: int, site: Observatory, propose: object, far_from_plane: float = 0.0) -> tuple[Floats, Floats]:
    found_ra, found_dec, have = [], [], 0
    while have < number:
        ra, dec = propose(rng, 2 * number + 8)  # type: ignore[operator]
        good = (dec > site.dec_range[0]) & (dec < site.dec_range[1])
        if far_from_plane:
            good &= np.abs(sky.galactic_latitude(ra, dec)) > far_from_plane
        found_ra.append(ra[good])
        found_dec.append(dec[good])
        have += int(good.sum())
    return np.concatenate(found_ra)[:number], np.concatenate(found_dec)[:number]


def extragalactic(rng: np.random.Generator, number: int, site: Observatory, deep_share: float = 0.0) -> tuple[Floats, Floats]:
    """Isotropic, not behind the Milky Way; a share of them in the deep fields of a survey that has some."""
    if site.around:  # wherever that is, be it behind the Milky Way
        return anywhere(rng, number, site)
    ra, dec = _until(rng, number, site, lambda dice, count: anywhere(dice, count, site), 8.0)
    return _moved(rng, ra, dec, site, deep_share)


def galactic(rng: np.random.Generator, number: int, site: Observatory, scale_height_deg: float, deep_share: float = 0.0) -> tuple[Floats, Floats]:
    """Stars: latitudes fall off exponentially from the plane, longitudes gather towards the centre."""

    def propose(dice: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        b = np.clip(dice.exponential(scale_height_deg, count) * dice.choice([-1, 1], count), -90, 90)
        lon = np.where(dice.random(count) < 0.35, dice.normal(0, 35, count), dice.uniform(0, 360, count)) % 360
        return from_galactic(lon, b)

    ra, dec = _until(rng, number, site, propose)
    return _moved(rng, ra, dec, site, deep_share)


def _moved(rng: np.random.Generator, ra: Floats, dec: Floats, site: Observatory, share: float) -> tuple[Floats, Floats]:
    """That share of places, or all where a survey's things are put near certain ones, moved into the fields there."""
    share, fields = (1.0, np.array(site.around)) if site.around else (share, np.array(DEEP))
    if not share or site.name == "ztf":
        return ra, dec
    chosen = np.flatnonzero(rng.random(len(ra)) < share)
    which = fields[rng.integers(0, len(fields), len(chosen))]
    radius, angle = 1.6 * np.sqrt(rng.random(len(chosen))), rng.uniform(0, 2 * np.pi, len(chosen))
    dec[chosen] = which[:, 1] + radius * np.sin(angle)
    ra[chosen] = (which[:, 0] + radius * np.cos(angle) / np.cos(np.radians(dec[chosen]))) % 360
    return ra, dec


def from_galactic(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """Equatorial [deg, J2000] of galactic coordinates [deg]."""
    lon, lat, pole = np.radians(lon - sky.NODE_L), np.radians(lat), np.radians(sky.NGP_DEC)
    dec = np.arcsin(np.cos(lat) * np.cos(pole) * np.sin(lon) + np.sin(lat) * np.sin(pole))
    ra = np.arctan2(np.cos(lat) * np.cos(lon), np.sin(lat) * np.cos(pole) - np.cos(lat) * np.sin(pole) * np.sin(lon))
    return (np.degrees(ra) + sky.NGP_RA) % 360, np.degrees(dec)


def from_ecliptic(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """Equatorial [deg, J2000] of ecliptic coordinates [rad]."""
    tilt = np.radians(sky.OBLIQUITY)
    sine = np.sin(lat) * np.cos(tilt) + np.cos(lat) * np.sin(tilt) * np.sin(lon)
    right = np.arctan2(np.sin(lon) * np.cos(lat) * np.cos(tilt) - np.sin(lat) * np.sin(tilt), np.cos(lon) * np.cos(lat))
    return np.degrees(right) % 360, np.degrees(np.arcsin(np.clip(sine, -1, 1)))


def reddening(rng: np.random.Generator, ra: Floats, dec: Floats) -> Floats:
    """E(B-V) [mag] towards places: 0.03 csc|b| (a slab of dust, as far back as Parenago 1940), clouded by a factor of e^(+-0.45), at most 4."""
    path = 1 / np.maximum(np.abs(np.sin(np.radians(sky.galactic_latitude(ra, dec)))), 0.012)
    found: Floats = np.minimum(SLAB * path * np.exp(rng.normal(0, 0.45, len(path))), 4.0)
    return found


def sun_longitude(mjd: Floats) -> Floats:
    """Ecliptic longitude of the Sun [rad] (Astronomical Almanac, low precision)."""
    days = np.asarray(mjd, float) - 51544.5
    anomaly = np.radians(357.528 + 0.9856003 * days)
    found: Floats = np.radians(280.460 + 0.9856474 * days + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    return found
