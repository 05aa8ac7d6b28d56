"""Geometry of the simulated sky against hand calculations: parallax of microlensing, and trails in cutout and packet."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, get_body_barycentric
from astropy.io import fits
from astropy.time import Time

from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.kind import Heaven, Things
from fink_broker.skysim.observatory import LSST, ZTF
from fink_broker.skysim.places import sun_longitude
from fink_broker.skysim.schedule import schedule
from fink_broker.skysim.stamps import Scene, stamps
from fink_broker.skysim.stars import STARS
from fink_broker.skysim.templates import templates

LENS = next(kind for kind in STARS if kind.name == "microlensing")
T0 = 60000.0
LONGEST = 2 * 31 * LSST.pixel_arcsec  # trails are drawn to twice the width of the smallest surroundings


@pytest.fixture(scope="module")
def heaven() -> Heaven:
    return Heaven(ZTF, schedule(ZTF, T0, 3, 1), templates(ZTF, "built-in"))


def separation(heaven: Heaven, mjd: list[float], ra: float, dec: float, north: float, east: float, u0: float = 0.3, t_e: float = 40.0) -> np.ndarray:
    """Of source and lens in Einstein radii: the magnification that the sky gives, turned round (Paczynski 1986)."""
    values = {"t_e_days": t_e, "u0": u0, "peak_mjd": T0, "parallax_north": north, "parallax_east": east, "source_share": 1.0}
    one = np.ones(1)
    things = Things(ra * one, dec * one, 0 * one, np.ones((1, 3)), one, one, one, {name: value * one for name, value in values.items()})
    who = np.zeros(len(mjd), np.int64)
    grown = 1 + LENS.signal(things, who, np.array(mjd), who, heaven, np.random.default_rng(1))
    return np.sqrt(2 * (grown / np.sqrt(grown**2 - 1) - 1))


def test_without_parallax_the_lens_goes_straight_on(heaven: Heaven) -> None:
    assert separation(heaven, [T0 - 40, T0, T0 + 20], 270, 20, 0, 0) == pytest.approx([np.hypot(1, 0.3), 0.3, np.hypot(0.5, 0.3)])


def test_parallax_at_the_pole_of_the_ecliptic_by_hand(heaven: Heaven) -> None:
    """There the Sun goes round in a circle of 1 au: after an angle a it is (1 - cos a) nearer to where it was and a - sin a behind the straight way."""
    for days in (-60.0, 45.0):
        mjd, size = T0 + days, 0.4
        first, turned = sun_longitude(np.array([T0]))[0], (sun_longitude(np.array([mjd])) - sun_longitude(np.array([T0])))[0]
        speed = (sun_longitude(np.array([T0 + 0.5])) - sun_longitude(np.array([T0 - 0.5])))[0]
        toward, along = np.cos(turned) - 1, np.sin(turned) - days * speed
        # at the northern pole (right ascension 18 h) north points to longitude 90 degrees, and east to longitude 0
        x, y = np.cos(first) * toward - np.sin(first) * along, np.sin(first) * toward + np.cos(first) * along
        north, east = y, x
        for pn, pe in ((size, 0.0), (0.0, size), (0.3, -0.2)):
            tau, beta = days / 40 + pn * north + pe * east, 0.3 - (pn * east - pe * north)
            assert separation(heaven, [mjd], 270, 66.5607, pn, pe) == pytest.approx([np.hypot(tau, beta)], rel=2e-3)


def test_parallax_is_that_of_astropys_earth(heaven: Heaven) -> None:
    """Lens and source as vectors on the sky: the lens moves along the parallax, and is nearer, so that it mirrors the Earth's way."""
    rng = np.random.default_rng(7)
    print("seed 7")

    def earth(mjd: float) -> np.ndarray:
        time = Time(mjd, format="mjd")
        return (get_body_barycentric("earth", time, "builtin") - get_body_barycentric("sun", time, "builtin")).xyz.to_value(u.au)

    for _ in range(8):
        ra, dec, angle, size = rng.uniform(0, 360), rng.uniform(-60, 80), rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.6)
        here = SkyCoord(ra * u.deg, dec * u.deg)
        r, d = here.ra.rad, here.dec.rad
        sky = np.array([[-np.sin(d) * np.cos(r), -np.sin(d) * np.sin(r), np.cos(d)], [-np.sin(r), np.cos(r), 0]])  # north and east
        way = np.array([np.cos(angle), np.sin(angle)])  # of the lens past the source, (north, east)
        left = np.array([-way[1], way[0]])  # of the lens, as one looks up: east is left of north
        for days in (-50.0, -20.0, 30.0, 70.0):
            moved = earth(T0 + days) - earth(T0) - days * (earth(T0 + 0.5) - earth(T0 - 0.5))
            lens = way * days / 40 - 0.3 * left - size * sky @ moved  # from the source, in Einstein radii
            assert separation(heaven, [T0 + days], ra, dec, size * way[0], size * way[1]) == pytest.approx([np.hypot(*lens)], rel=0.03, abs=0.015)


def drawn_out(image: np.ndarray, fwhm: float, length: float) -> tuple[float, float]:
    """Length [pixels] and angle [rad] of a trail, from its second moments: those of a line are its length squared over 12."""
    half = len(image) // 2
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(float)
    inside = np.hypot(x - half, y - half) < length / 2 + 2 * fwhm
    weight = np.where(inside, image - np.median(image[~inside]), 0)
    cx, cy = (weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()
    xx, yy, xy = ((weight * one).sum() / weight.sum() for one in ((x - cx) ** 2, (y - cy) ** 2, (x - cx) * (y - cy)))
    return float(np.sqrt(12 * np.hypot(xx - yy, 2 * xy))), float(0.5 * np.arctan2(2 * xy, xx - yy) % np.pi)


@pytest.mark.parametrize(("length", "angle"), [(12.0, 0.0), (20.0, 0.7), (20.0, 1.6), (30.0, 2.9)])
def test_a_trail_has_its_length_angle_and_light(length: float, angle: float) -> None:
    scene = Scene(81, trail_pixels=length, trail_angle=angle, steep=True, template_fwhm=4.4)
    difference = stamps(scene, LSST, 2, 1e6, 26.5, 0.9, np.random.default_rng(1))[0][2]
    found, way = drawn_out(difference, 4.5, length)
    assert found == pytest.approx(length, rel=0.06)
    assert abs((way - angle + np.pi / 2) % np.pi - np.pi / 2) < 0.03


def test_cutout_and_packet_tell_of_the_same_trail() -> None:
    turned, measured = [], []
    for one in Campaign("lsst", 60, 4, mix={"trail": 1.0}, models="built-in").alerts():
        source = one.packet["diaSource"]
        if source["trailLength"] is None or source["snr"] < 40:
            continue
        assert source["trailLength"] >= min(one.truth["trail_arcsec"], LONGEST) - 1e-6
        image = next(hdu.data for hdu in fits.HDUList.fromstring(one.packet["cutoutDifference"]) if hdu.data is not None)
        pixels = source["trailLength"] / LSST.pixel_arcsec
        if pixels > len(image) - 12:  # it leaves the cutout
            continue
        length, angle = drawn_out(image.astype(float), 4.5, pixels)
        east, north = -np.cos(angle), np.sin(angle)  # north is up and east left
        turned.append((np.degrees(np.arctan2(east, north)) - source["trailAngle"] + 90) % 180 - 90)
        measured.append(length / pixels)
    assert len(turned) > 8
    assert np.median(np.abs(turned)) < 3
    assert np.median(measured) == pytest.approx(1, abs=0.1)
