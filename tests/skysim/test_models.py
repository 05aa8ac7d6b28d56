"""Models of the simulated sky against independent numbers."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, get_sun
from astropy.cosmology import FlatLambdaCDM
from astropy.modeling.models import BlackBody
from astropy.time import Time

from fink_broker.skysim import cosmos, places, thermal
from fink_broker.skysim.asteroids import apparent, earth, kepler, phase_dimming
from fink_broker.skysim.observatory import LSST, ZTF
from fink_broker.skysim.schedule import schedule
from fink_broker.skysim.stars import magnification
from fink_broker.skysim.templates import templates
from fink_broker.skysim.walks import walk


def test_distances_are_astropys() -> None:
    z = np.array([0.01, 0.1, 0.5, 1.5])
    assert np.allclose(cosmos.luminosity_mpc(z), FlatLambdaCDM(70, 0.3, Tcmb0=0).luminosity_distance(z).value, rtol=2e-4)
    volume = FlatLambdaCDM(70, 0.3, Tcmb0=0).comoving_volume(0.3).value
    assert cosmos.events_per_year(1.0, 1e-4, 0.3, 1.0) == pytest.approx(volume, rel=2e-3)


def test_redshifts_fill_the_volume() -> None:
    z = cosmos.draw_redshifts(np.random.default_rng(1), 200_000, 0.001, 0.2, 1.0)
    model = FlatLambdaCDM(70, 0.3, Tcmb0=0)
    assert np.mean(z < 0.1) == pytest.approx(model.comoving_volume(0.1).value / model.comoving_volume(0.2).value, rel=0.03)


def test_black_bodies_are_astropys() -> None:
    wave = np.array([4000.0, 6000.0, 9000.0])
    luminosity, temperature, mpc = 1e43, 12000.0, 200.0
    found = thermal.black_body_nanojansky(np.full(3, luminosity), np.full(3, temperature), wave, np.zeros(3), np.full(3, mpc))
    surface = 5.670374e-5 * temperature**4
    intensity = BlackBody(temperature * u.K)(wave * u.AA).to_value(u.erg / u.s / u.cm**2 / u.Hz / u.sr)
    expected = np.pi * intensity * luminosity / surface / (4 * np.pi * (mpc * u.Mpc).to_value(u.cm) ** 2) / 1e-32
    assert np.allclose(found, expected, rtol=1e-4)


def test_coordinates_are_astropys() -> None:
    rng = np.random.default_rng(2)
    lon, lat = rng.uniform(0, 360, 50), rng.uniform(-89, 89, 50)
    ra, dec = places.from_galactic(lon, lat)
    there = SkyCoord(lon * u.deg, lat * u.deg, frame="galactic").icrs
    assert SkyCoord(ra * u.deg, dec * u.deg).separation(there).arcsec.max() < 1
    ra, dec = places.from_ecliptic(np.radians(lon), np.radians(lat))
    there = SkyCoord(lon * u.deg, lat * u.deg, frame="barycentrictrueecliptic").icrs
    assert SkyCoord(ra * u.deg, dec * u.deg).separation(there).arcsec.max() < 60
    mjd = np.array([60000.0, 61234.5])
    ra, dec = places.from_ecliptic(places.sun_longitude(mjd), np.zeros(2))
    sun = get_sun(Time(mjd, format="mjd"))
    assert SkyCoord(ra * u.deg, dec * u.deg).separation(SkyCoord(sun.ra, sun.dec)).deg.max() < 0.5


def test_orbits() -> None:
    e, mean = np.array([0.0, 0.3, 0.8]), np.array([1.0, 2.0, 5.0])
    anomaly = kepler(mean, e)
    assert np.allclose(anomaly - e * np.sin(anomaly), mean)
    assert np.hypot(*earth(np.array([60000.0]))[:2])[0] == pytest.approx(0.99, abs=0.03)
    orbit = {name: np.array([value]) for name, value in {
        "a_au": 2.5, "e": 0.1, "inclination": 0.1, "node": 1.0, "argperi": 2.0, "mean_anomaly": 3.0, "epoch_mjd": 61000.0}.items()}  # fmt: skip
    period = 2.5**1.5 * 365.2569
    first, second = (apparent(orbit, np.array([61000.0 + turn * period]))[2] for turn in (0, 1))
    assert first == pytest.approx(second, rel=1e-3)
    assert 2.25 <= first[0] <= 2.75


def test_phase_function_at_its_knots() -> None:
    assert phase_dimming(np.array([0.0]), np.array([0.5]))[0] == pytest.approx(0, abs=1e-9)
    found = phase_dimming(np.array([30.0]), np.array([0.1]))[0]
    g1, g2 = 0.7527 * 0.1 + 0.06164, -0.9612 * 0.1 + 0.6270
    assert found == pytest.approx(-2.5 * np.log10(g1 * 0.33486 + g2 * 0.628842), rel=1e-4)


def test_magnification_of_a_point_lens() -> None:
    assert magnification(np.array([1.0]))[0] == pytest.approx(3 / np.sqrt(5))


def test_walks_have_unit_variance_and_their_time() -> None:
    rng = np.random.default_rng(3)
    who, mjd = np.repeat(np.arange(4000), 3), np.tile([0.0, 10.0, 60.0], 4000)
    x = walk(rng, who, mjd, np.full(4000, 20.0)).reshape(-1, 3)
    assert x.std(axis=0) == pytest.approx([1, 1, 1], abs=0.05)
    assert np.mean(x[:, 0] * x[:, 1]) == pytest.approx(np.exp(-0.5), abs=0.05)
    assert np.mean(x[:, 0] * x[:, 2]) == pytest.approx(np.exp(-3), abs=0.05)


@pytest.mark.parametrize("site", [ZTF, LSST])
def test_visits_are_at_night_and_ordered(site: object) -> None:
    plan = schedule(site, 61000, 60, 1)  # type: ignore[arg-type]
    assert len(plan.mjd) == plan.count.sum()
    field = np.arange(len(plan.count))
    who, visit = plan.visits(field)
    inside = np.diff(who) == 0
    assert (np.diff(plan.mjd[visit])[inside] >= 0).all()
    hour = (plan.mjd + plan.site.longitude_deg / 360) % 1 * 24
    assert ((hour < 5.5) | (hour > 18.5)).all()
    assert np.median(plan.depth[plan.band == plan.site.bands.index("r")]) == pytest.approx(plan.site.depth[plan.site.bands.index("r")], abs=0.35)


@pytest.mark.parametrize("origin", ["built-in", "auto"])
def test_templates_peak_at_one_in_their_box(origin: str) -> None:
    found = templates(ZTF, origin)
    r = ZTF.bands.index("r")
    for kind, table in found.tables.items():
        near = table[..., 0, 0, r, :] if kind == "salt" else table[:, 0, r]
        assert np.isfinite(table).all()
        assert (near.max(axis=-1) > 0.4).all()
        assert (near.max(axis=-1) < 1.8).all()
