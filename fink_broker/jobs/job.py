"""One streaming query: batches of alerts through a plan's steps into its sinks, each alert once."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fink_broker.alert import Decoder
from fink_broker.checkpoint import Checkpoint
from fink_broker.errors import FinkError, Unavailable, one_line
from fink_broker.frame import at
from fink_broker.jobs import fault, recovery, sources
from fink_broker.jobs.plans import Plan
from fink_broker.lake import Lake
from fink_broker.ledger import Entry, Ledger, positions
from fink_broker.log import Logger, bound
from fink_broker.schema import SchemaLibrary
from fink_broker.seen import Seen
from fink_broker.settings import Settings
from fink_broker.survey import Header, load_survey

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

log = Logger("job")


class Stopping(Exception):
    """Ends a query between two batches."""


@dataclass
class Batch:
    """What is known of the batch in hand."""

    number: int
    prefix: str  # of its files in the lake
    first: bool  # the first attempt after a start: an earlier attempt may have left files and messages
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    lost: list[fault.Place] = field(default_factory=list)  # packets left out, since they made it fail before

    @contextlib.contextmanager
    def timed(self, name: str) -> Any:
        """Adds the time that a stage took [s]."""
        start = time.time()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.time() - start, 3)


class Job(ABC):
    """A plan for one survey, ready to start as a streaming query."""

    def __init__(self, spark: SparkSession, settings: Settings, plan: Plan, survey: str) -> None:
        self.spark, self.settings, self.plan = spark, settings, plan
        self.name = f"{plan.name}-{survey}"
        self.checkpoint = settings.home / "checkpoints" / plan.name / survey
        recovery.take_over(settings.home, plan, survey)
        self._learned = settings.home / "headers" / f"{survey}.json"
        self._load(survey)
        self.lake = Lake(settings)
        self.ledger = Ledger(settings.home)
        self.seen = Seen(settings.home / "seen" / self.name, settings.ingest.duplicate_days) if plan.source == "kafka" else None
        self.faults = fault.Faults(settings.home / "faults" / f"{self.name}.json")
        self.recovery: recovery.Recovery | None = None
        self.idle = threading.Event()
        self.stopping = threading.Event()
        self.fresh = True
        self.cause = ""
        self._held: dict[str, recovery.Held] = {}  # by the first of the tables that go together
        self.since = 0.0  # when the batch in hand began [s since 1970]; 0 between two
        self._failed = (-1, 0)  # batch, how many times it failed in a row

    def _load(self, survey: str) -> None:
        """Read the survey's folder of schemas, and what was learned of its packets."""
        settings = self.settings
        about = load_survey(settings.schemas_path, survey)
        library = SchemaLibrary.load(settings.schemas_path, survey, settings.kafka.schema_registry_url, kept=settings.home / "schemas")
        headers, versions = _read_learned(self._learned)
        self.survey, self.library, self.decoder = about, library, Decoder(about, library, headers, versions)

    def _take_in_schemas(self) -> None:
        """Use versions that were added to the folder since the last batch; a job that reads a table starts again with its new columns."""
        if (now := SchemaLibrary.marks(self.settings.schemas_path, self.survey.name)) == self.library.files:
            return
        known = {schema.version for schema in self.library.writers()}
        try:
            self._load(self.survey.name)
        except (FinkError, ValueError, KeyError) as error:  # half written, or no good: told once
            self.library.files = now
            log.warning("schemas changed and cannot be read; going on with those of before", survey=self.survey.name, cause=one_line(error))
            return
        new = ", ".join(schema.version for schema in self.library.writers() if schema.version not in known)
        log.info("schemas read again", survey=self.survey.name, new=new)
        if self.plan.source != "kafka":
            raise Unavailable(f"the schemas of {self.survey.name} changed{': new version ' + new if new else ''}; the query starts again with their columns")

    @abstractmethod
    def run(self, records: DataFrame, batch: Batch) -> dict[str, Any]:
        """Bring one batch into the sinks; what the ledger is to know of it."""

    @property
    @abstractmethod
    def tables(self) -> tuple[tuple[str, ...], ...]:
        """Tables of the lake that together hold a row of every alert that was done, for each work of the plan."""

    def rows(self, records: DataFrame) -> DataFrame:
        """Alert rows of what the source gave."""
        if self.plan.source == "kafka":
            # every task compiles its projections anew, so no more tasks than can run at a time
            return self.decoder.decode(self.faults.left_out(records).coalesce(self.spark.sparkContext.defaultParallelism))
        if "derive" in self.plan.steps:
            return self.decoder.derive(records)
        return records.selectExpr("*", "cast(null as string) reason", "cast(null as binary) value")

    def start(self) -> StreamingQuery:
        """Start the query; it runs until it is stopped or fails."""
        self.fresh = True
        file = self.checkpoint / "recovery.json"
        offsets = ""
        if self.plan.source == "kafka":
            sources.same_kafka(self.settings, self.checkpoint)
            if (forgotten := Checkpoint(self.checkpoint).forget_untaken()) >= 0:
                log.info("a batch that was planned and never taken is planned anew", job=self.plan.name, survey=self.survey.name, batch=forgotten)
            if not any((self.checkpoint / "offsets").glob("[0-9]*")):
                offsets = recovery.begin(self.settings, self.survey.topic_pattern, self.tables, self.survey.name, file)
        self.recovery = recovery.read(file)
        self._held = {}
        if self.recovery:
            self._held = {several[0]: recovery.held(self.settings, several, self.survey.name, self.recovery.start) for several in self.tables}
        writer = sources.stream(self, offsets).writeStream.foreachBatch(self.batch).queryName(f"{self.name} of {self.settings.home}")
        writer = writer.option("checkpointLocation", str(self.checkpoint))
        if self.trigger_seconds:
            writer = writer.trigger(processingTime=f"{self.trigger_seconds} seconds")
        log.info("query started", job=self.plan.name, survey=self.survey.name)
        return writer.start()

    @property
    def trigger_seconds(self) -> float:
        """Least time between two batches [s]."""
        return self.settings.ingest.trigger_seconds

    @property
    def patience_seconds(self) -> float:
        """Longest that a batch waits to be full [s]."""
        return 0.0

    @property
    def checkpoint_id(self) -> str:
        """Id of the checkpoint, new with each checkpoint; files of the lake are named after it."""
        identifier: str = json.loads((self.checkpoint / "metadata").read_text())["id"]
        return identifier[:8]

    def batch(self, records: DataFrame, number: int) -> None:
        """One micro-batch, from records to durable sinks; what went wrong stays in `cause` for the supervisor."""
        if self.stopping.is_set():
            self.idle.set()
            raise Stopping
        self.since = time.time()
        try:
            self._take_in_schemas()
            self._batch(records, number)
        except Exception as error:
            self.cause = one_line(error)
            log.debug("batch failed", job=self.plan.name, batch=number, trace=traceback.format_exc())
            before, times = self._failed
            self._failed = number, times + 1 if before == number else 1
            if not isinstance(error, Unavailable) and not self.stopping.is_set():
                try:
                    self.blame(records, again=self._failed[1] > 1)
                except Exception as second:
                    log.warning("could not find out what is at fault", job=self.plan.name, batch=number, cause=one_line(second))
            raise
        finally:
            self.since = 0.0

    def blame(self, records: DataFrame, again: bool) -> bool:
        """Find out what made a batch fail, so that the next attempt goes on without it; whether its packets can be decoded.

        `again`: it was not its first failure, so packets that cannot be are left out from now on.
        """
        if fault.works(self.rows(records)):
            return True
        if again and self.plan.source == "kafka":
            self.faults.find(records, self.decoder.decode, self.cause)
        return False

    def _batch(self, records: DataFrame, number: int) -> None:
        started = time.time()
        if self.plan.source == "kafka":  # another one may have taken the port while ours was away
            sources.same_kafka(self.settings, self.checkpoint)
            Checkpoint(self.checkpoint).take(number)
        batch = Batch(number, f"{self.checkpoint_id}-{number:08d}", self.fresh)
        with bound(job=self.plan.name, survey=self.survey.name, batch=number):
            batch.lost = self.faults.among(records) if self.plan.source == "kafka" else []
            facts = self.run(records, batch)
            entry = Entry(
                job=self.plan.name, survey=self.survey.name, checkpoint=self.checkpoint_id, batch=number, time=time.time(),
                seconds=round(time.time() - started, 3), stages=batch.seconds, **{**facts, **batch.counts},
            )  # fmt: skip
            if entry.rows_in:
                for place, work in enumerate(self.plan.works):
                    self.ledger.write(replace(entry, job=work, stages={} if place else entry.stages))
                log.info("batch done", rows_in=entry.rows_in, rows_out=entry.rows_out, duplicates=entry.duplicates,
                         quarantined=sum(entry.quarantined.values()), published=sum(entry.published.values()),
                         seconds=entry.seconds, **batch.seconds)  # fmt: skip
        self.fresh = False
        if self.recovery and not self.recovery.covers(entry.positions):
            (self.checkpoint / "recovery.json").unlink(missing_ok=True)
            self.recovery, self._held = None, {}
        if self.seen and number % 50 == 0:
            self.seen.forget(time.time())

    def duplicates(self, facts: pd.DataFrame, batch: Batch) -> dict[int, str]:
        """Index of each row that came before, with "duplicate" or "changed"."""
        if self.seen is None:
            return {}
        good = facts[facts["reason"].isna()]
        rows = zip(good["alert_id"], good["topic"], good["partition"].map(int), good["offset"].map(int), good["content"].map(int),
                   good["timestamp"] / 1000, strict=True)  # fmt: skip
        judged = {int(good.index[index]): verdict for index, verdict in self.seen.judge(rows)}
        batch.counts["duplicates"] = sum(verdict == "duplicate" for verdict in judged.values())
        return judged

    def held(self, facts: pd.DataFrame, table: str) -> pd.DataFrame:
        """Those rows that a table (or those that go with it) holds already, from before the checkpoint was lost."""
        return facts[self.is_held(facts, table)]

    def uncounted(self, rows: pd.DataFrame, work: str) -> pd.DataFrame:
        """Those rows that the ledger was not told of already as some job's, under a checkpoint that was lost."""
        return rows[~self.ledger.counted(work, self.survey.name, self.checkpoint_id, rows)] if self.recovery else rows

    def is_held(self, places: pd.DataFrame, table: str) -> Any:
        """Which rows (topic, partition, offset) a table, or those that go with it, holds already."""
        return recovery.is_held(places, self._held.get(table, {}))

    def counts(self, facts: pd.DataFrame, good: pd.DataFrame, batch: Batch) -> dict[str, Any]:
        """What the ledger is told of a batch."""
        places = [*zip(facts["topic"], facts["partition"].map(int), facts["offset"].map(int), strict=True)]
        reasons = Counter(str(reason).split(":")[0] for reason in facts["reason"].dropna())
        return {
            "rows_in": len(facts) + len(batch.lost),
            "rows_out": len(good),
            "quarantined": dict(reasons) | ({fault.REASON: len(batch.lost)} if batch.lost else {}),
            "positions": positions([*places, *batch.lost]),
        }

    def without(self, frame: DataFrame, drop: pd.DataFrame) -> DataFrame:
        """The frame less the rows at these Kafka positions."""
        if drop.empty:
            return frame
        return frame.where(f"not {at(zip(drop['topic'], drop['partition'], drop['offset'], strict=True), 'origin.')}")

    def remember(self) -> None:
        """Keep what the decoder learned for the next start."""
        kept = {header.crc32: header for header in (*_read_learned(self._learned)[0], *self.decoder.learned)}
        self._learned.parent.mkdir(parents=True, exist_ok=True)
        part = self._learned.with_suffix(f".{self.plan.name}")
        part.write_text(json.dumps({"headers": [vars(header) for header in kept.values()], "versions": self.decoder.fast}))
        part.rename(self._learned)
        log.info("read in the fast way now", versions=",".join(self.decoder.fast), new_headers=len(self.decoder.learned))


def _read_learned(file: Any) -> tuple[list[Header], list[str]]:
    known = json.loads(file.read_text()) if file.is_file() else {}
    return [Header(**header) for header in known.get("headers", [])], known.get("versions", [])
