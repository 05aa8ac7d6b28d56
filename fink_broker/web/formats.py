"""Rows as json, csv, parquet or votable."""

from __future__ import annotations

import io
import json
from typing import Any, Literal

from fastapi import Response

Format = Literal["json", "csv", "parquet", "votable"]
Row = dict[str, Any]
MEDIA = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "votable": "application/x-votable+xml",
}


def answer(rows: list[Row], kind: Format, columns: str | None = None) -> Response:
    """The rows in a format; `columns` is a comma list, dotted into module results."""
    if columns:
        names = [name.strip() for name in columns.split(",") if name.strip()]
        rows = [{name: dig(row, name) for name in names} for row in rows]
    if kind == "json":
        return Response(json.dumps(rows), media_type=MEDIA[kind])
    import pandas as pd

    frame = pd.DataFrame([flat(row) for row in rows])
    if kind == "csv":
        return Response(frame.to_csv(index=False), media_type=MEDIA[kind])
    stream = io.BytesIO()
    if kind == "parquet":
        frame.to_parquet(stream, index=False)
    else:
        from astropy.table import Table

        texts = frame.select_dtypes(object).columns
        filled = frame.assign(**{name: frame[name].map(lambda v: "" if v is None or v != v else str(v)) for name in texts})
        Table.from_pandas(filled).write(stream, format="votable")
    return Response(stream.getvalue(), media_type=MEDIA[kind])


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
