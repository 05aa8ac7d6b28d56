"""Past nights of the raw table through today's modules, beside the old results: LAKE/replay/<id>/survey=/night=."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fink_broker import filter_function, kafka, message, sky
from fink_broker.errors import ConfigError, NotFound
from fink_broker.filters import FilterSet, route, topic_name
from fink_broker.jobs import sources, steps
from fink_broker.jobs.fan_out import FanOut
from fink_broker.jobs.plans import plan
from fink_broker.log import Logger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from fink_broker.settings import Settings

NEUTRAL = "neutral columns"  # compared as if a module had made them
TOPIC_SUFFIX = "_replay"  # of the topics that --to-topics fills, so that nobody takes them for live ones
log = Logger("rerun")


@dataclass(frozen=True)
class Span:
    """Which alerts are run again: those of a night, or of times from (included) to (excluded) [MJD TAI]."""

    night: int | None = None
    start: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        if (self.night is None) == (self.start is None and self.end is None):
            raise ConfigError("give either a night or times: --night YYYY-MM-DD, or --from T --to T")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ConfigError(f"--from is MJD {self.start:.5f} and --to {self.end:.5f}; expected the earlier one first")

    def nights(self, held: Sequence[int], longitude_deg: float) -> list[int]:
        """Those of the nights that it touches."""
        if self.night is not None:
            return [night for night in held if night == self.night]
        first, last = (None if mjd is None else int(sky.night(mjd, longitude_deg)[0]) for mjd in (self.start, self.end))
        return [night for night in held if (first is None or night >= first) and (last is None or night <= last)]

    def of(self, frame: DataFrame) -> DataFrame:
        """The rows within its times."""
        frame = frame if self.start is None else frame.where(f"mjd >= {self.start!r}d")
        return frame if self.end is None else frame.where(f"mjd < {self.end!r}d")


@dataclass
class Result:
    """What was run again, and how it compares with the live results."""

    id: str
    survey: str
    folder: str
    nights: list[int]
    raw: int = 0  # alerts read
    alerts: int = 0  # alerts written; the others cannot be used by today's rules
    compared: int = 0  # alerts that the live results have too
    only_live: int = 0
    differ: dict[str, int | None] = field(default_factory=dict)  # by module; None where the live results have no such module
    published: dict[str, int] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Rerun:
    """The steps of job `enrich` over nights that are past, and the comparison."""

    def __init__(self, spark: SparkSession, settings: Settings, survey: str, to_topics: bool = False) -> None:
        self.spark, self.settings, self.to_topics = spark, settings, to_topics
        self.job = FanOut(spark, settings, plan("enrich"), survey)
        self.survey, self.lake = self.job.survey, self.job.lake
        self.chain = steps.science_chain(settings, survey, history=True)

    def run(self, span: Span) -> Result:
        """Run again, night by night; compare; publish."""
        started = time.monotonic()
        held = self.lake.nights("raw", self.survey.name)
        nights = span.nights(held, self.survey.longitude_deg)
        if not nights:
            raise NotFound(f"the raw table has no such night of {self.survey.name}; it has {', '.join(map(str, held[-5:])) or 'none'}")
        identifier = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:4]}"
        result = Result(identifier, self.survey.name, str(self.lake.table(f"replay/{identifier}")), nights, provenance=self.chain.provenance)
        rules: list[Any] = []
        for night in nights:
            records = span.of(sources.rows(self.job, "raw", [night]))
            rows = steps.enrich(self.job.rows(records), self.chain, self.survey)
            if self.to_topics:
                rules = FilterSet(self.settings.filters_path, self.survey.name, self.settings).current(rows.schema)
                rows = route(rows, rules, self.survey, filter_function.counter(self.spark))
            else:
                rows = rows.selectExpr("*", "cast(null as array<string>) topics")
            mark = f"map_concat(provenance, map('replay', '{identifier}'))"
            kept = rows.where("reason is null").selectExpr(*(_marked(name, mark) for name in rows.columns if name not in ("reason", "value")))
            self.lake.commit(self.lake.stage(kept, "replay", f"replay-{identifier}-{night}"), f"replay/{identifier}")
            result.raw += records.count()
            log.info("night run again", survey=self.survey.name, night=night, replay=identifier)
        result.alerts = sum(self.lake.scan(f"replay/{identifier}", self.survey.name, ["alert_id"], night).num_rows for night in nights)
        if result.alerts:
            self._compare(span, result)
            if self.to_topics:
                self._publish(result, rules)
        result.seconds = round(time.monotonic() - started, 1)
        about = Path(result.folder) / "_about.json"
        about.parent.mkdir(parents=True, exist_ok=True)
        about.write_text(json.dumps(asdict(result), indent=2))
        return result

    def _read(self, result: Result) -> DataFrame:
        return self.lake.read(self.spark, f"replay/{result.id}", self.survey.name)

    def _compare(self, span: Span, result: Result) -> None:
        """How many alerts have other results than live ones, by module: equal is equal to the last bit."""
        from pyspark.sql import functions as F

        known = set(self.lake.nights("science", self.survey.name))
        nights = [night for night in result.nights if night in known]
        if not nights:
            result.differ = {name: None for name in (NEUTRAL, *self.chain.names)}
            return
        new, live = self._read(result), span.of(self.lake.read(self.spark, "science", self.survey.name, nights))
        names = [name for name in self.chain.names if name in live.columns]
        both = [name for name in message.NEUTRAL if name in new.columns and name in live.columns]

        def texts(frame: DataFrame, letter: str) -> DataFrame:
            columns = [F.to_json(name).alias(f"{letter}{place}") for place, name in enumerate(names, 1)]
            return frame.select("alert_id", F.to_json(F.struct(*both)).alias(f"{letter}0"), *columns)

        sums = [
            F.count("*").alias("n"),
            *(F.count_if(~F.col(f"a{place}").eqNullSafe(F.col(f"b{place}"))).alias(f"d{place}") for place in range(len(names) + 1)),
        ]
        row = texts(new, "a").join(texts(live, "b"), "alert_id").agg(*sums).collect()[0]
        result.compared, result.only_live = int(row["n"]), live.count() - int(row["n"])
        found = {name: int(row[f"d{place}"]) for place, name in enumerate([NEUTRAL, *names])}
        result.differ = {name: found.get(name) for name in (NEUTRAL, *self.chain.names)}

    def _publish(self, result: Result, rules: list[Any]) -> None:
        """Send what today's filters choose to topics of its own."""
        from pyspark.sql import functions as F

        rows = self._read(result).where("size(topics) > 0")
        counts = {str(row[0]): int(row[1]) for row in rows.selectExpr("explode(topics) topic").groupBy("topic").count().collect()}
        if not counts:
            return
        made = kafka.ensure_topics(self.settings, [f"{topic}{TOPIC_SUFFIX}" for topic in sorted(counts)])
        partitions = {topic.removesuffix(TOPIC_SUFFIX): number for topic, number in made.items()}
        sent = [rule for rule in rules if topic_name(rule, self.survey.name) in counts]
        messages = message.message(rows, self.survey, sent, partitions, {"replay": result.id})
        kafka.publish(messages.withColumn("topic", F.concat("topic", F.lit(TOPIC_SUFFIX))), self.settings)
        result.published = {f"{topic}{TOPIC_SUFFIX}": number for topic, number in sorted(counts.items())}


def _marked(name: str, mark: str) -> str:
    """A column as it is, and the provenance with this run's id."""
    return f"{mark} provenance" if name == "provenance" else f"`{name}`"
