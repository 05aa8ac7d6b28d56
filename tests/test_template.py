"""A plan kept from batch to batch gives what a new one would, and is made anew when anything that it depends on changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fink_broker.jobs.template import Template

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.slow


def batches(spark: SparkSession, folder: Path, work: Any, number: int = 3) -> None:
    """Run `work` on batches of a stream: numbers 0 to 9, 10 to 19, and so on."""
    source = folder / "source"
    for place in range(number):
        spark.range(10 * place, 10 * place + 10, 1, 1).write.mode("append").parquet(str(source))
    frame = spark.readStream.schema("id long").option("maxFilesPerTrigger", 1).parquet(str(source))
    query = frame.writeStream.foreachBatch(work).trigger(availableNow=True).option("checkpointLocation", str(folder / "checkpoint")).start()
    query.awaitTermination(60)
    assert query.exception() is None


def test_the_steps_are_made_once_and_used_for_every_batch(spark: SparkSession, tmp_path: Path) -> None:
    from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]

    template, made, found = Template(), [], []
    twice = arrow_udf(lambda values: values.cast("int64"), returnType="long")

    def make(records: DataFrame) -> DataFrame:
        made.append(1)
        return records.coalesce(1).selectExpr("id * 2 twice", "id").where("id % 2 = 0").select("*", twice("twice").alias("same")).selectExpr("same + 1 odd")

    def work(records: DataFrame, _: int) -> None:
        found.extend(row[0] for row in template.frame(records, "always", make).localCheckpoint(eager=False).collect())

    batches(spark, tmp_path, work)
    assert len(made) == 1
    assert sorted(found) == [4 * half + 1 for half in range(15)]


def test_they_are_made_anew_when_they_depend_on_something_else(spark: SparkSession, tmp_path: Path) -> None:
    template, made, found = Template(), [], []

    def work(records: DataFrame, number: int) -> None:
        factor = 1 if number < 2 else 100

        def make(records: DataFrame) -> DataFrame:
            made.append(factor)
            return records.selectExpr(f"max(id * {factor}) top")

        found.extend(row[0] for row in template.frame(records, factor, make).collect())

    batches(spark, tmp_path, work, 4)
    assert made == [1, 100]
    assert found == [9, 19, 2900, 3900]


def test_other_records_and_plans_that_branch_are_made_anew(spark: SparkSession, tmp_path: Path) -> None:
    template = Template()
    for first in (0, 5):  # not of one stream: Spark gives their columns other ids
        frame = template.frame(spark.range(first, first + 2), "", lambda records: records.selectExpr("id + 1 next"))
        assert [row[0] for row in frame.collect()] == [first + 1, first + 2]
    branching, found = Template(), []

    def work(records: DataFrame, _: int) -> None:
        found.append(branching.frame(records, "", lambda records: records.unionByName(records.selectExpr("-id id"))).selectExpr("count(*)").collect()[0][0])

    batches(spark, tmp_path, work)
    assert found == [20, 20, 20]
