"""What a checkpoint says, read without Spark: from one written by hand, and from a real query's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fink_broker.checkpoint import Checkpoint
from fink_broker.lake import BATCH_FILES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def write_checkpoint(folder: Path, files: dict[int, list[str]], done: int, identifier: str = "0123abcd-rest") -> Checkpoint:
    """A checkpoint of a query over files: those of each batch of the source, all begun, some done."""
    for name in ("commits", "offsets", "sources/0"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "metadata").write_text(json.dumps({"id": identifier}))
    for batch, paths in files.items():
        (folder / "offsets" / str(batch)).write_text(f'v1\n{{"batchWatermarkMs":0}}\n{{"logOffset":{batch}}}')
        lines = [json.dumps({"path": f"file:///lake/{path}", "timestamp": 1, "batchId": batch}) for path in paths]
        (folder / "sources/0" / str(batch)).write_text("\n".join(["v1", *lines]))
        if batch <= done:
            (folder / "commits" / str(batch)).write_text("v1\n{}")
    return Checkpoint(folder)


def test_only_batches_that_are_done_count(tmp_path: Path) -> None:
    assert not Checkpoint(tmp_path).exists
    assert Checkpoint(tmp_path).done == -1
    assert Checkpoint(tmp_path).read() == set()
    made = write_checkpoint(tmp_path, {0: ["night=1/a", "night=1/b"], 1: ["night=2/c%20d"], 2: ["night=2/e"]}, done=1)
    assert made.exists
    assert made.identifier == "0123abcd"
    assert made.done == 1
    assert made.read() == {("night=1", "a"), ("night=1", "b"), ("night=2", "c d")}


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("metadata", "", "metadata is no JSON"),
        ("metadata", None, "metadata is missing"),
        ("offsets/2", "v1", "offsets/2 is cut short"),
        ("offsets/2", "", "offsets/2 is cut short"),
        ("offsets/1", 'v1\n{"batchWatermarkMs":0}\n{"ztf_al', "offsets/1 is no JSON"),
        ("commits/1", "v1", "commits/1 is cut short"),
        ("offsets/0", "", ""),  # Spark reads the last ones only
    ],
)
def test_damage_is_named(tmp_path: Path, file: str, text: str | None, told: str) -> None:
    made = write_checkpoint(tmp_path, {0: [], 1: [], 2: []}, done=1)
    assert made.damage == ""
    (tmp_path / file).unlink() if text is None else (tmp_path / file).write_text(text)
    assert made.damage == told


def test_no_checkpoint_is_not_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "attempts").mkdir()
    assert Checkpoint(tmp_path / "nothing").damage == Checkpoint(tmp_path).damage == ""


def test_a_real_query(tmp_path: Path, spark: SparkSession) -> None:
    table = tmp_path / "raw" / "survey=ztf"
    schema = "alert_id string, night int"

    def put(name: str, night: int) -> None:
        folder = table / f"night={night}"
        folder.mkdir(parents=True, exist_ok=True)
        spark.createDataFrame([(name,)], "alert_id string").coalesce(1).write.parquet(str(tmp_path / "staged" / name))
        next((tmp_path / "staged" / name).glob("*.parquet")).rename(folder / name)

    def run() -> list[str]:
        seen: list[str] = []
        reader = spark.readStream.schema(schema).option("maxFilesPerTrigger", "1").option("pathGlobFilter", BATCH_FILES).parquet(str(table))
        writer = reader.writeStream.option("checkpointLocation", str(tmp_path / "check")).trigger(availableNow=True)
        writer.foreachBatch(lambda frame, number: seen.extend(row.alert_id for row in frame.collect())).start().awaitTermination()
        return seen

    names = [f"c0ffee00-0000000{number}-00000.parquet" for number in range(3)]
    for number, name in enumerate(names[:2]):
        put(name, 20260309 + number)
    assert sorted(run()) == names[:2]
    checkpoint = Checkpoint(tmp_path / "check")
    assert checkpoint.done == 1
    assert checkpoint.damage == ""
    assert checkpoint.read() == {("night=20260309", names[0]), ("night=20260310", names[1])}
    put("compacted-c0ffee00-00000.parquet", 20260309)  # a merged file is nothing new to a stream
    put(names[2], 20260309)
    assert run() == names[2:]
    assert len(checkpoint.read()) == 3


def test_a_plan_that_was_never_taken_is_forgotten(tmp_path: Path) -> None:
    held = Checkpoint(tmp_path)
    for log, batches in (("offsets", (6, 7)), ("commits", (6,))):
        (tmp_path / log).mkdir()
        for batch in batches:
            (tmp_path / log / str(batch)).write_text("v1\n{}\n{}")
            (tmp_path / log / f".{batch}.crc").write_text("")
    assert held.forget_untaken() == -1  # of a broker that did not note it: the batch may have reached sinks
    held.take(6)
    held.take(7)
    assert (held.forget_untaken(), held.planned) == (-1, 7)
    held.take(6)
    assert (held.forget_untaken(), held.planned) == (7, 6)
    assert sorted(file.name for file in (tmp_path / "offsets").iterdir()) == [".6.crc", "6"]
    assert held.forget_untaken() == -1
