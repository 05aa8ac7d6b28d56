"""Layouts of frames: the same as Spark's own, whoever asks at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fink_broker.frame import KEPT, layout, names

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_a_layout_is_brought_over_once(spark: SparkSession) -> None:
    one, same, other = (spark.sql(f"select 1 a, named_struct('x', '{text}') {name}") for text, name in (("p", "b"), ("q", "b"), ("p", "c")))
    assert layout(one) == one.schema
    assert layout(same) is layout(one)
    assert names(other) == ["a", "c"]


def test_jobs_ask_side_by_side(spark: SparkSession) -> None:
    """More layouts than are kept, from two threads: each gets its own."""

    def wrong(thread: int) -> list[str]:
        columns = [f"t{thread}_{place % (2 * KEPT)}" for place in range(6 * KEPT)]
        return [name for name in columns if names(spark.sql(f"select 1 {name}")) != [name]]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(wrong, range(2))) == [[], []]
