"""Where a job's alerts come from: the survey's topics, or a table of the lake."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fink_broker import kafka
from fink_broker.checkpoint import MERGED, Checkpoint
from fink_broker.errors import Unavailable
from fink_broker.frame import at
from fink_broker.jobs import steps
from fink_broker.lake import BATCH_FILES, COMPACTED, merged_id

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    from fink_broker.jobs.job import Job
    from fink_broker.settings import Settings
    from fink_broker.survey import Survey

# Packets are 70 to 300 KB: with Kafka's default fetch sizes reading is half as fast. But what was fetched stays in memory from
# one batch to the next, for each job and partition: with 64 MB a fetch that was most of what the JVM held.
# After each reading Spark asks where a partition ends; the broker answers that only after the fetch that the consumer sent ahead,
# which waits for new records: half a second by default, for every partition that has come to its end.
FETCH = {
    "kafka.max.partition.fetch.bytes": str(8 << 20),
    "kafka.fetch.max.bytes": str(16 << 20),
    "kafka.max.poll.records": "100",
    "kafka.fetch.max.wait.ms": "5",
}
SHARE = 9  # of the driver's memory a batch's packets may take one part of so many: they are held with their columns, copied, and written
RECORD = "value binary, topic string, partition int, offset bigint, timestamp timestamp"


def stream(job: Job, offsets: str = "") -> DataFrame:
    """The streaming frame that a job reads; `offsets` is where a new checkpoint starts in Kafka."""
    if job.plan.source == "kafka":
        return _kafka(job, offsets)
    return _table(job, job.plan.source)


def same_kafka(settings: Settings, checkpoint: Path) -> None:
    """Unavailable unless the Kafka that answers is the one whose offsets the checkpoint holds; one that holds none, or does not say, takes it."""
    file, found = checkpoint / "kafka.json", kafka.cluster_id(settings)
    known = json.loads(file.read_text())["cluster"] if file.is_file() else ""
    if not found or found == known:
        return
    if known and Checkpoint(checkpoint).planned >= 0:
        raise Unavailable(
            f"the checkpoint {checkpoint} is of the Kafka cluster {known}, and at {settings.bootstrap_servers} is {found}; "
            "set [kafka] bootstrap_servers to the former, or move the checkpoint away if that Kafka is gone for good"
        )
    checkpoint.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps({"cluster": found}))
    part.rename(file)


def _kafka(job: Job, offsets: str) -> DataFrame:
    most = str(most_alerts(job.settings, job.survey))
    patience = {"minOffsetsPerTrigger": most, "maxTriggerDelay": f"{int(1000 * job.patience_seconds)}ms"} if job.patience_seconds else {}
    options = {
        **kafka.spark_options(job.settings),
        **FETCH,
        **patience,
        "subscribePattern": f"^(?:{job.survey.topic_pattern})$",  # Spark looks for it anywhere in the name
        "startingOffsets": offsets or "earliest",  # of no consequence where there is a checkpoint
        "maxOffsetsPerTrigger": most,
        "failOnDataLoss": "true",
    }
    return job.spark.readStream.format("kafka").options(**options).load()


def most_alerts(settings: Settings, survey: Survey) -> int:
    """Most alerts of one batch: as set, and on one machine no more than its memory is for."""
    most, memory = settings.ingest.max_offsets_per_trigger, re.fullmatch(r"(\d+)([kmgt]?)b?", settings.spark.driver_memory.lower())
    if not settings.spark.master.startswith("local") or memory is None:
        return most
    size = int(memory[1]) << 10 * " kmgt".index(memory[2] or " ")
    return max(1, min(most, size // SHARE // (survey.packet_kb << 10)))


def _table(job: Job, name: str) -> DataFrame:
    from pyspark.sql.types import StructType

    path = job.lake.table(name) / f"survey={job.survey.name}"
    path.mkdir(parents=True, exist_ok=True)
    # each survey has its own packet, so its folder is read alone; Spark's file stream takes that folder as the root of partitions
    fields = [field for field in table_schema(job, name) if field.name != "survey"]
    reader = job.spark.readStream.schema(StructType(fields)).option("maxFilesPerTrigger", "16")
    reader = reader.option("pathGlobFilter", _names(job, path))
    return reader.parquet(str(path)).selectExpr("*", f"'{job.survey.name}' survey")


def _names(job: Job, folder: Path) -> str:
    """Names of the files that a job reads, as a glob: batches' files, and those that were merged before it first began; later ones hold nothing new."""
    file = job.checkpoint / MERGED
    if not any((job.checkpoint / "offsets").glob("[0-9]*")):
        merged = {merged_id(found.name) for found in folder.glob(f"night=*/{COMPACTED}*.parquet")}
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(sorted(merged)))
        part.rename(file)
    known = json.loads(file.read_text()) if file.is_file() else []
    return f"{{{','.join([BATCH_FILES.removesuffix('.parquet'), *(f'{one}-*' for one in known)])}}}.parquet"


def rows(job: Job, name: str, nights: Iterable[int]) -> DataFrame:
    """Some nights of a table as they stand, in the columns of today: the same rows that the stream gives."""
    from pyspark.sql.types import StructType

    path = job.lake.table(name) / f"survey={job.survey.name}"
    fields = [field for field in table_schema(job, name) if field.name != "survey"]
    reader = job.spark.read.schema(StructType(fields)).option("basePath", str(path)).option("ignoreMissingFiles", "false")
    return reader.parquet(*(f"{path}/night={night}" for night in nights)).selectExpr("*", f"'{job.survey.name}' survey")


def table_schema(job: Job, name: str) -> StructType:
    """Schema of a table as this version of the broker writes it."""
    frame = job.decoder.decode(job.spark.createDataFrame([], RECORD))
    if name == "raw":
        return frame.drop("lightcurve").schema
    enriched = steps.enrich(frame, steps.science_chain(job.settings, job.survey.name), job.survey).drop("reason", "value")
    return enriched.selectExpr("*", "cast(null as array<string>) topics").schema


def positions_frame(job: Job, positions: pd.DataFrame) -> DataFrame:
    """The records at some Kafka positions, read again (origin, value)."""
    options = kafka.spark_options(job.settings)
    spans = {}
    for topic, part in positions.groupby("topic"):
        spans[str(topic)] = {str(p): (int(o.min()), int(o.max()) + 1) for p, o in part.groupby("partition")["offset"]}
    first = {t: {p: span[0] for p, span in parts.items()} for t, parts in spans.items()}
    last = {t: {p: span[1] for p, span in parts.items()} for t, parts in spans.items()}
    frame = (
        job.spark.read.format("kafka")
        .options(**options, assign=json.dumps({t: [int(p) for p in parts] for t, parts in spans.items()}))
        .options(startingOffsets=json.dumps(first), endingOffsets=json.dumps(last))
        .load()
    )
    wanted = frame.where(at(zip(positions["topic"], positions["partition"], positions["offset"], strict=True)))
    return wanted.selectExpr("value", "named_struct('topic', topic, 'partition', partition, 'offset', offset, 'timestamp', unix_millis(timestamp)) origin")
