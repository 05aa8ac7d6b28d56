"""Sky and time, against astropy and astropy's own HEALPix-free formulae."""

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


@settings(max_examples=200, deadline=None)
@given(RA, DEC, RA, DEC)
def test_separation_is_astropys(ra1: float, dec1: float, ra2: float, dec2: float) -> None:
    expected = SkyCoord(ra1, dec1, unit="deg").separation(SkyCoord(ra2, dec2, unit="deg")).arcsec
    assert sky.separation_arcsec(ra1, dec1, ra2, dec2) == pytest.approx(expected, abs=1e-6, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(RA, DEC, st.floats(0.5, 7200), st.integers(0, 2**31))
def test_a_cone_covers_every_point_in_it(ra: float, dec: float, radius: float, seed: int) -> None:
    ranges = sky.cone_ranges(ra, dec, radius)
    assert 1 <= len(ranges) <= 12
    rng = np.random.default_rng(seed)
    centre = SkyCoord(ra, dec, unit="deg")
    points = centre.directional_offset_by(rng.uniform(0, 360, 50) * u.deg, rng.uniform(0, radius, 50) * u.arcsec)
    pixels = sky.healpix(points.ra.deg, points.dec.deg)
    assert all(any(low <= pixel < high for low, high in ranges) for pixel in pixels)


def test_galactic_and_ecliptic_latitude_are_astropys() -> None:
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 300), np.degrees(np.arcsin(rng.uniform(-1, 1, 300)))
    there = SkyCoord(ra, dec, unit="deg")
    assert np.allclose(sky.galactic_latitude(ra, dec), there.galactic.b.deg, atol=2e-3)
    assert np.allclose(sky.ecliptic_latitude(ra, dec), there.barycentricmeanecliptic.lat.deg, atol=2e-2)


@pytest.mark.parametrize("date", ["1998-06-01", "2005-12-31", "2006-01-01T00:00:01", "2016-12-31", "2017-01-01T12:00:00", "2026-03-10"])
def test_tai_is_astropys(date: str) -> None:
    time = Time(date, scale="utc")
    assert sky.mjd_tai(time.jd) == pytest.approx(time.tai.mjd, abs=1e-8)


@pytest.mark.parametrize(
    ("utc", "longitude", "night"),
    [
        ("2026-03-10T08:00:00", -70.749, 20260309),  # still the evening of the 9th on Cerro Pachon
        ("2026-03-10T23:59:00", -70.749, 20260310),
        ("2023-10-18T12:30:00", -116.863, 20231017),  # dawn at Palomar
        ("2023-10-19T03:00:00", -116.863, 20231018),
    ],
)
def test_a_night_is_dated_by_its_evening(utc: str, longitude: float, night: int) -> None:
    assert sky.night(Time(utc, scale="utc").tai.mjd, longitude)[0] == night


def test_pixels_wrap_and_reach_the_poles() -> None:
    assert sky.healpix(360.0, 10.0)[0] == sky.healpix(0.0, 10.0)[0]
    assert 0 <= sky.healpix(12.0, 90.0)[0] < 12 * 4**29
    assert math.isclose(sky.separation_arcsec(0, 90, 180, 90), 0, abs_tol=1e-6)
