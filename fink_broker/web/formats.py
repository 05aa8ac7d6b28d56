"""Rows as json, csv, parquet or votable."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any, Literal, get_args

from fastapi import Response

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["json", "csv", "parquet", "votable"]
FORMATS: tuple[Format, ...] = get_args(Format)
Row = dict[str, Any]
MEDIA = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "votable": "application/x-votable+xml",
}
SUFFIX = {"csv": "csv", "parquet": "parquet", "votable": "vot"}
UNITS = {
    "ra": "deg", "dec": "deg", "mjd": "d", "first_mjd": "d", "flux": "nJy", "flux_err": "nJy", "mag": "mag", "mag_err": "mag", "limit_mag": "mag",
    "separation_arcsec": "arcsec", "ss_distance_arcsec": "arcsec", "neighbour_distance_arcsec": "arcsec", "template_flux": "nJy",
}  # fmt: skip
UCDS = {"alert_id": "meta.id", "object_id": "meta.id;meta.main", "ra": "pos.eq.ra;meta.main", "dec": "pos.eq.dec;meta.main", "mjd": "time.epoch"}


def answer(rows: list[Row], kind: Format, columns: str | None = None, name: str = "fink") -> Response:
    """The rows in a format; `columns` is a comma list, dotted into module results; `name` is for the file."""
    if columns:
        names = [part.strip() for part in columns.split(",") if part.strip()]
        rows = [{name: dig(row, name) for name in names} for row in rows]
    if kind == "json":
        return Response(json.dumps(rows), media_type=MEDIA[kind])
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", name)
    made = {"csv": _csv, "parquet": _parquet, "votable": _votable}[kind](rows)
    return Response(made, media_type=MEDIA[kind], headers={"Content-Disposition": f'attachment; filename="{safe}.{SUFFIX[kind]}"'})


def _columns(rows: list[Row]) -> dict[str, list[Any]]:
    """Columns in the order in which rows bring them."""
    flats = [flat(row) for row in rows]
    names = dict.fromkeys(name for row in flats for name in row)
    return {name: [row.get(name) for row in flats] for name in names}


def _table(rows: list[Row]) -> pa.Table:
    """As Arrow: whole numbers with gaps stay whole; a column without any value is text."""
    import pyarrow as pa

    arrays = {name: pa.array(values) for name, values in _columns(rows).items()}
    return pa.table({name: array.cast(pa.string()) if pa.types.is_null(array.type) else array for name, array in arrays.items()})


def _csv(rows: list[Row]) -> bytes:
    columns, stream = _columns(rows), io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue().encode()


def _parquet(rows: list[Row]) -> bytes:
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(_table(rows), stream, compression="zstd")
    return stream.getvalue()


def _votable(rows: list[Row]) -> bytes:
    from astropy.io.votable import from_table
    from astropy.table import MaskedColumn, Table

    table, source = Table(), _table(rows)
    empty = {"string": "", "bool": False, "int64": 0, "double": 0.0}
    for name in source.column_names:
        column = source.column(name)
        mask, filled = column.is_null().to_numpy(), column.fill_null(empty[str(column.type)])
        values = [str(value) for value in filled.to_pylist()] if str(column.type) == "string" else filled.to_numpy()
        table[name] = MaskedColumn(values, mask=mask, unit=UNITS.get(name))
    votable, stream = from_table(table), io.BytesIO()
    for field in votable.get_first_table().fields:
        field.ucd = UCDS.get(field.name)
    votable.to_xml(stream)
    return stream.getvalue()


def flat(row: Row, prefix: str = "") -> Row:
    """A row with structs drawn out to dotted names and lists as JSON text."""
    out: Row = {}
    for key, value in row.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = json.dumps(value) if isinstance(value, list) else value
    return out


def dig(row: Row, path: str) -> Any:
    """The value at a dotted name, None when there is none."""
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
