"""Places and times, against astropy and cdshealpix, which do not share our formulae."""

import math

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from fink_broker import sky

RA = st.floats(0, 360, allow_nan=False)
DEC = st.floats(-90, 90, allow_nan=False)


def points(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spread positions, and the awkward ones."""
    rng = np.random.default_rng(seed)
    ra = [*rng.uniform(0, 360, number), 0, 360, 359.9999999, 45, 0, 123, sky.NGP_RA, 270]
    dec = [*np.degrees(np.arcsin(rng.uniform(-1, 1, number))), 0, 0, 0, 41.8, 90, -90, sky.NGP_DEC, 90 - sky.OBLIQUITY]
    return np.array(ra), np.array(dec)


@settings(max_examples=200, deadline=None)
@given(RA, DEC, RA, DEC)
def test_separation_is_astropys(ra1: float, dec1: float, ra2: float, dec2: float) -> None:
    expected = SkyCoord(ra1, dec1, unit="deg").separation(SkyCoord(ra2, dec2, unit="deg")).arcsec
    assert sky.separation_arcsec(ra1, dec1, ra2, dec2) == pytest.approx(expected, abs=1e-6, rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(RA, st.floats(-89.9, 89.9), st.floats(1e-6, 10))
def test_small_separations_are_exact(ra: float, dec: float, arcsec: float) -> None:
    there = dec + arcsec / 3600 if dec < 0 else dec - arcsec / 3600
    assert sky.separation_arcsec(ra, dec, ra, there) == pytest.approx(arcsec, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(RA, DEC, RA, DEC)
def test_separation_is_the_same_both_ways_and_round_the_circle(ra1: float, dec1: float, ra2: float, dec2: float) -> None:
    apart = sky.separation_arcsec(ra1, dec1, ra2, dec2)
    assert sky.separation_arcsec(ra2, dec2, ra1, dec1) == pytest.approx(apart, abs=1e-8)
    assert sky.separation_arcsec(ra1 + 360, dec1, ra2 - 360, dec2) == pytest.approx(apart, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(RA, DEC, st.floats(0.001, 7200), st.integers(0, 2**31))
def test_a_cone_covers_every_point_in_it(ra: float, dec: float, radius: float, seed: int) -> None:
    ranges = sky.cone_ranges(ra, dec, radius)
    assert 1 <= len(ranges) <= 12
    rng = np.random.default_rng(seed)
    centre = SkyCoord(ra, dec, unit="deg")
    points = centre.directional_offset_by(rng.uniform(0, 360, 50) * u.deg, rng.uniform(0, radius, 50) * u.arcsec)
    pixels = sky.healpix(points.ra.deg, points.dec.deg)
    assert all(any(low <= pixel < high for low, high in ranges) for pixel in pixels)


@pytest.mark.parametrize("radius_arcsec", [0.0, 1.0, 3600.0, 90 * 3600.0, 180 * 3600.0, 1e9])
def test_ranges_of_a_cone_are_apart_in_order_and_few(radius_arcsec: float) -> None:
    ranges = sky.cone_ranges(359.99, 90.0, radius_arcsec, max_ranges=3)
    assert 1 <= len(ranges) <= 3
    flat = [edge for pair in ranges for edge in pair]
    assert flat == sorted(set(flat))
    assert flat[-1] <= 12 << 58


def test_a_cone_asks_for_little_more_than_itself() -> None:
    pixel_deg2 = 41252.96 / (12 << 58)
    for ra, dec in zip(*points(50, 5), strict=True):
        covered = sum(high - low for low, high in sky.cone_ranges(ra, dec, 3600)) * pixel_deg2
        assert math.pi <= covered < 60


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 360 * 1024), DEC)
def test_pixels_wrap_and_agree_at_all_orders(ra_1024: int, dec: float) -> None:
    ra = ra_1024 / 1024  # exact, also after adding a turn
    fine = sky.healpix(ra, dec)[0]
    assert 0 <= fine < 12 << 58
    assert sky.healpix(ra, dec, 10)[0] == fine >> 38
    assert sky.healpix(ra + 360, dec)[0] == sky.healpix(ra - 360, dec)[0] == fine


def test_all_right_ascensions_meet_at_a_pole() -> None:
    for pole in (90.0, -90.0):
        assert len({sky.healpix(ra, pole, 12)[0] >> 24 for ra in (0.5, 12, 89)}) == 1
        assert math.isclose(sky.separation_arcsec(0, pole, 180, pole), 0, abs_tol=1e-6)
    assert sky.healpix(360.0, 10.0)[0] == sky.healpix(0.0, 10.0)[0]


def test_galactic_and_ecliptic_coordinates_are_astropys() -> None:
    ra, dec = points(300, 3)
    there = SkyCoord(ra, dec, unit="deg")
    longitude, latitude = sky.galactic(ra, dec)
    assert np.allclose(SkyCoord(longitude, latitude, unit="deg").separation(SkyCoord(there.galactic.l, there.galactic.b)).arcsec, 0, atol=0.05)  # ICRS and FK5
    assert np.array_equal(sky.galactic_latitude(ra, dec), latitude)
    assert np.allclose(sky.ecliptic_latitude(ra, dec), there.barycentricmeanecliptic.lat.deg, atol=1e-4)
    assert ((longitude >= 0) & (longitude < 360)).all()


@pytest.mark.parametrize("date", ["1998-06-01", "2005-12-31", "2006-01-01T00:00:01", "2016-12-31", "2017-01-01T12:00:00", "2026-03-10"])
def test_tai_is_astropys(date: str) -> None:
    time = Time(date, scale="utc")
    assert sky.mjd_tai(time.jd) == pytest.approx(time.tai.mjd, abs=1e-8)


def test_every_leap_second_is_astropys() -> None:
    for mjd, seconds in sky.LEAP_SECONDS:
        time = Time(mjd + 0.5, format="mjd", scale="utc")
        assert (time.tai.mjd - time.utc.mjd) * 86400 == pytest.approx(seconds, abs=1e-4)
        assert sky.mjd_tai(time.jd) == pytest.approx(time.tai.mjd, abs=1e-8)


@pytest.mark.parametrize(
    ("utc", "longitude", "night"),
    [
        ("2026-03-10T08:00:00", -70.749, 20260309),  # still the evening of the 9th on Cerro Pachon
        ("2026-03-10T23:59:00", -70.749, 20260310),
        ("2023-10-18T12:30:00", -116.863, 20231017),  # dawn at Palomar
        ("2023-10-19T03:00:00", -116.863, 20231018),
        ("2024-02-29T20:00:00", 0.0, 20240229),
        ("2024-12-31T22:00:00", 149.06, 20241231),  # 8 in the morning of the 1st at Siding Spring
        ("1858-11-16T23:00:00", 0.0, 18581116),  # before day 0
    ],
)
def test_a_night_is_dated_by_its_evening(utc: str, longitude: float, night: int) -> None:
    mjd = Time(utc, scale="tai").mjd + 37 / 86400
    assert sky.night(mjd, longitude)[0] == night


@settings(max_examples=100, deadline=None)
@given(st.floats(47892, 88069), st.floats(-180, 180))
def test_a_night_is_a_day_of_the_calendar(mjd: float, longitude: float) -> None:
    evening = Time(math.floor(mjd - 37 / 86400 + longitude / 360 - 0.5), format="mjd", scale="tai").strftime("%Y%m%d")
    assert str(sky.night(mjd, longitude)[0]) == evening


@pytest.mark.parametrize("longitude", [-116.86, -70.75, 0.0, 150.0])
def test_a_night_starts_where_the_one_before_ends(longitude: float) -> None:
    mjd = np.linspace(58000, 62000, 4001)
    night = sky.night(mjd, longitude)
    start = sky.night_start(night, longitude)
    assert ((start <= mjd) & (mjd < start + 1)).all()
    assert (sky.night(start + 1e-6, longitude) == night).all()
    assert (sky.night(start - 1e-6, longitude) < night).all()
