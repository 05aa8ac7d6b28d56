"""Each module against an independent calculation or a value worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from scipy import stats

from fink_broker.catalog import Catalog, import_catalog
from fink_broker.errors import ConfigError, NotFound
from fink_broker.science import Registry
from fink_broker.settings import data_folder
from tests.modules.curves import alerts, point

REGISTRY = Registry.load(data_folder("science_modules"))


def run(name: str, frame: pd.DataFrame, **params: object) -> pd.DataFrame:
    module = REGISTRY.get(name)(**params)
    module.setup()
    return module.process(frame[list(module.inputs)])


def test_features_are_scipys_and_numpys() -> None:
    rng = np.random.default_rng(21)
    mags = rng.uniform(17, 19, 30)
    curve = [point(60000 + i + rng.uniform(0, 0.5), mag, "g") for i, mag in enumerate(mags)]
    out = run("features", alerts(curve)).iloc[0]
    flux, err = (np.array([p[name] for p in curve]) for name in ("flux", "flux_err"))
    assert out["amplitude_g"] == pytest.approx((flux.max() - flux.min()) / 2, rel=1e-6)
    assert out["standard_deviation_g"] == pytest.approx(flux.std(ddof=1), rel=1e-6)
    assert out["skew_g"] == pytest.approx(stats.skew(flux, bias=False), rel=1e-5)
    assert out["kurtosis_g"] == pytest.approx(stats.kurtosis(flux, bias=False), rel=1e-5)
    assert out["median_absolute_deviation_g"] == pytest.approx(stats.median_abs_deviation(flux), rel=1e-6)
    assert out["weighted_mean_g"] == pytest.approx(np.average(flux, weights=1 / err**2), rel=1e-6)
    assert np.isnan(out["amplitude_r"])


def test_rates_are_differences_of_the_last_two_detections() -> None:
    curve = [point(60000, 19.0, "r", 0.03), point(60001, 18.9, "g"), point(60002, 18.4, "r", 0.04), point(60004, 18.0, "r", 0.03)]
    out = run("magnitude_rate", alerts(curve)).iloc[0]
    assert out["rate"] == pytest.approx(-0.2)
    assert out["rate_err"] == pytest.approx(np.hypot(0.03, 0.04) / 2)
    assert out["rate_r"] == pytest.approx(-0.2)
    assert np.isnan(out["rate_g"])
    assert out["age_days"] == 4
    again = run("magnitude_rate", alerts(curve)).iloc[0]
    assert again.equals(run("magnitude_rate", alerts(curve)).iloc[0])


def test_a_limit_before_the_detection_bounds_the_rate() -> None:
    out = run("magnitude_rate", alerts([point(60000, kind="limit", limit=20.5), point(60001, 18.5)])).iloc[0]
    assert out["limit_rate"] == pytest.approx(-2.0)
    assert np.isnan(out["rate"])
    fainter = run("magnitude_rate", alerts([point(60000, kind="limit", limit=18.0), point(60001, 18.5)])).iloc[0]
    assert np.isnan(fainter["limit_rate"])


def test_rates_of_opposite_sign_are_not_mixed() -> None:
    assert np.isnan(run("magnitude_rate", alerts([point(60000, 18, sign=-1), point(60001, 18)])).iloc[0]["rate"])


def test_solar_system_objects() -> None:
    one = [point(60000)]
    frame = alerts(
        one, one, one, one,
        ss_object_id=["1234", "1234", None, None], ss_distance_arcsec=[1.0, 12.0, np.nan, np.nan], n_detections=[1, 1, 1, 5],
        neighbour_distance_arcsec=[8.0, 0.5, 8.0, 8.0], neighbour_star_score=[0.1, 0.9, 0.1, 0.1],
    )  # fmt: skip
    out = run("solar_system", frame)
    assert out["known"].tolist() == [True, False, False, False]
    assert out["candidate"].tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("curve", "near", "score", "ss", "passes"),
    [
        ([point(60000.0), point(60000.1)], 3.0, 0.9, None, True),
        ([point(60000.1), point(60000.0)], 3.0, 0.9, None, True),  # exactly two detections, times not in order
        ([point(60000.0), point(60000.01)], 3.0, 0.9, None, False),  # 14 minutes apart
        ([point(60000.0)], 3.0, 0.9, None, False),  # no history
        ([point(60000.0), point(60001.0)], 1.0, 0.9, None, False),  # star
        ([point(60000.0), point(60001.0)], 1.0, 0.3, None, True),  # galaxy
        ([point(60000.0), point(60001.0)], np.nan, np.nan, None, True),  # nothing near
        ([point(60000.0), point(60001.0)], 3.0, 0.9, 2.0, False),  # asteroid
        ([point(60000.0), point(60001.0)], 3.0, 0.9, 9.0, True),
        ([point(60000.0, sign=-1), point(60001.0)], 3.0, 0.9, None, False),  # one of them negative
        ([point(60000.0), point(60001.0, sign=-1)], 3.0, 0.9, None, False),
    ],
)
def test_extragalactic_cut(curve: list[dict[str, object]], near: float, score: float, ss: float | None, passes: bool) -> None:
    frame = alerts(curve, neighbour_distance_arcsec=[near], neighbour_star_score=[score], ss_object_id=["1" if ss else None], ss_distance_arcsec=[ss or np.nan])
    assert run("extragalactic", frame)["passes"].tolist() == [passes]


@pytest.mark.parametrize(
    ("changed", "passes"),
    [
        ({}, True),
        ({"rb": 0.6}, False),
        ({"nbad": 1}, False),
        ({"fwhm": 5.1}, False),
        ({"elong": 1.3}, False),
        ({"magdiff": -0.2}, False),
        ({"rb": np.nan}, None),
    ],
)
def test_purity(changed: dict[str, float], passes: bool | None) -> None:
    values = {"rb": 0.65, "nbad": 0, "fwhm": 5.0, "elong": 1.2, "magdiff": 0.1, **changed}
    frame = pd.DataFrame({f"packet.candidate.{name}": [value] for name, value in values.items()})
    assert run("purity", frame)["passes"].tolist() == [passes]


def test_the_nearest_entry_is_astropys() -> None:
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, 3000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    folder = Path(__file__).parent
    table = pd.DataFrame({"ra": ra, "dec": dec, "name": [f"s{i}" for i in range(3000)], "class": "star"})
    near = SkyCoord(ra[:500], dec[:500], unit="deg").directional_offset_by(rng.uniform(0, 360, 500) * u.deg, rng.uniform(0, 90, 500) * u.arcsec)
    from fink_broker.catalog import _normal, _sorted

    for radius in (1.5, 60.0, 600.0):
        catalog = Catalog._of("stars", radius, _sorted(_normal(table.copy(), {})))
        rows, entries, apart = catalog.nearest(near.ra.deg, near.dec.deg)
        there = SkyCoord(catalog.ra, catalog.dec, unit="deg")
        index, distance, _ = near.match_to_catalog_sky(there)
        expected = np.flatnonzero(distance.arcsec <= radius)
        assert rows.tolist() == expected.tolist()
        assert entries.tolist() == index[expected].tolist()
        assert np.allclose(apart, distance.arcsec[expected], atol=1e-6)
    assert folder.is_dir()


def test_catalogues_are_imported_and_matched(tmp_path: Path) -> None:
    (tmp_path / "three.csv").write_text(" R.A. , Dec ,Source_name, Class\n10.0,20.0,one,BLL\n10.001,20.0,two,FSRQ\n,1,three,\n")
    made, number = import_catalog(tmp_path / "three.csv", tmp_path / "cat", radius_arcsec=5)
    assert (made.name, number) == ("three.parquet", 2)
    frame = pd.DataFrame({"ra": [10.0009, 10.684708, 100.0], "dec": [20.0, 41.268751, 0.0]})
    out = run("xmatch", frame, folder=str(tmp_path / "cat"))
    assert out["name"].tolist() == ["two", "M31", None]
    assert out["class"].tolist() == ["FSRQ", "Galaxy", None]
    assert out["matches"][0] == ["three:FSRQ:two:0.34"]
    assert out["matches"][2] == []


def test_sexagesimal_fits_and_votable(tmp_path: Path) -> None:
    from astropy.table import Table

    table = Table({"RAJ2000": ["00:42:44.33", "01:33:50.9"], "DEJ2000": ["+41:16:07.5", "+30:39:36.6"], "CLASS": ["galaxy", "galaxy"]})
    table.write(tmp_path / "two.fits")
    table.write(tmp_path / "two.vot", format="votable")
    for file in ("two.fits", "two.vot"):
        import_catalog(tmp_path / file, tmp_path, file.replace(".", "_"), 3)
        catalog = Catalog.open(tmp_path / f"{file.replace('.', '_')}.parquet")
        assert catalog.nearest([10.68471], [41.26875])[2][0] < 0.1


def test_errors_of_catalogues_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ConfigError, match="no column for ra; the file has x, y; name it with --ra COLUMN"):
        import_catalog(tmp_path / "bad.csv", tmp_path)
    with pytest.raises(NotFound, match="no catalogue named 'gaia'"):
        run("xmatch", pd.DataFrame({"ra": [1.0], "dec": [1.0]}), folder=str(tmp_path), catalogs=["gaia"])


@pytest.mark.parametrize(("file", "rows"), [("gcvs.parquet", 59099), ("spicy.parquet", 117446), ("3hsp.csv", 2013), ("table-4LAC-DR3-h.fits", 3407)])
def test_real_catalogues(shared: Path, tmp_path: Path, file: str, rows: int) -> None:
    _, number = import_catalog(shared / "catalogs" / file, tmp_path, "real", 1.5)
    assert number == rows
