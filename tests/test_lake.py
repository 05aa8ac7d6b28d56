"""The lake: files come into place whole, a batch that runs again replaces its own, readers need no Spark."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fink_broker import compact, merge, retention
from fink_broker.alert import Decoder
from fink_broker.compact import Compactor
from fink_broker.errors import StoreError
from fink_broker.jobs import sources
from fink_broker.lake import Lake
from fink_broker.schema import SchemaLibrary
from fink_broker.settings import data_folder, load
from fink_broker.survey import load_survey
from fink_broker.testing import encode, make_alerts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(load(options={"lake": {"path": str(tmp_path / "lake")}}))


def put(folder: Path, name: str, ids: list[int], night: int = 20260309) -> None:
    """A file as a task writes it."""
    place = folder / "survey=ztf" / f"night={night}"
    place.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"alert_id": [str(number) for number in ids], "origin": [{"offset": number} for number in ids]}), place / name)


def held(lake: Lake) -> list[int]:
    """Ids in the raw table, as DuckDB reads them."""
    rows = duckdb.sql(f"select alert_id from read_parquet('{lake.table('raw')}/**/*.parquet', hive_partitioning = true)").fetchall()
    return sorted(int(row[0]) for row in rows)


def test_a_batch_that_runs_again_puts_the_same_names_in_place(lake: Lake, tmp_path: Path) -> None:
    random = "11111111-2222-3333-4444-{}"
    for name, ids in (("a-0", [1, 2]), ("a-1", [3])):
        put(tmp_path / "staged", f"{name}-00000-{random.format('555555555555')}.c000.zstd.parquet", ids)
        lake.commit(tmp_path / "staged", "raw")
    put(lake.table("raw"), "a-1-00007.parquet", [9])  # of an attempt that had more files
    assert held(lake) == [1, 2, 3, 9]
    put(tmp_path / "staged", f"a-1-00000-{random.format('666666666666')}.c000.zstd.parquet", [4])
    placed = lake.commit(tmp_path / "staged", "raw")
    assert [file.name for file in placed] == ["a-1-00000.parquet"]
    assert lake.remove("raw", "a-1", but=placed) == 1
    assert held(lake) == [1, 2, 4]
    assert not (tmp_path / "staged").exists()
    put(tmp_path / "staged", f"a-1-00000-{random.format('777777777777')}.c000.zstd.parquet", [5])
    assert [file.name for file in lake.commit(tmp_path / "staged", "raw", "again")] == ["a-1-00000again.parquet"]
    assert lake.remove("raw", "a-0") == 1
    assert lake.remove("raw", "a") == 2  # a prefix ends at a dash
    assert lake.remove("raw", "a") == 0


def test_a_prefix_is_not_another_that_begins_so(lake: Lake) -> None:
    put(lake.table("raw"), "abc-1-x.parquet", [1])
    put(lake.table("raw"), "abc-10-x.parquet", [2])
    lake.remove("raw", "abc-1")
    assert held(lake) == [2]


def test_what_is_staged_is_not_seen(lake: Lake) -> None:
    put(lake.table("raw"), "a-0-x.parquet", [1])
    put(lake.path / "_staging" / "raw-a-1", "a-1-x.parquet", [2])
    assert held(lake) == [1]
    assert lake.scan("raw", "ztf", ["alert_id"]).num_rows == 1


def test_nights_and_columns_without_spark(lake: Lake) -> None:
    put(lake.table("raw"), "a-0-x.parquet", [1, 2], night=20260310)
    put(lake.table("raw"), "a-1-x.parquet", [3], night=20260309)
    assert lake.nights("raw", "ztf") == [20260309, 20260310]
    assert lake.nights("raw", "lsst") == []
    table = lake.scan("raw", "ztf", ["alert_id", "origin.offset"])
    assert sorted(zip(table.column("alert_id").to_pylist(), table.column("night").to_pylist(), strict=True)) == [
        ("1", 20260310),
        ("2", 20260310),
        ("3", 20260309),
    ]
    assert lake.scan("raw", "lsst", ["alert_id"]).num_rows == 0


def test_files_of_two_schema_versions_are_scanned_together(lake: Lake) -> None:
    put(lake.table("raw"), "a-0-x.parquet", [1])
    place = lake.table("raw") / "survey=ztf" / "night=20260310"
    place.mkdir(parents=True)
    pq.write_table(pa.table({"alert_id": ["2"], "origin": [{"offset": 2, "more": 1.5}]}), place / "a-1-x.parquet")
    assert sorted(lake.scan("raw", "ztf", ["alert_id", "origin"]).column("alert_id").to_pylist()) == ["1", "2"]


def test_a_lake_has_to_be_on_a_file_system() -> None:
    with pytest.raises(StoreError, match="the lake at s3://bucket/lake is not on a mounted file system; mount it"):
        Lake(load(options={"lake": {"path": "s3://bucket/lake"}}))
    assert Lake(load(options={"lake": {"path": "file:///data/lake"}})).path == Path("/data/lake")


def test_spark_writes_and_reads_it(lake: Lake, spark: SparkSession) -> None:
    frame = spark.createDataFrame([("1", "ztf", 20260309), ("2", "ztf", 20260310), ("3", "lsst", 20260309)], "alert_id string, survey string, night int")
    staged = lake.stage(frame, "raw", "abc-4")
    assert staged == lake.path / "_staging" / "raw-abc-4"
    placed = lake.commit(staged, "raw")
    assert len(placed) == 3
    assert all(file.name.startswith("abc-4-") for file in placed)
    assert held(lake) == [1, 2, 3]
    assert sorted(row.alert_id for row in lake.read(spark, "raw", "ztf").collect()) == ["1", "2"]
    assert [row.alert_id for row in lake.read(spark, "raw", "ztf", [20260310]).collect()] == ["2"]
    assert not [file for file in lake.table("raw").rglob("*") if file.is_file() and file.suffix != ".parquet"]


def test_files_have_the_range_of_columns_at_the_top_alone(lake: Lake, spark: SparkSession) -> None:
    kinds = "alert_id string, mjd double, packet struct<name: string, list: array<struct<text: string>>, stamp: binary>, survey string, night int"
    frame = spark.createDataFrame([("1", 61108.0, ("a", [("b",)], b"c"), "ztf", 20260309), ("2", 61109.0, ("d", [], b"e"), "ztf", 20260309)], kinds).coalesce(1)
    (file,) = lake.commit(lake.stage(frame, "raw", "abc-5"), "raw")
    group = pq.ParquetFile(file).metadata.row_group(0)
    found = {group.column(place).path_in_schema: group.column(place).statistics for place in range(group.num_columns)}
    assert {name: (facts.min, facts.max) for name, facts in found.items() if facts and facts.has_min_max} == {"alert_id": ("1", "2"), "mjd": (61108.0, 61109.0)}


def test_spark_reads_merged_files_beside_new_ones(tmp_path: Path, spark: SparkSession) -> None:
    settings = load(options={"broker": {"home": str(tmp_path)}, "lake": {"min_free_gb": 0}})
    lake = Lake(settings)
    packet_type = "struct<id: bigint, short: int, list: array<struct<x: float>>, stamp: binary>"
    kinds = f"survey string, night int, alert_id string, mjd double, packet {packet_type}, made map<string, string>"
    for batch, more in enumerate(("", ", topics array<string>", "")):
        row = ["ztf", 20260309, str(batch), 61108.0 - batch, (2**60 + batch, batch, [(0.5,)], b"x"), {"broker": "1"}]
        frame = spark.createDataFrame([(*row, ["t"]) if more else tuple(row)], kinds + more)
        lake.commit(lake.stage(frame, "raw", f"c0ffee00-{batch:08d}"), "raw")
        if batch == 1:
            compactor = Compactor(settings, grace_seconds=0)
            (done,) = compactor.run(retention.nights(settings, compact.TABLES))
            assert (done.before, done.after) == (2, 1)
    read = lake.read(spark, "raw", "ztf")
    assert dict(read.dtypes)["packet"].replace(" ", "") == packet_type.replace(" ", "")
    rows = {row.alert_id: row for row in read.collect()}
    assert sorted(rows) == ["0", "1", "2"]
    for number in range(3):
        packet = rows[str(number)].packet
        assert (packet.id, packet.short, packet.list[0].x, bytes(packet.stamp)) == (2**60 + number, number, 0.5, b"x")
        assert rows[str(number)].made == {"broker": "1"}
    assert [rows[number].topics for number in "012"] == [None, ["t"], None]


def test_files_of_before_a_neutral_column_are_read_with_it(lake: Lake, spark: SparkSession) -> None:
    survey, schemas = load_survey(data_folder("schemas"), "lsst"), SchemaLibrary.load(data_folder("schemas"), "lsst")
    decoder = Decoder(survey, schemas)
    job: Any = SimpleNamespace(lake=lake, survey=survey, spark=spark, decoder=decoder)
    values = [encode("lsst", one.packet) for one in make_alerts("lsst", 6)]
    records = [(bytearray(value), "lsst_alerts", 0, place, datetime(2026, 3, 9, tzinfo=UTC)) for place, value in enumerate(values)]
    rows = decoder.decode(spark.createDataFrame(records, sources.RECORD)).select(*sources.table_schema(job, "raw").names)
    (night, *more) = sorted({row.night for row in rows.select("night").collect()})
    old, new = (rows.where(f"origin.offset {side} 3") for side in ("<", ">="))
    lake.commit(lake.stage(old.drop("template_flux"), "raw", "c0ffee00-00000000"), "raw")
    before = sources.rows(job, "raw", [night, *more])  # what a stream reads, too
    assert [row.template_flux for row in before.collect()] == [None] * 3
    told = {row.alert_id: row.template_flux for row in rows.collect()}
    assert {row.alert_id: row.template_flux for row in decoder.derive(before).collect()} == {row.alert_id: told[row.alert_id] for row in old.collect()}
    lake.commit(lake.stage(new, "raw", "c0ffee00-00000001"), "raw")
    expected = [told[row.alert_id] if row.origin.offset >= 3 else None for row in rows.orderBy("alert_id").collect()]
    assert [row.template_flux for row in lake.read(spark, "raw", "lsst").orderBy("alert_id").collect()] == expected
    for at in (night, *more):
        folder = lake.table("raw") / "survey=lsst" / f"night={at}"
        assert len(merge.groups(sorted(folder.glob("*.parquet")))) == 1  # merged into one file


def test_columns_are_copied_as_they_stand(lake: Lake, spark: SparkSession) -> None:
    packet = "named_struct('id', id, 'curve', array(id * 0.5, null), 'stamp', unhex(lpad(hex(id), 8, '0')), 'note', cast(null as string)) packet"
    rows = spark.range(500).selectExpr(
        "cast(id as string) alert_id", packet, "named_struct('score', rand(1)) module", "map('a', 'b') provenance", "'ztf' survey", "20260101 + id % 2 night"
    )
    science = lake.stage(rows, "science", "a-1")
    raw = lake.stage_columns(spark, science, "raw", "a-1", ["alert_id", "packet"])
    files = sorted(raw.rglob("*.parquet"))
    assert [file.relative_to(raw) for file in files] == [file.relative_to(science) for file in sorted(science.rglob("*.parquet"))]
    for file in files:
        whole, copied = pq.ParquetFile(science / file.relative_to(raw)), pq.ParquetFile(file)
        assert copied.schema_arrow.names == ["alert_id", "packet"]
        assert copied.read().equals(whole.read(columns=["alert_id", "packet"]).replace_schema_metadata(copied.schema_arrow.metadata))
        assert copied.metadata.row_group(0).column(0).total_compressed_size == whole.metadata.row_group(0).column(0).total_compressed_size
        assert copied.metadata.row_group(0).column(0).statistics.max == whole.metadata.row_group(0).column(0).statistics.max
    lake.commit(science, "science")
    lake.commit(raw, "raw")
    read = lake.read(spark, "raw", "ztf")
    assert read.schema == lake.read(spark, "science", "ztf").drop("module", "provenance").schema
    assert sorted(int(row[0]) for row in read.select("alert_id").collect()) == list(range(500))
    assert duckdb.sql(f"select sum(packet.id) from read_parquet('{lake.table('raw')}/**/*.parquet')").fetchall() == [(124750,)]
