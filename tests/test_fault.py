"""Packets that break their batch are found by halving it, and nothing else is blamed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fink_broker.jobs.fault import MOST, Faults, works

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.slow


def records(spark: SparkSession, number: int) -> DataFrame:
    return spark.createDataFrame([("t", place % 2, place // 2) for place in range(number)], "topic string, partition int, offset bigint")


def breaking(*places: tuple[int, int]) -> object:
    """A decoding that fails on packets at these (partition, offset)."""
    bad = " or ".join(f"(partition = {part} and offset = {offset})" for part, offset in places) or "false"
    return lambda frame: frame.selectExpr("*", f"if({bad}, raise_error('broken'), 1) decoded")


def test_the_packets_at_fault_are_found_and_remembered(spark: SparkSession, tmp_path: Path) -> None:
    file, frame = tmp_path / "faults.json", records(spark, 40)
    faults = Faults(file)
    decode = breaking((1, 3), (0, 17))
    assert not works(decode(frame))  # type: ignore[operator]
    assert sorted(faults.find(frame, decode, "it broke")) == [("t", 0, 17), ("t", 1, 3)]  # type: ignore[arg-type]
    again = Faults(file)
    assert again.known == {("t", 0, 17): "it broke", ("t", 1, 3): "it broke"}
    left = again.left_out(frame)
    assert left.count() == 38
    assert works(decode(left))  # type: ignore[operator]
    assert sorted(again.among(frame)) == [("t", 0, 17), ("t", 1, 3)]
    assert again.among(left) == []


def test_a_batch_that_can_be_decoded_has_no_fault(spark: SparkSession, tmp_path: Path) -> None:
    faults = Faults(tmp_path / "faults.json")
    assert faults.find(records(spark, 10), breaking(), "Kafka was away") == []  # type: ignore[arg-type]
    assert not faults.file.exists()


def test_what_breaks_on_most_packets_is_no_fault_of_packets(spark: SparkSession, tmp_path: Path) -> None:
    faults = Faults(tmp_path / "faults.json")
    places = [(part, offset) for part in (0, 1) for offset in range(MOST)]
    assert faults.find(records(spark, 2 * MOST), breaking(*places), "a bug") == []  # type: ignore[arg-type]
    assert faults.known == {}
