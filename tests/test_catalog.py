"""Catalogues: import of every format, exact matches everywhere on the sky, bounded memory."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from typer.testing import CliRunner

from fink_broker import catalog as catalogs
from fink_broker.catalog import Catalog, open_catalogs
from fink_broker.catalog_import import import_catalog, read_table
from fink_broker.cli.catalog import app
from fink_broker.errors import ConfigError, NotFound
from fink_broker.settings import load


def sky_points(number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Uniform on the sphere, a tenth of them near the poles."""
    ra, dec = rng.uniform(0, 360, number), np.degrees(np.arcsin(rng.uniform(-1, 1, number)))
    polar = rng.random(number) < 0.1
    return ra, np.where(polar, np.sign(dec) * (90 - rng.exponential(0.3, number)), dec)


def written(folder: Path, number: int, rng: np.random.Generator) -> Path:
    ra, dec = sky_points(number, rng)
    file = folder / "stars.parquet"
    pd.DataFrame({"ra": ra, "dec": dec, "name": [f"s{i}" for i in range(number)], "class": "star"}).to_parquet(file)
    return file


@pytest.mark.parametrize("radius", [1.5, 102.9, 103.1, 412.0, 824.0, 3290.0])  # some just under half a pixel: the hardest
def test_the_nearest_entry_is_astropys(tmp_path: Path, radius: float, monkeypatch: pytest.MonkeyPatch) -> None:
    print("seed 5")
    rng = np.random.default_rng(5)
    monkeypatch.setattr("fink_broker.catalog_import.GROUP_ROWS", 7_000)  # several row groups
    file, _ = import_catalog(written(tmp_path, 60_000, rng), tmp_path / "cat", "stars", radius)
    catalog, table = Catalog.open(file), pd.read_parquet(file)
    ra, dec = sky_points(20_000, rng)
    ra[:2000] = table["ra"][:2000]
    dec[:2000] = np.clip(table["dec"][:2000] + rng.uniform(-1.3, 1.3, 2000) * radius / 3600, -90, 90)
    rows, entries, apart = catalog.nearest(ra, dec)
    index, distance, _ = SkyCoord(ra, dec, unit="deg").match_to_catalog_sky(SkyCoord(table["ra"], table["dec"], unit="deg"))
    expected = np.flatnonzero(distance.arcsec <= radius)
    assert len(expected) > 500
    assert rows.tolist() == expected.tolist()
    assert entries.tolist() == index[expected].tolist()
    assert np.allclose(apart, distance.arcsec[expected], atol=1e-6)
    assert catalog.names(entries) == table["name"].iloc[entries].tolist()


def test_memory_is_bounded_by_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    monkeypatch.setattr("fink_broker.catalog_import.GROUP_ROWS", 100)
    file, _ = import_catalog(written(tmp_path, 20_000, rng), tmp_path / "cat", "stars", 60)
    catalogs._read_positions.cache_clear()
    catalog = Catalog.open(file)
    assert catalogs._read_positions.cache_info().currsize == 0
    catalog.nearest([10.0], [20.0])
    assert catalogs._read_positions.cache_info().currsize <= 9
    catalog.nearest(*sky_points(5000, rng))
    assert catalogs._read_positions.cache_info().currsize == catalogs.GROUPS_KEPT


