"""Jobs `night`, `live`, `enrich`, `distribute` and `index`: a batch is enriched once, kept in memory, and fanned out to its sinks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fink_broker import filter_function, hbase, isolation, kafka, message
from fink_broker.alert import AGAIN, Decoder
from fink_broker.filters import Filter, FilterSet, failing, route, topic_name
from fink_broker.frame import names
from fink_broker.jobs import attempt, fault, intake, sources, steps
from fink_broker.jobs.job import Batch, Job
from fink_broker.jobs.plans import Plan
from fink_broker.jobs.template import Template
from fink_broker.jobs.threads import together
from fink_broker.ledger import positions
from fink_broker.log import Logger
from fink_broker.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery
    from pyspark.sql.types import StructType


log = Logger("job")


class FanOut(Job):
    """Alerts with their new columns to topics, HBase and the science table."""

    def __init__(self, spark: SparkSession, settings: Settings, plan: Plan, survey: str) -> None:
        super().__init__(spark, settings, plan, survey)
        self.chain = steps.science_chain(settings, survey, history=True) if "science" in plan.steps else None
        self.filters = FilterSet(settings.filters_path, survey, settings) if "route" in plan.steps else None
        self.failures = filter_function.counter(spark) if self.filters else None
        self.attempts = attempt.Attempts(self.checkpoint / "attempts")
        self._suspended: set[tuple[str, str]] = set()  # name and version of filters that made a batch fail
        self._partitions: dict[str, int] = {}  # of topics that are known to exist
        self._before: attempt.Published | None = None  # what the topics hold from before the checkpoint was lost
        self._template = Template()
        self._beside = ThreadPoolExecutor(2)  # for two of the three kinds of sinks
        self._layout: StructType | None = None  # of rows with the whole packet
        self._layout_text = ""  # the same as JSON
        self._layout_of = ""  # the union schema that it goes with

    @property
    def tables(self) -> tuple[tuple[str, ...], ...]:
        """The science table, and where the job is `ingest` too, what that fills."""
        return (("science",), intake.TABLES) if "raw" in self.plan.sinks else (("science",),)

    def start(self) -> StreamingQuery:
        """Start the query, with HBase's tables made and nothing taken as known of the topics."""
        self._partitions, self._before, self._template = {}, None, Template()
        if "hbase" in self.plan.sinks or (self.chain and self.chain.history and self.chain.earlier):
            hbase.create_tables(self.settings)
        return super().start()

    def run(self, records: DataFrame, batch: Batch) -> dict[str, Any]:
        """Enrich and route in one pass that fills the cache; then topics, HBase and the lake side by side."""
        earlier = self.attempts.read(batch.number) if batch.first and self.filters else None
        rules = self._rules(earlier)
        with batch.timed("science"):
            made_of = (self.chain, tuple(rules), *self.decoder.state, tuple(self.faults.known))
            frame = computed(self._template.frame(records, made_of, lambda records: self._add(self.rows(records), rules)))
            parts, facts = [(frame, [*self.decoder.fast])], self._facts(frame, self.decoder.fast)
            if (facts["reason"] == AGAIN).any():
                again, located = self.decoder.decode_again(frame.where(f"reason = '{AGAIN}'"))
                again = computed(self._add(again, rules))
                parts.append((again, self.decoder.met))
                facts = _concat([facts[facts["reason"] != AGAIN], self._facts(again, self.decoder.met)])
                located.unpersist()
                self.remember()
        try:
            drop = self.duplicates(facts, batch)
            good = facts[facts["reason"].isna() & ~facts.index.isin(drop)]
            alerts = Alerts([(self.without(part.where("reason is null"), facts.loc[list(drop)]), versions) for part, versions in parts], self.decoder)
            if len(good):
                self._sinks(alerts, good, batch, rules, earlier)
            if "raw" in self.plan.sinks:
                self._to_quarantine([part for part, _ in parts], facts, drop, batch)
        finally:
            for part, _ in parts:
                forget(part)
        counts = {**self.counts(facts, good, batch), "by_night": self._by_night(self.uncounted(good, self.plan.works[0]))}
        if "raw" in self.plan.sinks:
            for night, came in intake.told(self, facts, drop, batch, counts).items():
                counts["by_night"].setdefault(night, {}).update(came)
        return counts

    def blame(self, records: DataFrame, again: bool) -> bool:
        """Packets first, then modules, then filters: each step is looked at only when those before it are not at fault."""
        if not super().blame(records, again):
            return False
        frame = self.rows(records)
        if self.chain:
            frame = steps.enrich(frame, self.chain, self.survey)
            if not fault.works(frame.select(*self.chain.names)):
                if again:
                    self._switch_off(records)
                return True
        if self.filters is not None:
            for name, why in failing(frame, self.filters.filters, self.survey).items():
                self._suspended |= {(rule.name, rule.version) for rule in self.filters.filters if rule.name == name}
                self.filters.suspend(name, why)
        return True

    def _switch_off(self, records: DataFrame) -> None:
        """Run the modules one by one in processes of their own, and leave out those that end or hang them."""
        if self.chain is None:
            return
        inputs, selected = steps.given(rows := self.rows(records), self.chain, self.survey)
        frame = rows.select(inputs.alias("c"), selected.alias("m")).select("c.*", "m.*").toPandas()
        columns = [frame[[f"{letter}{place}" for place in range(len(names))]].set_axis(list(names), axis=1)
                   for letter, names in (("c", self.chain.columns), ("m", self.chain.conditions))]  # fmt: skip
        culprits = isolation.find_culprits(self.chain, columns[0], columns[1], self.settings.science.budget_seconds * 2)
        self.chain = isolation.switched_off(self.chain, culprits)
        for one in culprits:
            log.error("module switched off", module=one.module, reason=str(one))

    def _by_night(self, good: pd.DataFrame) -> dict[str, dict[str, int]]:
        """What was done with the alerts of each night."""
        found: dict[str, dict[str, int]] = {}
        for night, rows in good.groupby("night"):
            counts = found.setdefault(str(night), {})
            counts |= {stage: len(rows) for sink, stage in (("science", "science"), ("hbase", "indexed")) if sink in self.plan.sinks}
            if "topics" in self.plan.sinks:
                counts["matched"] = int((rows["topics"].map(len) > 0).sum())
                counts |= {f"published/{topic}": int(n) for topic, n in rows["topics"].explode().dropna().value_counts().items()}
            counts |= {f"failed/{name[6:]}": int(rows[name].sum()) for name in map(str, rows.columns) if name.startswith("error_") and rows[name].any()}
        return found

    def _rules(self, earlier: attempt.Attempt | None) -> list[Filter]:
        """The filters of this batch; the decoder is told what they and the modules read of a packet."""
        rules: list[Filter] = []
        texts = steps.reads(self.chain, self.survey) if self.chain else []
        if self.filters is not None:
            if self._layout is None or self._layout_of != self.decoder.union:
                self._layout_of = self.decoder.union
                whole = Decoder(self.survey, self.library).decode(self.spark.createDataFrame([], sources.RECORD)).drop("value")
                self._layout = (steps.enrich(whole, self.chain, self.survey) if self.chain else whole).schema
                self._layout_text = self._layout.json()
            rules = self.filters.current(self._layout)
            if earlier:  # the same filters as at the first attempt, so that it chooses the same alerts
                rules = [rule for rule in earlier.filters if (rule.name, rule.version) not in self._suspended]
            for rule in rules:
                texts += [rule.where] if rule.where else filter_function.bind(rule, self._layout, self.survey).values()
            texts += message.reads(self.survey, self.decoder.fields)
        if self.plan.source == "kafka":
            self.decoder.need(texts)
        return rules

    def _add(self, frame: DataFrame, rules: list[Filter]) -> DataFrame:
        if self.chain:
            frame = steps.enrich(frame, self.chain, self.survey)
        return route(frame, rules, self.survey, self.failures) if self.filters else frame

    def _sinks(self, alerts: Alerts, good: pd.DataFrame, batch: Batch, rules: list[Filter], earlier: attempt.Attempt | None) -> None:
        staged: dict[str, Path] = {}
        works: list[Callable[[], None]] = []
        if "topics" in self.plan.sinks:
            # what is said of the attempt stands before any sink has anything of it
            works.append(self._sending(alerts, good, batch, rules, earlier))
        if "hbase" in self.plan.sinks:
            works.append(lambda: self._to_hbase(alerts, batch))
        if "science" in self.plan.sinks:
            works.append(lambda: staged.update(self._staged(alerts, good, batch)))
        together(self.spark, self._beside, works)
        for table, folder in staged.items():
            with batch.timed("store"):
                placed = self.lake.commit(folder, table)
                if batch.first:
                    self.lake.remove(table, batch.prefix, but=placed)

    def _sending(self, alerts: Alerts, good: pd.DataFrame, batch: Batch, rules: list[Filter], earlier: attempt.Attempt | None) -> Callable[[], None]:
        """What sends the messages; their topics exist, and the attempt is on record."""
        counts: dict[str, int] = {str(topic): int(n) for topic, n in good["topics"].explode().dropna().value_counts().items()}
        batch.counts["published"] = counts
        if not counts:
            return lambda: None
        with batch.timed("publish"):
            if new := [topic for topic in sorted(counts) if topic not in self._partitions]:
                self._partitions |= kafka.ensure_topics(self.settings, new)
            marks = {"checkpoint": self.checkpoint_id, "batch": str(batch.number)}
            done = self._already(good, rules, earlier, marks)
            if earlier is None:
                self.attempts.write(batch.number, rules, self.chain.provenance if self.chain else {})

        def send() -> None:
            with batch.timed("publish"):
                narrow = len(alerts.parts) == 1 and not done and _in_order(good)
                sent = [rule for rule in rules if topic_name(rule, self.survey.name) in counts]
                rows = alerts.sendable(lambda part: attempt.without_published(part, done).where("size(topics) > 0"), good, sent)
                made = message.message(rows, self.survey, sent, self._partitions, marks, narrow, self._layout_text, alerts.bodies)
                kafka.publish(made, self.settings)

        return send

    def _already(self, good: pd.DataFrame, rules: list[Filter], earlier: attempt.Attempt | None, marks: dict[str, str]) -> attempt.Published:
        """What the topics hold of this batch: from an attempt that was cut off, or from before the checkpoint was lost."""
        topics = [topic_name(rule, self.survey.name) for rule in rules]
        done: attempt.Published = attempt.published(self.settings, topics, earlier.time, marks) if earlier else {}
        if self.recovery and self.recovery.covers(positions(_places(good))):
            if self._before is None:
                self._before = attempt.published(self.settings, topics, self.recovery.since)
            for place in _places(good):
                if place in self._before:
                    done.setdefault(place, []).extend(self._before[place])
        return done

    def _to_hbase(self, alerts: Alerts, batch: Batch) -> None:
        with batch.timed("index"):
            batch.counts["indexed"] = hbase.write(self.settings, hbase.index_rows(alerts.lean(), lake_prefix=batch.prefix))

    def _staged(self, alerts: Alerts, good: pd.DataFrame, batch: Batch) -> dict[str, Path]:
        """The folders of files by table, not yet in their places."""

        def kept(table: str) -> DataFrame:
            return alerts.whole(lambda part: self.without(part, self.held(good, table))).drop("reason", "value")

        with batch.timed("store"):
            rows = kept("science")
            if not self.filters:  # the table has the same columns whichever job writes it
                rows = rows.selectExpr("*", "cast(null as array<string>) topics")
            staged = {"science": self.lake.stage(rows, "science", batch.prefix)}
            if "raw" in self.plan.sinks:
                ours = ("lightcurve", "provenance", "topics", *(self.chain.names if self.chain else ()))
                if self.recovery:  # the tables may hold different ones of these alerts already
                    staged["raw"] = self.lake.stage(kept("raw").drop(*ours), "raw", batch.prefix)
                else:
                    staged["raw"] = self.lake.stage_columns(self.spark, staged["science"], "raw", batch.prefix, [n for n in names(rows) if n not in ours])
        return staged

    def _to_quarantine(self, parts: list[DataFrame], facts: pd.DataFrame, judged: dict[int, str], batch: Batch) -> None:
        bad: intake.Named = []
        if facts["reason"].notna().any():
            of_all = [part.where(f"reason is not null and reason <> '{AGAIN}'").selectExpr("origin", "reason", "value") for part in parts]
            bad = [(f"bad{'a' * place}", frame) for place, frame in enumerate(of_all)]
        placed = intake.quarantine(self, bad, facts, judged, batch)
        if batch.first:
            self.lake.remove("quarantine", batch.prefix, but=placed)

    def _facts(self, frame: DataFrame, versions: Sequence[str]) -> pd.DataFrame:
        """The few values of each row that the driver needs; computing them fills the cache."""
        errors = [f"{name}.error is not null error_{name}" for name in self.chain.names] if self.chain else []
        topics = ["topics"] if self.filters else ["cast(array() as array<string>) topics"]
        who = "coalesce(object_id, ss_object_id, alert_id) who"
        intact = message.intact(self.survey, self.decoder.bodies(versions), self.decoder.fields) if self.filters else "false"
        told = frame.selectExpr("alert_id", who, f"{intact} intact", "mjd", "cast(night as string) night", "content", "reason", "origin.*", *topics, *errors)
        # not toPandas, which warns of itself when a row cannot be computed; numbers of 64 bits stay whole beside nulls
        return told.toArrow().to_pandas(integer_object_nulls=True)


