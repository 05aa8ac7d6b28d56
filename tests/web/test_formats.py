"""Rows as csv, parquet and votable hold what JSON does."""

from __future__ import annotations

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import parse_single_table

from fink_broker.web.formats import FORMATS, answer, flat
from tests.stored_alerts import stored

ROWS = [stored(1), stored(2, None, mag=None, n_detections=None, quality=["near_edge"], public=False)]


def test_csv_keeps_ids_and_gaps() -> None:
    table = pd.read_csv(io.BytesIO(bytes(answer(ROWS, "csv").body)), dtype={"alert_id": str})
    assert list(table["alert_id"]) == [row["alert_id"] for row in ROWS]
    assert table["mag"].isna().tolist() == [False, True]
    assert table["magnitude_rate.rate"].tolist() == [-0.1, -0.1]
    assert table["quality"].tolist() == ["[]", '["near_edge"]']


def test_parquet_keeps_types() -> None:
    table = pq.read_table(io.BytesIO(bytes(answer(ROWS, "parquet").body)))
    assert table.schema.field("alert_id").type == pa.string()
    assert table.schema.field("n_detections").type == pa.int64()
    assert table.column("n_detections").to_pylist() == [2, None]
    assert table.column("public").to_pylist() == [True, False]
    assert table.schema.field("ss_object_id").type == pa.string()  # no value at all


def test_votable_has_units_and_masks() -> None:
    table = parse_single_table(io.BytesIO(bytes(answer(ROWS, "votable").body)))
    fields = {field.name: field for field in table.fields}
    assert str(fields["ra"].unit) == "deg"
    assert fields["ra"].ucd == "pos.eq.ra;meta.main"
    assert fields["alert_id"].ucd == "meta.id"
    assert list(table.array["alert_id"]) == [row["alert_id"] for row in ROWS]
    assert list(table.array["mag"].mask) == [False, True]


@pytest.mark.parametrize("kind", FORMATS)
def test_no_rows_at_all(kind: str) -> None:
    assert answer([], kind).status_code == 200  # type: ignore[arg-type]


def test_columns_are_dotted_and_a_missing_one_is_null() -> None:
    made = answer(ROWS, "json", "magnitude_rate.rate_g, nothing.at_all")
    assert bytes(made.body) == b'[{"magnitude_rate.rate_g": 0.2, "nothing.at_all": null}, {"magnitude_rate.rate_g": 0.2, "nothing.at_all": null}]'


def test_a_name_cannot_break_the_header() -> None:
    made = answer(ROWS, "csv", name='a"b\r\nc/d é')
    assert made.headers["content-disposition"] == 'attachment; filename="a_b__c_d__.csv"'


def test_structs_are_drawn_out() -> None:
    assert flat({"a": 1, "b": {"c": {"d": 2}, "e": [1]}}) == {"a": 1, "b.c.d": 2, "b.e": "[1]"}
