"""Merging Parquet files: all rows, in order of time, in files of the size asked for; columns that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fink_broker import merge
from fink_broker.errors import StoreError


def write(file: Path, ids: list[int], packets: list[Any] | None = None, **columns: Any) -> Path:
    rows = {"alert_id": [str(one) for one in ids], "mjd": [60000.0 + one for one in ids], "packet": packets or [{"id": one, "stamp": b"x" * 50} for one in ids]}
    pq.write_table(pa.table(rows | columns), file)
    return file


def ids(made: list[merge.Merged]) -> list[str]:
    return [one for part in made for one in pq.ParquetFile(part.file).read(columns=["alert_id"]).column(0).to_pylist()]


def test_rows_are_all_there_in_order_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "ROW_GROUP_BYTES", 1500)
    files = [write(tmp_path / f"b-{number}.parquet", list(range(at, at + 20))[::-1]) for number, at in enumerate((40, 0, 20))]
    (group,) = merge.groups(files)
    assert group.alerts == 60
    assert [file.name for file in group.files] == ["b-1.parquet", "b-2.parquet", "b-0.parquet"]
    (tmp_path / "new").mkdir()
    made = list(merge.merge(group, tmp_path / "new", "compacted-a", 1, "zstd"))
    assert [part.file.name for part in made] == [f"compacted-a-{number:05d}.parquet" for number in range(len(made))]
    assert len(made) > 2
    assert sorted(ids(made), key=int) == [str(one) for one in range(60)]
    for part in made:
        times = pq.ParquetFile(part.file).read(columns=["mjd"]).column(0).to_pylist()
        assert times == sorted(times)
    assert sum(part.alerts for part in made) == 60
    (one,) = merge.merge(group, tmp_path / "new", "compacted-b", 10**9, "zstd")
    whole = pq.ParquetFile(one.file)
    assert whole.metadata.num_rows == 60
    assert whole.num_row_groups > 2
    packets = {row["alert_id"]: row["packet"] for row in whole.read().to_pylist()}
    assert packets["7"] == {"id": 7, "stamp": b"x" * 50}


def test_columns_of_two_schema_versions(tmp_path: Path) -> None:
    one = write(tmp_path / "a.parquet", [1], [{"id": 1, "list": [{"x": 1.5}]}], module=[{"score": 0.5}])
    two = write(tmp_path / "b.parquet", [2], [{"id": 2, "list": [{"x": 2.5, "y": "new"}], "more": b"z"}], other=[{"flag": True}])
    narrow = pa.array([{"id": 3}], pa.struct([("id", pa.int32())]))
    three = tmp_path / "c.parquet"
    pq.write_table(pa.table({"alert_id": ["3"], "mjd": [60003.0], "packet": narrow}), three)
    (group,) = merge.groups([one, two, three])
    (tmp_path / "new").mkdir()
    (made,) = merge.merge(group, tmp_path / "new", "compacted-a", 10**9, "snappy")
    rows = pq.ParquetFile(made.file).read().to_pylist()
    assert rows[0]["packet"] == {"id": 1, "list": [{"x": 1.5, "y": None}], "more": None}
    assert rows[1]["packet"] == {"id": 2, "list": [{"x": 2.5, "y": "new"}], "more": b"z"}
    assert rows[2]["packet"] == {"id": 3, "list": None, "more": None}
    assert [row["module"] for row in rows] == [{"score": 0.5}, None, None]
    assert [row["other"] for row in rows] == [None, {"flag": True}, None]


def test_a_value_that_would_change_keeps_files_apart(tmp_path: Path) -> None:
    big = 2**60 + 1
    files = [
        write(tmp_path / "a.parquet", [1], [{"id": big}]),
        write(tmp_path / "b.parquet", [2], [{"id": 1.5}]),
        write(tmp_path / "c.parquet", [3], [{"id": big}]),
    ]
    files.append(write(tmp_path / "d.parquet", [4], [{"id": "text"}]))
    assert [[file.stem for file in group.files] for group in merge.groups(files)] == [["a", "c"], ["b"], ["d"]]


def test_a_file_that_differs_from_what_was_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (group,) = merge.groups([write(tmp_path / "a.parquet", [1, 2])])
    (tmp_path / "new").mkdir()
    monkeypatch.setattr(merge, "flush", lambda path: write(path, [1]))
    with pytest.raises(StoreError, match="holds 1 alerts and not the 2 that were written; the files it was made of are kept"):
        list(merge.merge(group, tmp_path / "new", "compacted-a", 10**9, "zstd"))


def test_memory_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "ROW_GROUP_BYTES", 1_000_000)
    files = [write(tmp_path / f"{at:03d}.parquet", list(range(at, at + 10)), [{"stamp": bytes(20_000)} for _ in range(10)]) for at in range(0, 1000, 10)]
    (tmp_path / "new").mkdir()
    pool = pa.default_memory_pool()
    before, (group,), most = pool.bytes_allocated(), merge.groups(files), 0
    for rows in merge._row_groups(group):
        most = max(most, pool.bytes_allocated() - before)
        assert rows.nbytes < 1_300_000
    assert most < 8_000_000  # of 20 MB
