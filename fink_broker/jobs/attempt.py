"""What a batch is about to publish, written beside the checkpoint first, so that a second attempt sends the rest and nothing twice."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fink_broker import kafka
from fink_broker.filters import Filter

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fink_broker.settings import Settings

Published = dict[kafka.Origin, list[str]]  # substream topics that hold the alert already
CLOCKS_SECONDS = 60.0  # how far the clocks of the machines may differ
KEPT = 3


@dataclass(frozen=True)
class Attempt:
    """A batch that has begun to publish: when, and by which filters and modules. A second attempt uses the same filters."""

    batch: int
    time: float  # seconds since 1970
    filters: tuple[Filter, ...]
    provenance: dict[str, str]


class Attempts:
    """The attempts of one checkpoint, the last few of them kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, batch: int) -> Attempt | None:
        """What was written of a batch; None when it has never begun to publish."""
        file = self._file(batch)
        if not file.is_file():
            return None
        known = json.loads(file.read_text())
        lists = ("survey", "columns", "aims")
        filters = tuple(Filter(**{**rule, **{name: tuple(rule[name]) for name in lists if name in rule}}) for rule in known.pop("filters"))
        return Attempt(**known, filters=filters)

    def write(self, batch: int, filters: Sequence[Filter], provenance: dict[str, str]) -> None:
        """Record a batch before its first message goes out."""
        self.folder.mkdir(parents=True, exist_ok=True)
        made = {"batch": batch, "time": time.time(), "filters": [asdict(rule) for rule in filters], "provenance": provenance}
        part = self.folder / ".part"
        part.write_text(json.dumps(made))
        part.rename(self._file(batch))
        self._file(batch - KEPT).unlink(missing_ok=True)

    def _file(self, batch: int) -> Path:
        return self.folder / f"{batch:08d}.json"


def published(settings: Settings, topics: Sequence[str], since: float, marks: dict[str, str] | None = None) -> Published:
    """Which alerts the topics hold since a time [s since 1970]; with marks, only those of messages that bear them."""
    found: Published = {}
    known = kafka.topics(settings)
    for topic, message in kafka.headers(settings, [name for name in topics if name in known], max(since - CLOCKS_SECONDS, 1.0)):
        if all(message.get(name) == value for name, value in (marks or {}).items()) and (origin := kafka.origin_of(message)):
            found.setdefault(origin, []).append(topic)
    return found


def without_published(alerts: DataFrame, done: Published) -> DataFrame:
    """The alerts with only those topics that do not hold them yet."""
    if not done:
        return alerts
    from pyspark.sql import functions as F

    rows = [(topic, part, offset, sorted(set(topics))) for (topic, part, offset), topics in done.items()]
    known = alerts.sparkSession.createDataFrame(rows, "_t string, _p int, _o bigint, _done array<string>")
    here = (F.col("origin.topic") == F.col("_t")) & (F.col("origin.partition") == F.col("_p")) & (F.col("origin.offset") == F.col("_o"))
    left = F.when(F.col("_done").isNull(), F.col("topics")).otherwise(F.array_except("topics", "_done"))
    return alerts.join(F.broadcast(known), here, "left").withColumn("topics", left).drop("_t", "_p", "_o", "_done")