class Alerts:
    """The usable alerts of a batch: what was read in the fast way and what was not, each with the versions of its bodies."""

    def __init__(self, parts: list[tuple[DataFrame, list[str]]], decoder: Decoder) -> None:
        self.parts, self.decoder = parts, decoder

    def lean(self) -> DataFrame:
        """All of them, with as much of the packet as was needed."""
        return _union([part.drop("packet", "body") for part, _ in self.parts])

    def whole(self, choose: Callable[[DataFrame], DataFrame]) -> DataFrame:
        """Some of them, with the complete packet."""
        return _union([self.decoder.whole(choose(part), versions) for part, versions in self.parts])

    @property
    def bodies(self) -> dict[str, str]:
        """Schemas of the packets whose bytes are at hand, see `message.intact`; none for alerts that were read from a table."""
        return self.decoder.bodies([version for _, versions in self.parts for version in versions])

    def sendable(self, choose: Callable[[DataFrame], DataFrame], good: pd.DataFrame, rules: Sequence[Filter]) -> DataFrame:
        """Some of them, with what messages of these filters are made of: packets are read whole only where their bytes will not do."""
        survey, bodies = self.decoder.survey, self.bodies
        lite = [topic_name(rule, survey.name) for shape in message.shapes(rules) if not shape.everything for rule in shape.filters]
        if not bodies:
            return self.whole(choose)
        if not lite and good["intact"].all():
            return _union([choose(part) for part, _ in self.parts])
        needed = f"not intact or arrays_overlap(topics, cast(array({', '.join(repr(name) for name in lite)}) as array<string>))"
        marked = [(choose(part).selectExpr("*", f"{message.intact(survey, bodies, self.decoder.fields)} intact"), versions) for part, versions in self.parts]
        return _union([self.decoder.whole(part, versions, needed, keep=True) for part, versions in marked])


def _union(frames: list[DataFrame]) -> DataFrame:
    return reduce(lambda one, other: one.unionByName(other), frames)


def computed(frame: DataFrame) -> DataFrame:
    """The frame as rows in memory, filled when they are first read: to Spark's planner a leaf, while a cached frame is planned and compared whole each time."""
    return frame.localCheckpoint(eager=False)


def forget(rows: DataFrame) -> None:
    """Free the memory of `computed` rows."""
    rows._jdf.queryExecution().logical().rdd().unpersist(False)


def _places(facts: pd.DataFrame) -> list[kafka.Origin]:
    return list(zip(facts["topic"], facts["partition"].map(int), facts["offset"].map(int), strict=True))


def _in_order(good: pd.DataFrame) -> bool:
    """Whether each object's alerts stand in one partition of the input in order of time, so that sending needs no shuffle."""
    several = good[good["who"].duplicated(keep=False)]
    if several.empty:
        return True
    by = several.sort_values(["who", "offset"]).groupby("who")
    return bool((by["partition"].nunique() == 1).all() and (by["topic"].nunique() == 1).all() and by["mjd"].is_monotonic_increasing.all())


def _concat(frames: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(frames, ignore_index=True)
