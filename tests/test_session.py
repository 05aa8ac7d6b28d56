"""Settings of Spark's session."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from fink_broker.jobs import session
from fink_broker.jvm import java_class
from fink_broker.settings import load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_a_demonstration_compiles_for_minutes_and_a_night_for_hours() -> None:
    quick, lasting = (session.conf(load(options={"spark": {"quick_start": chosen}}), "x")["spark.driver.extraJavaOptions"] for chosen in (True, False))
    assert "-XX:TieredStopAtLevel=1" in quick
    assert "TieredStopAtLevel" not in lasting
    assert "-XX:Tier4InvocationThreshold=40000" in lasting
    assert not load().spark.quick_start


def test_a_batch_has_as_many_tasks_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    found = {
        master: session.conf(load(options={"spark": {"master": master}}), "x").get("spark.default.parallelism")
        for master in ("local[4]", "local[*]", "local", "yarn")
    }
    assert found == {"local[4]": "2", "local[*]": "2", "local": "1", "yarn": None}


def test_what_keeps_alerts_from_coming_twice_cannot_be_set() -> None:
    made = session.conf(load(options={"spark": {"conf": {"spark.speculation": "true", "spark.task.maxFailures": "4", "spark.executor.memory": "1g"}}}), "x")
    assert (made["spark.speculation"], made["spark.task.maxFailures"], made["spark.executor.memory"]) == ("false", "1", "1g")


def test_more_jars_come_beside_the_brokers() -> None:
    more = {"spark.jars": "/m/c.jar", "spark.driver.extraClassPath": "/m/c.jar"}
    made = session.conf(load(options={"spark": {"master": "local[4]", "conf": more}}), "x", ["/j/a.jar"])
    assert made["spark.jars"] == "/j/a.jar,/m/c.jar"
    assert made["spark.driver.extraClassPath"] == "/j/a.jar:/m/c.jar"


@pytest.mark.parametrize("linked", ["raw", "raw/survey=ztf", "raw/survey=ztf/night=20260101"])
def test_a_lake_with_linked_folders_has_the_file_system_that_follows_them(tmp_path: Path, linked: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "lake/raw/survey=ztf/night=20260102").mkdir(parents=True)
    settings = load(options={"broker": {"home": str(tmp_path)}})
    assert "Naked" in session.conf(settings, "x", ["/j/a.jar"])["spark.hadoop.fs.file.impl"]
    if (folder := tmp_path / "lake" / linked).is_dir():
        shutil.rmtree(folder)
    folder.symlink_to(tmp_path / "elsewhere")
    assert "RawLocal" in session.conf(settings, "x", ["/j/a.jar"])["spark.hadoop.fs.file.impl"]


def test_under_spark_submit_nothing_is_added_to_its_jars(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.sql import SparkSession

    asked: dict[str, str] = {}
    builder = Mock()
    builder.config.side_effect = lambda key, value: asked.update({key: value}) or builder
    monkeypatch.setattr(SparkSession, "builder", builder)
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    session.session(load(options={"spark": {"master": "local[4]"}}), "x")
    assert not {"spark.jars", "spark.driver.extraClassPath", "spark.sql.streaming.checkpointFileManagerClass", "spark.master"} & set(asked)
    assert "RawLocal" in asked["spark.hadoop.fs.file.impl"]


def test_one_machine_has_a_file_system_that_starts_no_processes_and_a_cluster_its_own() -> None:
    made = {master: session.conf(load(options={"spark": {"master": master}}), "x", ["/j/a.jar", "/j/b.jar"]) for master in ("local[4]", "yarn")}
    files = {master: one["spark.hadoop.fs.file.impl"].rsplit(".", 1)[1] for master, one in made.items()}
    assert files == {"local[4]": "NakedLocalFileSystem", "yarn": "RawLocalFileSystem"}
    assert made["local[4]"]["spark.driver.extraClassPath"] == "/j/a.jar:/j/b.jar"
    assert made["yarn"]["spark.jars"] == "/j/a.jar,/j/b.jar"
    assert "spark.sql.streaming.checkpointFileManagerClass" not in made["yarn"]
    submitted = session.conf(load(), "x")  # brings no jars of the broker
    assert submitted["spark.hadoop.fs.file.impl"] == made["yarn"]["spark.hadoop.fs.file.impl"]


def test_files_are_made_by_the_file_system_that_starts_no_processes(spark: SparkSession, tmp_path: Path) -> None:
    where = java_class(spark, "org.apache.hadoop.fs.Path")(tmp_path.as_uri())
    assert where.getFileSystem(spark._jsc.hadoopConfiguration()).getClass().getSimpleName() == "NakedLocalFileSystem"
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("one\n")
    written = spark.readStream.text(str(tmp_path / "in")).writeStream.format("noop").option("checkpointLocation", str(tmp_path / "log"))
    written.trigger(availableNow=True).start().awaitTermination(60)
    assert (tmp_path / "log/commits/0").is_file()
    assert not list((tmp_path / "log").rglob("*.crc"))  # which only Hadoop's own writes beside Spark's logs
