"""Pieces of a batch's work at the same time: while the driver plans one query, or Kafka confirms, the cores have another's tasks to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, wait
from contextvars import copy_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def together(spark: SparkSession, pool: Executor, works: Sequence[Callable[[], None]]) -> None:
    """Do all of them, the first in this thread and the others in the pool's; back when all have ended, with the first failure of theirs in this order.

    Spark's jobs of the others belong to the same query as those of this thread, and are cancelled with it.
    """
    from pyspark import inheritable_thread_target

    if not works:
        return
    beside = [pool.submit(copy_context().run, inheritable_thread_target(spark)(work)) for work in works[1:]]
    try:
        works[0]()
    finally:
        wait(beside)
    for one in beside:
        one.result()
