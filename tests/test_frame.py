"""Layouts of frames: the same as Spark's own, whoever asks at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fink_broker import frame
from fink_broker.frame import KEPT, at, layout, names

if TYPE_CHECKING:
    import pytest
    from pyspark.sql import SparkSession


def test_a_layout_is_brought_over_once(spark: SparkSession) -> None:
    one, same, other = (spark.sql(f"select 1 a, named_struct('x', '{text}') {name}") for text, name in (("p", "b"), ("q", "b"), ("p", "c")))
    assert layout(one) == one.schema
    assert layout(same) is layout(one)
    assert names(other) == ["a", "c"]


def test_no_more_are_kept_than_a_few(spark: SparkSession) -> None:
    for place in (*range(2 * KEPT), 0):
        assert names(spark.sql(f"select 1 c{place}")) == [f"c{place}"]
    assert len(frame._KNOWN[spark.sparkContext]) == KEPT


def test_another_jobs_thread_may_ask_at_the_worst_moment(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = spark.sql("select 1 theirs")

    class Overtaken(list[Any]):
        """Another thread's layout stands first as soon as ours was put in."""

        def __setitem__(self, place: Any, new: Any) -> None:
            super().__setitem__(place, [(theirs._jdf.schema(), theirs.schema), *new])

    monkeypatch.setitem(frame._KNOWN, spark.sparkContext, Overtaken())
    assert names(spark.sql("select 1 ours")) == ["ours"]
    assert names(theirs) == ["theirs"]


def test_rows_at_some_places(spark: SparkSession) -> None:
    rows = spark.sql("select explode(array('a', 'b-1.c')) topic, 1 partition, explode(array(0L, 7L, 70L)) offset")
    assert {tuple(row) for row in rows.where(at([("a", 1, 7), ("b-1.c", 1, 0), ("a", 0, 70)])).collect()} == {("a", 1, 7), ("b-1.c", 1, 0)}
    inside = rows.selectExpr("struct(*) origin").where(f"not {at([('a', 1, 7)], 'origin.')}")
    assert inside.count() == 5