def test_positions_that_are_not_known_match_nothing(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("ra,dec,name\n0.0001,89.9999,polar\n")
    catalog = Catalog.from_csv(tmp_path / "one.csv", "one", 5)
    rows, _, apart = catalog.nearest([np.nan, 180.0, 10.0], [0.0, 89.9999, np.nan])
    assert rows.tolist() == [1]
    assert apart[0] == pytest.approx(0.72, abs=0.01)
    (tmp_path / "none.csv").write_text("ra,dec\n")
    assert len(Catalog.from_csv(tmp_path / "none.csv", "none", 5).nearest([1.0], [1.0])[0]) == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", " R.A. , Dec ,Source_name, Class\n10.5,20.25,one,BLL\n,1,two,\n"),
        ("b.tsv", "# made by hand\nRAJ2000\tDEJ2000\tName\ttype\n10.5\t20.25\tone\tBLL\n"),
        ("c.csv", "name|_RA|_DE|otype\none|10.5|20.25|BLL\n"),
        ("d.csv", "name;ra;dec;class\none;00:42:00.0;+20:15:00;BLL\n"),
        ("e.csv", 'name,ra,dec,class\none,00 42 00.0,"+20 15 00",BLL\nblank,,,\n'),
        ("f.csv", "right_ascension,declination,id,vartype\n10.5,20.25,one,BLL\n"),
    ],
)
def test_text_tables(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (row,) = read_table(tmp_path / name).to_pylist()
    assert (row["ra"], row["dec"], row["name"], row["class"]) == (pytest.approx(10.5), pytest.approx(20.25), "one", "BLL")
    with gzip.open(tmp_path / f"{name}.gz", "wt") as file:
        file.write(text)
    assert read_table(tmp_path / f"{name}.gz").num_rows == 1


def test_fits_and_votable_with_sexagesimal_text_and_units(tmp_path: Path) -> None:
    text = Table({"RAJ2000": ["00:42:44.33", "01:33:50.9"], "DEJ2000": ["+41:16:07.5", "+30:39:36.6"], "CLASS": ["galaxy", "galaxy"]})
    angles = Table({"ra": [0.186483, 0.409491] * u.rad, "dec": [0.720276, 0.535123] * u.rad, "name": ["M31", "M33"]})
    hours = Table({"ra": [0.712314, 1.564139] * u.hourangle, "dec": [41.26875, 30.6602] * u.deg, "name": ["M31", "M33"]})
    for number, (table, kinds) in enumerate(((text, ("fits", "vot")), (angles, ("fits", "vot")), (hours, ("vot",)))):
        for kind in kinds:
            table.write(tmp_path / f"{number}.{kind}", format="votable" if kind == "vot" else kind)
            catalog = Catalog.of("two", 5.0, read_table(tmp_path / f"{number}.{kind}"))
            assert len(catalog.nearest([10.68471], [41.26875])[0]) == 1


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("bad.csv", "x,y\n1,2\n", {}, "no column for ra; bad.csv has x, y; name it with --ra COLUMN"),
        ("bad.csv", "ra,dec\n1,2\n", {"columns": {"class": "kind"}}, "no column for class; .* name it with --class-column COLUMN"),
        ("bad.csv", "ra,dec\nhere,2\n", {}, "column ra has 'here', which is no angle; expected degrees or sexagesimal text"),
        ("bad.csv", "# nothing\n", {}, "bad.csv has no header line"),
        ("bad.doc", "ra,dec\n", {}, "bad.doc is no catalogue format; expected .csv"),
        ("bad.fits", "ra,dec\n", {}, "bad.fits cannot be read as .fits"),
        ("bad.csv", "ra,dec\n1,2\n", {"radius_arcsec": 0}, "radius is 0 arcsec; expected more than 0 and at most 3600"),
        ("bad.csv", "ra,dec\n1,2\n", {"name": "../x"}, r"'\.\./x' cannot name a catalogue"),
    ],
)
def test_errors_of_an_import_say_what_to_do(tmp_path: Path, name: str, text: str, options: dict[str, object], message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        import_catalog(tmp_path / name, tmp_path / "cat", **options)
    assert not list(tmp_path.glob("cat/*"))


def test_errors_of_a_folder_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file .*gone.csv; give a CSV, FITS, VOTable or Parquet file"):
        import_catalog(tmp_path / "gone.csv", tmp_path)
    with pytest.raises(NotFound, match="no catalogue named 'gaia' under .*; there are none; import it: fink catalog import FILE"):
        open_catalogs(tmp_path, ["gaia"])
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ConfigError, match=r"other.parquet is no imported catalogue; take it away, or make it"):
        open_catalogs(tmp_path)


@pytest.mark.parametrize(("file", "rows"), [("gcvs.parquet", 59099), ("spicy.parquet", 117446), ("3hsp.csv", 2013), ("table-4LAC-DR3-h.fits", 3407)])
def test_real_catalogues(shared: Path, tmp_path: Path, file: str, rows: int) -> None:
    made, number = import_catalog(shared / "catalogs" / file, tmp_path, "real", 1.5)
    assert number == rows
    assert pd.read_parquet(made)["healpix"].is_monotonic_increasing


def test_commands(tmp_path: Path) -> None:
    settings = load(options={"broker": {"home": str(tmp_path)}})
    (tmp_path / "Two Stars.csv").write_text("ra,dec,name,class\n10.0,20.0,one,RR\n10.1,20.0,two,RR\n")

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, list(words), obj=settings, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "none under" in said("list")
    assert "2 entries in" in said("import", str(tmp_path / "Two Stars.csv"), "--radius", "3", "--epoch", "2000")
    assert "two_stars                          2 entries within 3 arcsec, from Two Stars.csv" in said("list")
    shown = said("show", "two_stars")
    assert "RR                       2" in shown
    assert "epoch           2000.0" in shown
    assert "one (RR), 1.80 arcsec away" in said("show", "two_stars", "--at", "10.0", "20.0005")
    assert "nothing within the radius" in said("show", "two_stars", "--at", "11", "20")
