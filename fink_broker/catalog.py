"""Local catalogues: imported once as HEALPix-sorted Parquet, searched without a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fink_broker import sky
from fink_broker.errors import ConfigError, NotFound

if TYPE_CHECKING:
    import pyarrow as pa

RA_NAMES = ("ra", "raj2000", "r.a.", "radeg", "ra_deg", "_raj2000", "ra_icrs", "raicrs", "alpha", "ra2000")
DEC_NAMES = (
    "dec",
    "dej2000",
    "decj2000",
    "dec.",
    "dedeg",
    "decdeg",
    "dec_deg",
    "_dej2000",
    "de_icrs",
    "deicrs",
    "delta",
    "decl",
    "dec2000",
)
NAME_NAMES = ("name", "source_name", "source", "id", "designation", "main_id", "object")
CLASS_NAMES = ("class", "vartype", "type", "otype", "kind", "sptype")
COARSE = 12  # order of the pixels by which entries are looked up; 51 arcseconds wide
WIDEST_ARCSEC = 3600.0


@dataclass
class Catalog:
    """Positions (sorted by pixel), names and classes of one catalogue."""

    name: str
    radius_arcsec: float
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    pixel: NDArray[np.int64]  # order 29, sorted
    _names: Any = field(repr=False, default=None)  # Arrow arrays
    _classes: Any = field(repr=False, default=None)

    @staticmethod
    def from_csv(file: Path, name: str, radius_arcsec: float) -> Catalog:
        """A small catalogue with columns name, ra, dec [deg], class."""
        table = _sorted(_normal(_read(file), {}))
        return Catalog._of(name, radius_arcsec, table)

    @staticmethod
    def open(file: Path) -> Catalog:
        """An imported catalogue; positions are kept in memory (24 bytes an entry), names stay in the file's own coding."""
        import pyarrow.parquet as pq

        about = json.loads((pq.read_schema(file).metadata or {})[b"fink"])
        return Catalog._of(about["name"], about["radius_arcsec"], pq.read_table(file, memory_map=True, read_dictionary=["class"]))

    @staticmethod
    def _of(name: str, radius: float, table: pa.Table) -> Catalog:
        ra, dec, pixel = (table.column(column).to_numpy() for column in ("ra", "dec", "healpix"))
        return Catalog(name, radius, ra, dec, pixel, table.column("name").combine_chunks(), table.column("class").combine_chunks())

    def nearest(self, ra: Any, dec: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Rows of positions [deg] that have an entry within the radius, that entry, and its distance [arcsec]."""
        ra, dec = np.asarray(ra, float), np.asarray(dec, float)
        usable = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        if not len(self.pixel) or not len(usable):
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        rows, low, high = self._candidates(usable, ra, dec)
        counts = high - low
        rows, starts = np.repeat(rows, counts), np.repeat(low, counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        entries = starts + within
        apart = sky.separation_arcsec(ra[rows], dec[rows], self.ra[entries], self.dec[entries])
        good = apart <= self.radius_arcsec
        rows, entries, apart = rows[good], entries[good], apart[good]
        order = np.lexsort((apart, rows))
        first = np.append(True, np.diff(rows[order]) > 0) if len(order) else np.empty(0, bool)
        chosen = order[first]
        return rows[chosen], entries[chosen], apart[chosen]

    def _candidates(self, usable: NDArray[np.int64], ra: Any, dec: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For each position, spans of entries in the coarse pixel around it and in that pixel's neighbours."""
        order = int(np.clip(np.floor(np.log2(58.6 * 3600 / max(self.radius_arcsec, 1.0))), 0, COARSE))
        from cdshealpix.nested import neighbours

        around = neighbours(sky.healpix(ra[usable], dec[usable], order).astype(np.uint64), order).astype(np.int64)
        rows = np.repeat(usable, around.shape[1])
        pixels = around.ravel()
        rows, pixels = rows[pixels >= 0], pixels[pixels >= 0]
        shift = 2 * (sky.ORDER - order)
        low = np.searchsorted(self.pixel, pixels << shift)
        high = np.searchsorted(self.pixel, (pixels + 1) << shift)
        some = high > low
        return rows[some], low[some], high[some]

    def names(self, entries: NDArray[np.int64]) -> list[str | None]:
        """Names of entries."""
        found: list[str | None] = self._names.take(entries).to_pylist()
        return found

    def classes(self, entries: NDArray[np.int64]) -> list[str | None]:
        """Classes of entries."""
        found: list[str | None] = self._classes.take(entries).to_pylist()
        return found


def open_catalogs(folder: Path, names: Sequence[str] = ()) -> list[Catalog]:
    """The imported catalogues, all or those named; NotFound for a name that is not there."""
    files = {file.stem: file for file in sorted(folder.glob("*.parquet"))}
    if missing := [name for name in names if name not in files]:
        raise NotFound(f"no catalogue named '{missing[0]}' under {folder}; there are {', '.join(files) or 'none'}; import it: fink catalog import FILE")
    return [Catalog.open(files[name]) for name in (names or files)]


def import_catalog(file: Path, folder: Path, name: str | None = None, radius_arcsec: float = 1.5, columns: dict[str, str] | None = None) -> tuple[Path, int]:
    """Import a CSV, FITS, VOTable or Parquet file; `columns` names its ra, dec, name, class where they cannot be guessed.

    Returns the file made and its number of entries. Entries without a position are left out.
    """
    import pyarrow.parquet as pq

    name = name or file.name.split(".")[0].lower()
    if not 0 < radius_arcsec <= WIDEST_ARCSEC:
        raise ConfigError(f"radius is {radius_arcsec} arcsec; expected more than 0 and at most {WIDEST_ARCSEC:g}")
    table = _sorted(_normal(_read(file), columns or {}))
    about = json.dumps({"name": name, "radius_arcsec": radius_arcsec, "source": file.name, "rows": table.num_rows})
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.parquet"
    part = folder / f".{name}.part"
    pq.write_table(table.replace_schema_metadata({"fink": about}), part, row_group_size=100_000, compression="zstd")
    part.rename(target)
    return target, table.num_rows


def _read(file: Path) -> Any:
    import pandas as pd

    if not file.is_file():
        raise ConfigError(f"no file {file}; give a CSV, FITS, VOTable or Parquet file")
    kind = "".join(file.suffixes[-2:]).lower() if file.suffix == ".gz" else file.suffix.lower()
    if kind in (".csv", ".csv.gz"):
        return pd.read_csv(file, skipinitialspace=True)
    if kind == ".parquet":
        return pd.read_parquet(file)
    if kind in (".fits", ".fit", ".fits.gz", ".xml", ".vot", ".votable"):
        from astropy.table import Table

        table = Table.read(file, format="fits" if "fit" in kind else "votable")
        flat = [column for column in table.colnames if table[column].ndim == 1]
        frame = table[flat].to_pandas()
        texts = frame.select_dtypes(object)
        return frame.assign(**{c: texts[c].map(lambda v: v.decode().strip() if isinstance(v, bytes) else v) for c in texts})
    raise ConfigError(f"{file.name} is no catalogue format; expected .csv, .fits, .vot, .xml or .parquet")


def _normal(frame: Any, columns: dict[str, str]) -> Any:
    import pandas as pd

    frame.columns = [str(column).strip() for column in frame.columns]
    found = {
        what: columns.get(what) or next((c for n in names for c in frame.columns if c.lower() == n), None)
        for what, names in (("ra", RA_NAMES), ("dec", DEC_NAMES), ("name", NAME_NAMES), ("class", CLASS_NAMES))
    }
    for what, column in found.items():
        if (column is None and what in ("ra", "dec")) or (column is not None and column not in frame.columns):
            raise ConfigError(f"no column for {what}; the file has {', '.join(map(str, frame.columns))}; name it with --{what} COLUMN")
    ra, dec = _degrees(frame[found["ra"]], hours=True), _degrees(frame[found["dec"]], hours=False)
    empty = pd.Series([None] * len(frame), dtype=object)
    text = {w: frame[found[w]].astype(object).map(lambda v: None if pd.isna(v) else str(v).strip()) if found[w] else empty for w in ("name", "class")}
    made = pd.DataFrame({"ra": ra.to_numpy(float), "dec": dec.to_numpy(float), "name": text["name"].to_numpy(), "class": text["class"].to_numpy()})
    return made[np.isfinite(made["ra"]) & made["dec"].between(-90, 90)].reset_index(drop=True)


def _degrees(column: Any, hours: bool) -> Any:
    """Degrees of a column that holds degrees or sexagesimal text (hours for right ascension)."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().sum() >= column.notna().sum() / 2:
        return numbers
    from astropy.coordinates import Angle

    return pd.Series(Angle(column.astype(str).tolist(), unit="hourangle" if hours else "deg").deg, index=column.index)


def _sorted(frame: Any) -> pa.Table:
    import pyarrow as pa

    pixel = sky.healpix(frame["ra"], frame["dec"]) if len(frame) else np.empty(0, np.int64)
    order = np.argsort(pixel, kind="stable")
    frame = frame.iloc[order]
    schema = pa.schema([("ra", pa.float64()), ("dec", pa.float64()), ("name", pa.string()), ("class", pa.string()), ("healpix", pa.int64())])
    return pa.Table.from_pandas(frame.assign(healpix=pixel[order]), schema=schema, preserve_index=False)
