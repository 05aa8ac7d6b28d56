"""Import of catalogues: CSV, FITS, VOTable or Parquet, as astronomers publish them, to HEALPix-sorted Parquet."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fink_broker import sky
from fink_broker.catalog import GROUP_ROWS
from fink_broker.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# How catalogues call these columns, compared without regard to case; the first that a file has is taken.
NAMES = {
    "ra": ("ra", "raj2000", "r.a.", "ra.", "radeg", "ra_deg", "radegrees", "_raj2000", "ra_icrs", "raicrs", "_ra", "alpha", "ra2000", "right_ascension"),
    "dec": ("dec", "dej2000", "decj2000", "dec.", "dedeg", "decdeg", "dec_deg", "decdegrees", "_dej2000", "de_icrs", "deicrs", "dec_icrs", "_de", "_dec",
            "delta", "decl", "de", "dec2000", "declination"),
    "name": ("name", "source_name", "source", "id", "designation", "main_id", "object", "objname", "source_id", "gcvs"),
    "class": ("class", "vartype", "type", "otype", "main_type", "objtype", "classification", "kind", "sptype"),
}  # fmt: skip
WIDEST_ARCSEC = 3600.0
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_TABLES = (".fits", ".fit", ".xml", ".vot", ".votable")


def import_catalog(
    file: Path,
    folder: Path,
    name: str | None = None,
    radius_arcsec: float = 1.5,
    columns: dict[str, str] | None = None,
    epoch: float | None = None,
) -> tuple[Path, int]:
    """Import a file; `columns` names its ra, dec, name, class where they cannot be guessed; `epoch` is of its positions [yr].

    Returns the file made and its number of entries. Entries without a position are left out.
    """
    import pyarrow.parquet as pq

    name = name or re.sub(r"[^a-z0-9_-]+", "_", file.name.split(".")[0].lower()).strip("_")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"'{name}' cannot name a catalogue; use a-z, 0-9, _ and -: --name NAME")
    if not 0 < radius_arcsec <= WIDEST_ARCSEC:
        raise ConfigError(f"radius is {radius_arcsec} arcsec; expected more than 0 and at most {WIDEST_ARCSEC:g}")
    table = read_table(file, columns)
    about = {
        "name": name,
        "radius_arcsec": radius_arcsec,
        "epoch": epoch,
        "source": file.name,
        "rows": table.num_rows,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / f"{name}.parquet", folder / f".{name}.part"
    table = table.replace_schema_metadata({"fink": json.dumps(about)})
    pq.write_table(table, part, row_group_size=GROUP_ROWS, compression="zstd", use_dictionary=["class"])
    part.rename(target)
    return target, table.num_rows


def read_table(file: Path, columns: dict[str, str] | None = None) -> pa.Table:
    """Entries of a file: ra, dec [deg], name, class, healpix (order 29, nested), sorted by the last."""
    import pyarrow as pa

    frame = _normal(_read(file), columns or {}, file.name)
    pixel = sky.healpix(frame["ra"], frame["dec"]) if len(frame) else np.empty(0, np.int64)
    order = np.argsort(pixel, kind="stable")
    schema = pa.schema([("ra", pa.float64()), ("dec", pa.float64()), ("name", pa.string()), ("class", pa.string()), ("healpix", pa.int64())])
    return pa.Table.from_pandas(frame.iloc[order].assign(healpix=pixel[order]), schema=schema, preserve_index=False)


def _read(file: Path) -> pd.DataFrame:
    import pandas as pd

    if not file.is_file():
        raise ConfigError(f"no file {file}; give a CSV, FITS, VOTable or Parquet file")
    kind = Path(file.name.removesuffix(".gz").lower()).suffix
    try:
        if kind in (".csv", ".tsv", ".txt"):
            return _read_text(file)
        if kind == ".parquet":
            return pd.read_parquet(file)
        if kind in _TABLES:
            return _read_astropy(file, "fits" if kind.startswith(".fit") else "votable")
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{file.name} cannot be read as {kind}: {' '.join(str(error).split())[:200]}; is it damaged, or of another format?") from error
    raise ConfigError(f"{file.name} is no catalogue format; expected .csv, .tsv, .fits, .vot, .xml or .parquet, or one of them with .gz")


def _read_text(file: Path) -> pd.DataFrame:
    """Columns separated by whichever of , ; | or tab the header has most of; lines before it that start with # are skipped."""
    import pandas as pd

    opened = gzip.open if file.suffix == ".gz" else open
    skipped = 0
    with opened(file, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.startswith("#") and line.strip():
                break
            skipped += 1
        else:
            raise ConfigError(f"{file.name} has no header line; expected names of columns in the first line")
    separator = max(",;\t|", key=line.count)
    return pd.read_csv(file, sep=separator, skiprows=skipped, skipinitialspace=True, low_memory=False)


def _read_astropy(file: Path, kind: str) -> pd.DataFrame:
    """The first table of the file, angles with a unit in degrees."""
    from astropy import units as u
    from astropy.table import Table

    table = Table.read(file, format=kind, hdu=1) if kind == "fits" else Table.read(file, format=kind)
    for column in table.columns.values():
        if column.dtype.kind == "f" and column.unit in (u.hourangle, u.rad, u.arcsec):
            column[:] = column.quantity.to_value(u.deg) if hasattr(column, "quantity") else (column.data * column.unit).to_value(u.deg)
    frame: pd.DataFrame = table[[column for column in table.colnames if table[column].ndim == 1]].to_pandas()
    texts = frame.select_dtypes(object)
    for name in texts.columns:
        frame[name] = texts[name].map(lambda value: value.decode().strip() if isinstance(value, bytes) else value)
    return frame


def _normal(frame: pd.DataFrame, columns: dict[str, str], file: str) -> pd.DataFrame:
    """Columns ra, dec, name, class; only rows with a position on the sky."""
    import pandas as pd

    frame.columns = pd.Index([str(column).strip() for column in frame.columns])
    found = {what: columns.get(what) or next((c for name in names for c in frame.columns if c.lower() == name), None) for what, names in NAMES.items()}
    for what, column in found.items():
        if (column is None and what in ("ra", "dec")) or (column is not None and column not in frame.columns):
            option = what if what in ("ra", "dec") else f"{what}-column"
            raise ConfigError(f"no column for {what}; {file} has {', '.join(map(str, frame.columns))}; name it with --{option} COLUMN")
    ra, dec = _degrees(frame[found["ra"]], True), _degrees(frame[found["dec"]], False)
    blank = pd.Series([None] * len(frame), dtype=object)
    text = {w: _text(frame[found[w]]) if found[w] else blank for w in ("name", "class")}
    made = pd.DataFrame({"ra": ra, "dec": dec, "name": text["name"].to_numpy(), "class": text["class"].to_numpy()})
    return made[made["ra"].between(-180, 360) & made["dec"].between(-90, 90)].reset_index(drop=True)


def _text(column: pd.Series) -> pd.Series:
    import pandas as pd

    return column.astype(object).map(lambda value: None if pd.isna(value) else str(value).strip() or None)


def _degrees(column: pd.Series, hours: bool) -> Any:
    """Degrees of a column that holds degrees, or sexagesimal text (hours for right ascension); NaN where empty."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    texts = column.astype(object).map(lambda value: "" if pd.isna(value) else str(value).strip())
    left = np.flatnonzero((texts != "").to_numpy() & np.isnan(numbers) & (texts.str.lower() != "nan").to_numpy())
    if len(left):
        from astropy.coordinates import Angle

        try:
            numbers[left] = Angle(texts.iloc[left].tolist(), unit="hourangle" if hours else "deg").deg
        except (ValueError, TypeError) as error:
            raise ConfigError(f"column {column.name} has '{texts.iloc[left[0]]}', which is no angle; expected degrees or sexagesimal text") from error
    return numbers
