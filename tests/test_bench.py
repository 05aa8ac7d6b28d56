"""The benchmark's own parts; what it measures is in tests/bench/README.md."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fink_broker import bench, hbase
from fink_broker.cli.filter import _empty_rows
from fink_broker.filters import check, load_filters
from fink_broker.settings import Settings
from fink_broker.survey import load_survey

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_filters_are_all_different_and_can_run(tmp_path: Path, spark: SparkSession, settings: Settings) -> None:
    rules = load_filters(bench.write_filters(tmp_path, 60, "ztf"), "ztf")
    assert len(rules) == 60
    assert len({rule.where for rule in rules}) == 60
    rows = _empty_rows(spark, settings, survey := load_survey(settings.schemas_path, "ztf"))
    for rule in rules:
        check(rows, rule, survey)


def test_copies_of_rows_have_the_keys_that_readers_look_for() -> None:
    key = f"{hbase.salt('ztfZTF25a')}|ztf|ZTF25a|039000000000|17".encode()
    salt, survey, name, *rest = bench._copied(key, "history", 3).decode().split("|")
    assert (survey, name, rest) == ("ztf", "ZTF25ax3", ["039000000000", "17"])
    assert salt == hbase.salt("ztfZTF25ax3")
    assert bench._copied(b"0a|000123|ztf|ZTF25a", "position", 1) == b"0a|000123|ztf|ZTF25ax1"  # the pixel decides its salt


def test_processes_are_told_apart_by_their_home(tmp_path: Path) -> None:
    watch = bench.Watch(tmp_path)
    assert watch._name(f"java kafka.Kafka {tmp_path}/services/kafka", 1) == "Kafka"
    assert watch._name(f"python -m fink_broker --home {tmp_path} run live ingest", 1) == "driver"
    assert watch._name("java kafka.Kafka /elsewhere", 1) == ""
    assert watch._name("python -m fink_broker.jobs.daemon", os.getpid()) == ""
    assert watch._name(f"java SparkSubmit spark.python.daemon.module=fink_broker.jobs.daemon {tmp_path}", 1) == "Spark JVM"


def test_the_machine_is_named() -> None:
    found = bench.machine()
    assert found["cores"] == os.cpu_count()
    assert found["memory_gib"] > 0
    assert len(found["load"]) == 3
