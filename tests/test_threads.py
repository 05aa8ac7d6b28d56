"""Work at the same time: all of it is done before anything is told, and the first failure is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from fink_broker.jobs.threads import together

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


def test_all_run_at_the_same_time_and_as_the_same_query(spark: SparkSession) -> None:
    meeting, found = threading.Barrier(3, timeout=20), []

    def work() -> None:
        meeting.wait()  # breaks unless all three are there
        found.append(spark.sparkContext.getLocalProperty("spark.jobGroup.id"))

    spark.sparkContext.setJobGroup("this query", "")
    try:
        with ThreadPoolExecutor(2) as pool:
            together(spark, pool, [work] * 3)
            together(spark, pool, [])
    finally:
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]
    assert found == ["this query"] * 3


@pytest.mark.parametrize("failing", [{0}, {1}, {2}, {0, 2}, {1, 2}])
def test_the_first_failure_is_told_when_all_have_ended(spark: SparkSession, failing: set[int]) -> None:
    ended = []

    def work(place: int) -> None:
        ended.append(place)
        if place in failing:
            raise ValueError(place)

    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match=str(min(failing))):
        together(spark, pool, [lambda: work(0), lambda: work(1), lambda: work(2)])
    assert sorted(ended) == [0, 1, 2]
