"""Places on the sky and times: HEALPix, cones, separations, galactic latitude, nights; in numpy and as Spark SQL text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ORDER = 29  # of the neutral column healpix, nested: pixels of 0.4 milliarcseconds
# From MJD (UTC) on, TAI - UTC [s]; BIPM Circular T / IERS Bulletin C.
LEAP_SECONDS = (
    (47892, 25), (48257, 26), (48804, 27), (49169, 28), (49534, 29), (50083, 30), (50630, 31), (51179, 32), (53736, 33),
    (54832, 34), (56109, 35), (57204, 36), (57754, 37),
)  # fmt: skip
# North Galactic Pole and ascending node, J2000 (Hipparcos Catalogue, ESA SP-1200, vol. 1, eq. 1.5.11) [deg].
NGP_RA, NGP_DEC, NODE_L = 192.85948, 27.12825, 32.93192
OBLIQUITY = 23.4392911  # of the ecliptic, J2000 (IAU 1976) [deg]


def healpix(ra: Any, dec: Any, order: int = ORDER) -> NDArray[np.int64]:
    """Nested HEALPix pixel of positions [deg] (Gorski et al. 2005)."""
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import lonlat_to_healpix

    lon, lat = np.atleast_1d(np.asarray(ra, float)) % 360, np.atleast_1d(np.asarray(dec, float))
    found: NDArray[np.int64] = lonlat_to_healpix(Longitude(lon, u.deg), Latitude(lat, u.deg), order).astype(np.int64)
    return found


def healpix_sql(ra: str, dec: str) -> str:
    """Spark SQL of the order-29 nested pixel of a position [deg]: plain arithmetic, so that it stays in the JVM.

    Gorski et al. 2005, section 4 (ang2pix in the nested scheme). Points within about 1e-15 rad of a border may fall on its other side.
    """
    side = 1 << ORDER
    z = f"sin(radians({dec}))"
    tt = f"(pmod({ra}, 360d) / 90d)"
    top = side - 1
    # equator: |z| <= 2/3
    jp = f"cast(floor({side}d * (0.5d + {tt} - {z} * 0.75d)) as bigint)"
    jm = f"cast(floor({side}d * (0.5d + {tt} + {z} * 0.75d)) as bigint)"
    ifp, ifm = f"shiftright({jp}, {ORDER})", f"shiftright({jm}, {ORDER})"
    face_e = f"case when {ifp} = {ifm} then ({ifp} & 3L) + 4L when {ifp} < {ifm} then {ifp} & 3L else ({ifm} & 3L) + 8L end"
    ix_e, iy_e = f"({jm} & {top}L)", f"({top}L - ({jp} & {top}L))"
    # caps: sqrt(3 (1 - |z|)) without cancellation is sqrt(6) sin((90 - |dec|) / 2)
    tmp = f"({side}d * 2.449489742783178d * sin(radians((90d - abs({dec})) / 2d)))"
    ntt = f"least(3L, cast(floor({tt}) as bigint))"
    tp = f"({tt} - {ntt})"
    jp_p = f"least({top}L, cast(floor({tp} * {tmp}) as bigint))"
    jm_p = f"least({top}L, cast(floor((1d - {tp}) * {tmp}) as bigint))"
    north = f"{dec} >= 0"
    face_p = f"if({north}, {ntt}, {ntt} + 8L)"
    ix_p = f"if({north}, {top}L - {jm_p}, {jp_p})"
    iy_p = f"if({north}, {top}L - {jp_p}, {jm_p})"
    polar = f"abs({z}) > 0.6666666666666666d"
    face = f"if({polar}, {face_p}, {face_e})"
    ix, iy = f"if({polar}, {ix_p}, {ix_e})", f"if({polar}, {iy_p}, {iy_e})"
    return f"(shiftleft({face}, {2 * ORDER}) | {_spread_sql(ix)} | shiftleft({_spread_sql(iy)}, 1))"


def _spread_sql(value: str) -> str:
    """Each bit of a 29-bit number moved to twice its place."""
    for shift, mask in ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333),
                        (1, 0x5555555555555555)):  # fmt: skip
        value = f"transform(array({value}), v -> (v | shiftleft(v, {shift})) & {mask}L)[0]"
    return value


def cone_ranges(ra: float, dec: float, radius_arcsec: float, max_ranges: int = 12) -> list[tuple[int, int]]:
    """Ranges [first, last) of order-29 pixels that cover a cone: never less, and at most `max_ranges` of them."""
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import cone_search

    radius_deg = max(radius_arcsec, 1e-4) / 3600 * (1 + 1e-9) + 1e-9
    order = int(np.clip(math.floor(math.log2(58.6 / radius_deg)), 0, ORDER))
    pixels, depth, _ = cone_search(Longitude(ra % 360, u.deg), Latitude(dec, u.deg), radius_deg * u.deg, order)
    shift = 2 * (ORDER - depth.astype(np.int64))
    spans = sorted(zip((pixels.astype(np.int64) << shift).tolist(), ((pixels.astype(np.int64) + 1) << shift).tolist(), strict=True))
    merged: list[list[int]] = []
    for low, high in spans:
        if merged and low <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], high)
        else:
            merged.append([low, high])
    while len(merged) > max_ranges:
        gap = min(range(1, len(merged)), key=lambda index: merged[index][0] - merged[index - 1][1])
        merged[gap - 1][1] = merged.pop(gap)[1]
    return [(low, high) for low, high in merged]


def separation_arcsec(ra1: Any, dec1: Any, ra2: Any, dec2: Any) -> Floats:
    """Great-circle separation [arcsec] of positions [deg], exact at small angles (Vincenty's formula)."""
    ra1, dec1, ra2, dec2 = (np.radians(np.asarray(value, float)) for value in (ra1, dec1, ra2, dec2))
    delta = ra2 - ra1
    across = np.hypot(np.cos(dec2) * np.sin(delta), np.cos(dec1) * np.sin(dec2) - np.sin(dec1) * np.cos(dec2) * np.cos(delta))
    along = np.sin(dec1) * np.sin(dec2) + np.cos(dec1) * np.cos(dec2) * np.cos(delta)
    found: Floats = np.degrees(np.arctan2(across, along)) * 3600
    return found


def galactic_latitude(ra: Any, dec: Any) -> Floats:
    """Galactic latitude [deg] of positions [deg, J2000]."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    pole_ra, pole_dec = math.radians(NGP_RA), math.radians(NGP_DEC)
    found: Floats = np.degrees(np.arcsin(np.sin(dec) * math.sin(pole_dec) + np.cos(dec) * math.cos(pole_dec) * np.cos(ra - pole_ra)))
    return found


def galactic_latitude_sql(ra: str, dec: str) -> str:
    """The same as Spark SQL."""
    return f"degrees(asin(sin(radians({dec})) * sin(radians({NGP_DEC}d)) + cos(radians({dec})) * cos(radians({NGP_DEC}d)) * cos(radians({ra} - {NGP_RA}d))))"


def ecliptic_latitude(ra: Any, dec: Any) -> Floats:
    """Ecliptic latitude [deg] of positions [deg, J2000]."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    tilt = math.radians(OBLIQUITY)
    found: Floats = np.degrees(np.arcsin(np.sin(dec) * math.cos(tilt) - np.cos(dec) * math.sin(tilt) * np.sin(ra)))
    return found


def mjd_tai(jd_utc: Any) -> Floats:
    """MJD [d, TAI] of a Julian date [d, UTC]."""
    mjd = np.asarray(jd_utc, float) - 2400000.5
    starts, seconds = (np.array(column, float) for column in zip(*LEAP_SECONDS, strict=True))
    found: Floats = mjd + seconds[np.maximum(np.searchsorted(starts, mjd, side="right") - 1, 0)] / 86400
    return found


def mjd_tai_sql(jd_utc: str) -> str:
    """The same as Spark SQL."""
    whens = " ".join(f"when {jd_utc} >= {2400000.5 + mjd}d then {seconds}d" for mjd, seconds in reversed(LEAP_SECONDS))
    return f"(cast({jd_utc} as double) - 2400000.5d + (case {whens} else {LEAP_SECONDS[0][1]}d end) / 86400d)"


def night(mjd: Any, longitude_deg: float) -> NDArray[np.int64]:
    """Local night YYYYMMDD of MJDs [d, TAI]: the date of its evening, from local mean noon to noon."""
    day = np.floor(np.asarray(mjd, float) - 37 / 86400 + longitude_deg / 360 - 0.5).astype(np.int64)
    date = np.datetime64("1858-11-17") + day
    text = np.datetime_as_string(np.atleast_1d(date), unit="D")
    return np.array([int(value.replace("-", "")) for value in text])


def night_sql(mjd: str, longitude_deg: float) -> str:
    """The same as Spark SQL."""
    day = f"cast(floor({mjd} - {37 / 86400 - longitude_deg / 360 + 0.5}d) as int)"
    return f"cast(date_format(date_add(date'1858-11-17', {day}), 'yyyyMMdd') as int)"
