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
    # one thread: cdshealpix starts and ends a pool of them with each call, on cores that Spark's other tasks keep busy
    found: NDArray[np.int64] = lonlat_to_healpix(Longitude(lon, u.deg), Latitude(lat, u.deg), order, num_threads=1).astype(np.int64)
    return found


def healpix_sql(ra: str, dec: str) -> str:
    """Spark SQL of the order-29 nested pixel of a position [deg]: plain arithmetic, so that it stays in the JVM.

    Gorski et al. 2005, section 4 (ang2pix in the nested scheme). Rounding puts five points in a million, those within about
    1e-14 rad of a border, on its other side: never further than the neighbouring pixel of 2e-9 rad.
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
    """Each bit of a whole number moved to twice its place: its binary digits read as digits of base 4."""
    return f"cast(conv(bin({value}), 4, 10) as bigint)"


def cone_ranges(ra: float, dec: float, radius_arcsec: float, max_ranges: int = 12) -> list[tuple[int, int]]:
    """Ranges [first, last) of order-29 pixels that cover a cone: never less, and at most `max_ranges` of them.

    A small cone is covered roughly, by few ranges (3 of 4 times its area, in the mean), since a scan costs more than the
    rows it reads in vain; one of 2 arcminutes or more closely (9 of 1.6 times its area).
    """
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import cone_search

    radius_deg = min(max(radius_arcsec, 1e-4) / 3600 * (1 + 1e-9) + 1e-9, 180.0)
    finer = 2 if radius_arcsec >= 120 else 0
    order = int(np.clip(math.floor(math.log2(58.6 / radius_deg)) + finer, 0, ORDER - 2))  # cdshealpix looks two orders deeper
    pixels, depth, _ = cone_search(Longitude(ra % 360, u.deg), Latitude(dec, u.deg), radius_deg * u.deg, order)
    pixels, shift = pixels.astype(np.int64), 2 * (ORDER - depth.astype(np.int64))
    low, high = np.sort(pixels << shift), np.sort((pixels + 1) << shift)
    gaps = low[1:] - high[:-1]
    kept = np.sort(np.argsort(-gaps, kind="stable")[: min(max_ranges - 1, int((gaps > 0).sum()))])  # the widest stay open
    return list(zip(np.append(low[:1], low[kept + 1]).tolist(), np.append(high[kept], high[-1:]).tolist(), strict=True))


def separation_arcsec(ra1: Any, dec1: Any, ra2: Any, dec2: Any) -> Floats:
    """Great-circle separation [arcsec] of positions [deg], exact at small angles (Vincenty's formula)."""
    ra1, dec1, ra2, dec2 = (np.radians(np.asarray(value, float)) for value in (ra1, dec1, ra2, dec2))
    delta = ra2 - ra1
    across = np.hypot(np.cos(dec2) * np.sin(delta), np.cos(dec1) * np.sin(dec2) - np.sin(dec1) * np.cos(dec2) * np.cos(delta))
    along = np.sin(dec1) * np.sin(dec2) + np.cos(dec1) * np.cos(dec2) * np.cos(delta)
    found: Floats = np.degrees(np.arctan2(across, along)) * 3600
    return found


def galactic(ra: Any, dec: Any) -> tuple[Floats, Floats]:
    """Galactic longitude (0 to 360) and latitude [deg] of positions [deg, J2000]."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    pole_dec, apart = math.radians(NGP_DEC), ra - math.radians(NGP_RA)
    east = np.cos(dec) * np.sin(apart)
    north = np.sin(dec) * math.cos(pole_dec) - np.cos(dec) * math.sin(pole_dec) * np.cos(apart)
    up = np.sin(dec) * math.sin(pole_dec) + np.cos(dec) * math.cos(pole_dec) * np.cos(apart)
    return (NODE_L + 90 - np.degrees(np.arctan2(east, north))) % 360, np.degrees(np.arctan2(up, np.hypot(east, north)))


def galactic_latitude(ra: Any, dec: Any) -> Floats:
    """Galactic latitude [deg] of positions [deg, J2000]."""
    return galactic(ra, dec)[1]


def galactic_latitude_sql(ra: str, dec: str) -> str:
    """The same as Spark SQL."""
    pole = f"radians({NGP_DEC}d)"
    return _asin_sql(f"sin(radians({dec})) * sin({pole}) + cos(radians({dec})) * cos({pole}) * cos(radians({ra} - {NGP_RA}d))")


def ecliptic_latitude(ra: Any, dec: Any) -> Floats:
    """Ecliptic latitude [deg] of positions [deg, J2000]."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    tilt = math.radians(OBLIQUITY)
    found: Floats = np.degrees(np.arcsin(np.clip(np.sin(dec) * math.cos(tilt) - np.cos(dec) * math.sin(tilt) * np.sin(ra), -1, 1)))
    return found


def ecliptic_latitude_sql(ra: str, dec: str) -> str:
    """The same as Spark SQL."""
    tilt = f"radians({OBLIQUITY}d)"
    return _asin_sql(f"sin(radians({dec})) * cos({tilt}) - cos(radians({dec})) * sin({tilt}) * sin(radians({ra}))")


def _asin_sql(value: str) -> str:
    """Arc sine [deg] of what rounding may have pushed beyond 1."""
    return f"degrees(asin(least(1d, greatest(-1d, {value}))))"


def mjd_tai(jd_utc: Any) -> Floats:
    """MJD [d, TAI] of a Julian date [d, UTC]; from 1990 on, and good to 40 microseconds, which is what a Julian date in a double holds."""
    mjd = np.asarray(jd_utc, float) - 2400000.5
    starts, seconds = (np.array(column, float) for column in zip(*LEAP_SECONDS, strict=True))
    found: Floats = mjd + seconds[np.maximum(np.searchsorted(starts, mjd, side="right") - 1, 0)] / 86400
    return found


def mjd_tai_sql(jd_utc: str) -> str:
    """The same as Spark SQL."""
    whens = " ".join(f"when {jd_utc} >= {2400000.5 + mjd}d then {seconds}d" for mjd, seconds in reversed(LEAP_SECONDS))
    return f"(cast({jd_utc} as double) - 2400000.5d + (case {whens} else {LEAP_SECONDS[0][1]}d end) / 86400d)"


def night(mjd: Any, longitude_deg: float) -> NDArray[np.int64]:
    """Local night YYYYMMDD of MJDs [d, TAI]: the date of its evening, from local mean noon to noon.

    Local mean solar time of the site, so neither zone nor summer time enters; TAI is taken as UTC + 37 s, and before 2017
    noon is up to 12 s late for it. `longitude_deg` counts eastward.
    """
    day = np.floor(np.asarray(mjd, float) - 37 / 86400 + longitude_deg / 360 - 0.5).astype(np.int64)
    date = np.atleast_1d(np.datetime64("1858-11-17") + day)
    month = date.astype("M8[M]")
    found: NDArray[np.int64] = month.astype(np.int64) // 12 * 10000 + 19700000 + (month.astype(np.int64) % 12 + 1) * 100 + (date - month).astype(np.int64) + 1
    return found


def night_start(night: Any, longitude_deg: float) -> NDArray[np.float64]:
    """MJDs [d, TAI] at which local nights YYYYMMDD begin: local mean noon, see `night`."""
    number = np.atleast_1d(np.asarray(night, np.int64))
    months = (number // 10000 - 1970) * 12 + number // 100 % 100 - 1
    firsts = months.astype("M8[M]").astype("M8[D]").astype(np.int64) + 40587  # of the months, as MJD
    found: NDArray[np.float64] = (firsts + number % 100).astype(float) + (37 / 86400 - 0.5 - longitude_deg / 360)
    return found


def night_sql(mjd: str, longitude_deg: float) -> str:
    """The same as Spark SQL."""
    day = f"cast(floor({mjd} - {37 / 86400 - longitude_deg / 360 + 0.5}d) as int)"
    return f"cast(date_format(date_add(date'1858-11-17', {day}), 'yyyyMMdd') as int)"
