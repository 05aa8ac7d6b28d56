"""The Spark session of a job."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fink_broker.lake import Lake
from fink_broker.log import Logger
from fink_broker.settings import Settings, data_folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = Logger("session")

# Kafka, exactly-once and small plans: see DECISIONS.md.
FIXED = {
    "spark.sql.ansi.enabled": "false",  # one filter's division by zero must not fail the batch for all
    "spark.sql.caseSensitive": "true",  # surveys have fields that differ in case only
    "spark.sql.session.timeZone": "UTC",
    "spark.speculation": "false",  # a second attempt would publish twice
    "spark.task.maxFailures": "1",  # the same
}
JAVA = "-XX:+UseParallelGC -XX:ReservedCodeCacheSize=256m"
# Which compilers of the JVM: the first alone, or the second for what is eight times as hot as usual. See DECISIONS 37.
QUICK = "-XX:TieredStopAtLevel=1"
LASTING = " ".join(
    f"-XX:Tier4{name}Threshold={8 * value}" for name, value in (("Invocation", 5000), ("MinInvocation", 600), ("Compile", 15000), ("BackEdge", 40000))
)
DEFAULTS = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.catalogImplementation": "in-memory",
    # expressions are interpreted: each task of each batch would write out Java for two hundred columns first, see DECISIONS 49
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.python.daemon.module": "fink_broker.jobs.daemon",
    "spark.sql.streaming.pollingDelay": "100ms",
    "spark.sql.streaming.stopTimeout": "60s",
    "spark.sql.streaming.numRecentProgressUpdates": "10",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.files.ignoreMissingFiles": "true",
    "spark.sql.parquet.enableNestedColumnVectorizedReader": "false",  # it fails on structs whose fields a file lacks
    "spark.sql.maxConcurrentOutputFileWriters": "16",  # else all rows are sorted by night before they are written
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",  # no .crc file beside each file of the lake
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
    # A query that starts again leaves its consumers behind, each with megabytes fetched: kept for five minutes, many starts may fill the memory.
    "spark.kafka.consumer.cache.timeout": "30s",
    "spark.kafka.consumer.cache.evictorThreadRunInterval": "10s",
    "spark.kafka.consumer.fetchedData.cache.timeout": "30s",
    "spark.kafka.consumer.fetchedData.cache.evictorThreadRunInterval": "10s",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.maxResultSize": "1g",
}
# On one machine: Hadoop's own would start a chmod for each file and folder that it makes, and a readlink for each that it asks about.
# It does not look into folders that are links. See DECISIONS 53.
LOCAL = {
    "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.NakedLocalFileSystem",
    "spark.sql.streaming.checkpointFileManagerClass": "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager",
}


def conf(settings: Settings, name: str, jars: Sequence[str] = ()) -> dict[str, str]:
    """Spark's settings for a job, as spark-submit would take them; with the broker's jars where it does not bring them."""
    quiet = data_folder("conf") / "log4j2.properties"
    java = f"{JAVA} {QUICK if settings.spark.quick_start else LASTING}"
    made = {
        "spark.app.name": f"fink-{name}",
        "spark.master": settings.spark.master,
        "spark.driver.memory": settings.spark.driver_memory,
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{quiet} {java}",
        **DEFAULTS,
    }
    if settings.spark.master.startswith("local"):
        made |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
        cores, slots = os.cpu_count() or 1, re.search(r"\[(\d+|\*)", settings.spark.master)
        tasks = 1 if slots is None else cores if slots[1] == "*" else min(int(slots[1]), cores)
        made["spark.default.parallelism"] = str(tasks)  # of one batch
        made["spark.local.dir"] = str(settings.home / "spark")
        made["spark.sql.warehouse.dir"] = str(settings.home / "spark" / "warehouse")
    chosen = dict(settings.spark.conf)
    if jars:
        made["spark.jars"] = ",".join(jars)
        if settings.spark.master.startswith("local") and not Lake(settings).linked:
            made |= {**LOCAL, "spark.driver.extraClassPath": os.pathsep.join(jars)}  # from the start: Spark asks its file system about the jars
        for key, between in (("spark.jars", ","), ("spark.driver.extraClassPath", os.pathsep)):
            if key in made and key in chosen:  # more than the broker's, not others in their place
                chosen[key] = f"{made[key]}{between}{chosen[key]}"
    return {**made, **chosen, **FIXED}


def session(settings: Settings, name: str) -> SparkSession:
    """The running session, or a new one with the broker's jars; under spark-submit its jars and master stay."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    os.environ.setdefault("PYARROW_IGNORE_TIMEZONE", "1")
    from pyspark.sql import SparkSession

    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    builder = SparkSession.builder
    jars: list[str] = []
    if not submitted and SparkSession.getActiveSession() is None:
        from fink_broker.services.jars import ensure, java

        java()
        jars = sorted(str(jar) for jar in ensure("spark").glob("*.jar"))
    for key, value in conf(settings, name, jars).items():
        if not (submitted and key in ("spark.master", "spark.driver.memory", "spark.driver.extraJavaOptions", "spark.app.name")):
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


class _Heard:
    """A Java signal handler that calls Python."""

    def __init__(self, tell: Callable[[int, Any], None]) -> None:
        self._tell = tell

    def handle(self, signal: Any) -> None:
        """Called by the JVM, in a thread of its own."""
        self._tell(signal.getNumber(), None)

    class Java:
        """What py4j asks for."""

        implements = ["sun.misc.SignalHandler"]


def hear(spark: SparkSession, tell: Callable[[int, Any], None]) -> None:
    """Pass SIGTERM and SIGINT that reach the JVM on to Python: spark-submit is the JVM, and service managers signal the whole group.

    Without it the JVM would end at once, with a batch in hand.
    """
    from pyspark.java_gateway import ensure_callback_server_started

    gateway = spark.sparkContext._gateway
    assert gateway is not None
    ensure_callback_server_started(gateway)  # type: ignore[no-untyped-call]
    signals: Any = gateway.jvm
    for name in ("TERM", "INT"):
        signals.sun.misc.Signal.handle(signals.sun.misc.Signal(name), _Heard(tell))
