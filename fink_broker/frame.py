"""The columns of a Spark frame, asked of the JVM as little as may be: a batch has half a second for all that it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

KEPT = 16  # layouts of one Spark context: a few for each job
_KNOWN: WeakKeyDictionary[SparkContext, list[tuple[Any, StructType]]] = WeakKeyDictionary()


def layout(frame: DataFrame) -> StructType:
    """`frame.schema`, brought over once for all frames that have the same: what is longer than 8 kB waits 44 ms for TCP's delayed acknowledgement."""
    there = frame._jdf.schema()
    known = _KNOWN.setdefault(frame.sparkSession.sparkContext, [])
    for other, found in known:
        if other.equals(there):
            return found
    found = frame.schema
    known[:] = [(there, found), *known[: KEPT - 1]]  # other jobs' threads may do the same meanwhile
    return found


def names(frame: DataFrame) -> list[str]:
    """Names of the columns."""
    return layout(frame).names


def at(places: Iterable[tuple[str, int, int]], of: str = "") -> str:
    """Spark SQL: whether the columns topic, partition and offset (of a struct `of.`) are one of these places.

    One text: a column of thousands of values is as many calls of Java, seconds for a batch.
    """
    keys = ", ".join(f"'{topic}/{partition}/{offset}'" for topic, partition, offset in places)
    return f"concat_ws('/', {of}topic, {of}partition, {of}offset) in ({keys})"
