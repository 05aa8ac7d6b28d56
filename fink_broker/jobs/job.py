"""One streaming query: batches of alerts through a plan's steps into its sinks, each alert once."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fink_broker import filter_function, hbase, kafka, message
from fink_broker.alert import AGAIN, Decoder
from fink_broker.errors import BadPacket
from fink_broker.filters import FilterSet, failing, route
from fink_broker.jobs import sources, steps
from fink_broker.jobs.plans import Plan
from fink_broker.lake import Lake
from fink_broker.ledger import Entry, Ledger, Seen, positions
from fink_broker.log import Logger, bound
from fink_broker.schema import SchemaLibrary
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
    prefix: str
    first: bool  # the first attempt after a start: files of an earlier attempt may lie in the lake
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


class Job:
    """A plan for one survey, ready to start as a streaming query."""

    def __init__(self, spark: SparkSession, settings: Settings, plan: Plan, survey: str) -> None:
        self.spark, self.settings, self.plan = spark, settings, plan
        self.survey = load_survey(settings.schemas_path, survey)
        self.library = SchemaLibrary.load(settings.schemas_path, survey, settings.kafka.schema_registry_url)
        self.name = f"{plan.name}-{survey}"
        self.checkpoint = settings.home / "checkpoints" / plan.name / survey
        self.header_file = settings.home / "headers" / f"{survey}.json"
        self.decoder = Decoder(self.survey, self.library, _read_headers(self.header_file))
        self.lake = Lake(settings)
        self.ledger = Ledger(settings.home)
        self.seen = Seen(settings.home / "seen" / f"{self.name}.sqlite") if plan.source == "kafka" else None
        self.chain = steps.science_chain(settings, survey) if "science" in plan.steps else None
        self.filters = FilterSet(settings.filters_path, survey, settings) if "topics" in plan.sinks or "route" in plan.steps else None
        self.idle = threading.Event()
        self.stopping = threading.Event()
        self.fresh = True
        self.failures = filter_function.counter(spark) if self.filters else None
        self.cause = ""
        self._pool = ThreadPoolExecutor(2, thread_name_prefix=self.name)

    def start(self) -> StreamingQuery:
        """Start the query; it runs until it is stopped or fails."""
        self.fresh, stream = True, sources.stream(self)
        if "hbase" in self.plan.sinks:
            hbase.create_tables(self.settings)
        writer = stream.writeStream.foreachBatch(self.batch).queryName(self.name).option("checkpointLocation", str(self.checkpoint))
        if self.settings.ingest.trigger_seconds:
            writer = writer.trigger(processingTime=f"{self.settings.ingest.trigger_seconds} seconds")
        log.info("query started", job=self.plan.name, survey=self.survey.name)
        return writer.start()

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
        try:
            self._batch(records, number)
        except Exception as error:
            self.cause = one_line(error)
            self._blame(records)
            log.debug("batch failed", job=self.plan.name, batch=number, trace=traceback.format_exc())
            raise

    def _blame(self, records: DataFrame) -> None:
        """After a failed batch: suspend the filters that cannot be evaluated on its alerts, so that the next attempt goes on."""
        if self.filters is None or "route" not in self.plan.steps:
            return
        with contextlib.suppress(Exception):
            frame = self._rows(records)
            frame = steps.enrich(frame, self.chain, self.survey) if self.chain else frame
            for name, why in failing(frame, self.filters.filters, self.survey).items():
                self.filters.suspend(name, why)

    def _batch(self, records: DataFrame, number: int) -> None:
        started = time.time()
        batch = Batch(number, f"{self.checkpoint_id}-{number:08d}", self.fresh)
        with bound(job=self.plan.name, survey=self.survey.name, batch=number):
            facts = self._ingest(records, batch) if self.plan.sinks == ("raw",) else self._fan_out(records, batch)
            entry = Entry(
                job=self.plan.name, survey=self.survey.name, checkpoint=self.checkpoint_id, batch=number, time=time.time(),
                seconds=round(time.time() - started, 3), stages=batch.seconds, **facts,
            )  # fmt: skip
            if entry.rows_in:
                self.ledger.write(entry)
                log.info("batch done", rows_in=entry.rows_in, rows_out=entry.rows_out, duplicates=entry.duplicates,
                         quarantined=sum(entry.quarantined.values()), published=sum(entry.published.values()),
                         seconds=entry.seconds, **batch.seconds)  # fmt: skip
        self.fresh = False
        if number % 50 == 0:
            self.lake.warn_of_space()
            if self.seen:
                self.seen.forget(time.time() - self.settings.ingest.duplicate_days * 86400)

    # live, enrich, distribute, index

    def _fan_out(self, records: DataFrame, batch: Batch) -> dict[str, Any]:
        with _timed(batch, "science"):
            frame = self._add(self._rows(records)).persist()
            parts, facts = [frame], self._facts(frame)
            if (facts["reason"] == AGAIN).any():
                again, located = self.decoder.decode_again(frame.where(f"reason = '{AGAIN}'"))
                again = self._add(again).persist()
                more = self._facts(again)
                self._learn(located)
                facts = _concat([facts[facts["reason"] != AGAIN], more])
                parts.append(again)
        try:
            drop = self._duplicates(facts, batch)
            good = facts[facts["reason"].isna() & ~facts.index.isin(drop)]
            alerts = _union([self._without(part.where("reason is null"), facts.loc[list(drop)]) for part in parts])
            if len(good):
                self._sinks(alerts, good, batch)
        finally:
            for part in parts:
                part.unpersist()
        failed = {str(name)[6:]: int(good[name].sum()) for name in map(str, good.columns) if name.startswith("error_") and good[name].any()}
        return {**batch.counts, **self._counts(facts, good), "failed_modules": failed}

    def _rows(self, records: DataFrame) -> DataFrame:
        if self.plan.source == "kafka":
            return self.decoder.decode(records)
        if "derive" in self.plan.steps:
            return self.decoder.derive(records)
        return records.selectExpr("*", "cast(null as string) reason", "cast(null as binary) value")

    def _add(self, frame: DataFrame) -> DataFrame:
        if self.chain:
            frame = steps.enrich(frame, self.chain, self.survey)
        if "route" in self.plan.steps and self.filters:
            frame = route(frame, self.filters.current(frame.schema), self.survey, self.failures)
        return frame

    def _sinks(self, alerts: DataFrame, good: pd.DataFrame, batch: Batch) -> None:
        if "topics" in self.plan.sinks:
            with _timed(batch, "publish"):
                batch.counts["published"] = self._publish(alerts, good, batch)
        rest = [self._pool.submit(getattr(self, f"_to_{sink}"), alerts, batch) for sink in self.plan.sinks if sink != "topics"]
        for future in rest:
            future.result()

    def _publish(self, alerts: DataFrame, good: pd.DataFrame, batch: Batch) -> dict[str, int]:
        published: dict[str, int] = {str(topic): int(n) for topic, n in good["topics"].explode().dropna().value_counts().items()}
        if published and self.filters:
            kafka.ensure_topics(self.settings, sorted(published))
            marks = {"checkpoint": self.checkpoint_id, "batch": str(batch.number)}
            matched = alerts.where("size(topics) > 0")
            kafka.publish(message.message(matched, self.survey, self.filters.filters, self.settings, marks), self.settings)
        return published

    def _to_hbase(self, alerts: DataFrame, batch: Batch) -> None:
        with _timed(batch, "index"):
            batch.counts["indexed"] = hbase.write(self.settings, hbase.index_rows(alerts, lake_prefix=batch.prefix))

    def _to_science(self, alerts: DataFrame, batch: Batch) -> None:
        with _timed(batch, "store"):
            kept = alerts.drop("reason", "value", "topics")
            staged = self.lake.stage(kept, "science", batch.prefix)
            self.lake.commit(staged, "science", replace=batch.prefix if batch.first else "")

    # ingest

    def _ingest(self, records: DataFrame, batch: Batch) -> dict[str, Any]:
        """Raw table in one pass: good and doubtful rows are staged side by side, the doubtful ones read again."""
        with _timed(batch, "store"):
            frame = self.decoder.decode(records).drop("lightcurve")
            staged = self._stage_raw(frame, batch, "")
            facts = self._staged_facts(staged)
            if (staged / "kind=doubtful").is_dir():
                doubtful = self.spark.read.parquet(str(staged / "kind=doubtful"))
                again, located = self.decoder.decode_again(doubtful)
                more = self._stage_raw(again.drop("lightcurve"), batch, "again")
                self._learn(located)
                facts = _concat([facts[facts["reason"] != AGAIN], self._staged_facts(more)])
                staged_all = [staged, more]
            else:
                staged_all = [staged]
            drop = self._duplicates(facts, batch)
            changed = {index: reason for index, reason in drop.items() if reason == "changed"}
            good = facts[facts["reason"].isna() & ~facts.index.isin(drop)]
            if batch.first:
                for table in ("raw", "quarantine"):
                    self.lake.remove(table, batch.prefix)
            for folder in staged_all:
                self._place(folder, facts.loc[list(drop)], batch)
            if changed:
                records = sources.positions_frame(self, facts.loc[list(changed)])
                self._quarantine(records, "'changed: the same alert id came before with other bytes'", batch, "changed")
        counts = {**batch.counts, **self._counts(facts, good)}
        if changed:
            counts["quarantined"]["changed"] = len(changed)
        if self.settings.ingest.on_bad_alert == "fail" and counts["quarantined"]:
            raise BadPacket(f"bad packets in batch {batch.number}: {counts['quarantined']}; [ingest] on_bad_alert is 'fail'")
        return counts

    def _stage_raw(self, frame: DataFrame, batch: Batch, suffix: str) -> Path:
        kind = f"case when reason is null then 'good' when reason = '{AGAIN}' then 'doubtful' else 'bad' end kind"
        return self.lake.stage(frame.selectExpr("*", kind), f"ingest-{self.survey.name}{suffix}", batch.prefix, ("kind", "survey", "night"))

    def _staged_facts(self, staged: Path) -> pd.DataFrame:
        import pyarrow.parquet as pq

        columns = ["alert_id", "content", "reason", "origin"]
        tables = [pq.ParquetFile(file).read(columns=columns).to_pandas() for file in sorted(staged.rglob("*.parquet"))]
        facts = _concat(tables) if tables else _no_facts()
        origin = facts.pop("origin")
        for name in ("topic", "partition", "offset", "timestamp"):
            facts[name] = [row[name] for row in origin]
        return facts

    def _place(self, staged: Path, drop: pd.DataFrame, batch: Batch) -> None:
        """Move staged rows to their tables: good ones to raw, bad ones to the quarantine, those to drop nowhere."""
        good, bad = staged / "kind=good", staged / "kind=bad"
        if bad.is_dir():
            frame = self.spark.read.option("basePath", str(bad)).parquet(str(bad))
            self._quarantine(frame, "reason", batch, f"{staged.name}-bad")
        if not good.is_dir():
            return
        if len(drop):
            frame = self.spark.read.option("basePath", str(good)).parquet(str(good))
            kept = self.lake.stage(self._without(frame, drop), "raw", batch.prefix)
            self.lake.commit(kept, "raw")
        else:
            self.lake.commit(good, "raw")

    def _quarantine(self, frame: DataFrame, reason: str, batch: Batch, name: str) -> None:
        night = "cast(date_format(from_unixtime(origin.timestamp / 1000), 'yyyyMMdd') as int) night"
        kept = frame.selectExpr(f"'{self.survey.name}' survey", night, "origin", f"{reason} reason", "value").persist()
        kafka.publish_quarantine(kept, self.survey.name, self.settings)
        self.lake.commit(self.lake.stage(kept, "quarantine", f"{batch.prefix}-{name}"), "quarantine")
        kept.unpersist()

    # shared

    def _facts(self, frame: DataFrame) -> pd.DataFrame:
        """The few values of each row that the driver needs; computing them fills the cache."""
        errors = [f"{name}.error is not null error_{name}" for name in self._modules(frame)]
        topics = ["topics"] if "topics" in frame.columns else ["cast(array() as array<string>) topics"]
        content = ["content"] if "content" in frame.columns else ["0L content"]
        return frame.selectExpr("alert_id", "night", *content, "reason", "origin.*", *topics, *errors).toPandas()

    def _modules(self, frame: DataFrame) -> list[str]:
        if self.chain is None:
            return []
        return [name for name in dict.fromkeys(module for module, _, _ in self.chain.fields) if name in frame.columns]

    def _duplicates(self, facts: pd.DataFrame, batch: Batch) -> dict[int, str]:
        """Index of each row that came before, with "duplicate" or "changed"."""
        if self.seen is None:
            return {}
        good = facts[facts["reason"].isna()]
        rows = zip(good["alert_id"], good["topic"], good["partition"].map(int), good["offset"].map(int), good["content"].map(int),
                   good["timestamp"] / 1000, strict=True)  # fmt: skip
        judged = {int(good.index[index]): verdict for index, verdict in self.seen.judge(rows)}
        batch.counts["duplicates"] = sum(verdict == "duplicate" for verdict in judged.values())
        return judged

    def _counts(self, facts: pd.DataFrame, good: pd.DataFrame) -> dict[str, Any]:
        reasons = Counter(str(reason).split(":")[0] for reason in facts["reason"].dropna())
        return {
            "rows_in": len(facts),
            "rows_out": len(good),
            "quarantined": dict(reasons),
            "positions": positions(zip(facts["topic"], facts["partition"].map(int), facts["offset"].map(int), strict=True)),
            "nights": {str(night): int(n) for night, n in good["night"].value_counts().items()} if "night" in good else {},
        }

    def _without(self, frame: DataFrame, drop: pd.DataFrame) -> DataFrame:
        """The frame less the rows at these Kafka positions."""
        if drop.empty:
            return frame
        keys = [f"{t}/{p}/{o}" for t, p, o in zip(drop["topic"], drop["partition"], drop["offset"], strict=True)]
        from pyspark.sql import functions as F

        return frame.where(~F.concat_ws("/", "origin.topic", "origin.partition", "origin.offset").isin(keys))

    def _learn(self, located: DataFrame) -> None:
        new = self.decoder.learn(located)
        located.unpersist()
        if new:
            known = {**{h.crc32: h for h in _read_headers(self.header_file)}, **{h.crc32: h for h in new}}
            self.header_file.parent.mkdir(parents=True, exist_ok=True)
            self.header_file.write_text(json.dumps([vars(header) for header in known.values()]))
            log.info("container headers learned", versions=",".join(header.version for header in new))


def one_line(error: BaseException) -> str:
    """What an error says in one line: ours as it is, a Python worker's last line, Java's first line without its trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kinds = ("Error: ", "Exception: ", "Unavailable: ", "BadPacket: ", "BrokenContract: ")
    told = [line for line in lines if any(kind in line for kind in kinds) and not line.startswith(("at ", "File "))]
    if type(error).__module__.startswith("fink_broker"):
        return str(error)
    return f"{type(error).__name__}: {(told[-1:] or lines[:1] or ['no message'])[0]}"[:500]


class _timed:
    def __init__(self, batch: Batch, name: str) -> None:
        self.batch, self.name = batch, name

    def __enter__(self) -> None:
        self.start = time.time()

    def __exit__(self, *_: object) -> None:
        self.batch.seconds[self.name] = round(time.time() - self.start, 3)


def _read_headers(file: Path) -> list[Header]:
    return [Header(**header) for header in json.loads(file.read_text())] if file.is_file() else []


def _concat(frames: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(frames, ignore_index=True)


def _no_facts() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: [] for name in ("alert_id", "content", "reason", "origin")})


def _union(frames: list[DataFrame]) -> DataFrame:
    first, *rest = frames
    for frame in rest:
        first = first.unionByName(frame)
    return first
