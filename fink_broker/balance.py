"""What came out of every sink for the alerts of one run, counted in the sinks themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from fink_broker import kafka
from fink_broker.filters import load_filters, topic_name
from fink_broker.history import History
from fink_broker.lake import Lake
from fink_broker.ledger import Ledger
from fink_broker.settings import Settings

Spans = dict[str, dict[int, tuple[int, int]]]  # topic -> partition -> (first, last) offset, both included


@dataclass
class Balance:
    """Counts of one run; it balances when sent = raw + duplicates + quarantined and raw = science = HBase rows."""

    alerts_sent: int = 0
    raw_rows: int = 0
    science_rows: int = 0
    hbase_rows: int = 0
    quarantined: int = 0
    duplicates: int = 0
    published: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    alerts_per_s: float = 0.0
    delay_s: dict[str, float | None] = field(default_factory=dict)
    balanced: bool = False
    reasons: dict[str, int] = field(default_factory=dict)
    surveys: dict[str, dict[str, Any]] = field(default_factory=dict)

    def judge(self) -> bool:
        """Whether every alert is accounted for."""
        self.balanced = self.alerts_sent == self.raw_rows + self.duplicates + self.quarantined and self.raw_rows == self.science_rows == self.hbase_rows
        return self.balanced

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def balance(settings: Settings, spans: dict[str, Spans], sent: int, seconds: float, since: float) -> Balance:
    """Count the sinks for the input at these Kafka positions, by survey; `since` is when the run began [s since 1970]."""
    total = Balance(alerts_sent=sent, seconds=round(seconds, 2), alerts_per_s=round(sent / seconds, 2) if seconds else 0.0)
    delays: list[float] = []
    for survey, positions in spans.items():
        one = _survey(settings, survey, positions, since, delays)
        for name in ("raw_rows", "science_rows", "hbase_rows", "quarantined", "duplicates"):
            setattr(total, name, getattr(total, name) + getattr(one, name))
        total.published |= one.published
        total.reasons = dict(Counter(total.reasons) + Counter(one.reasons))
        one.judge()
        kept = ("alerts_sent", "raw_rows", "science_rows", "hbase_rows", "quarantined", "duplicates", "balanced", "reasons")
        total.surveys[survey] = {name: getattr(one, name) for name in kept}
    total.delay_s = percentiles(delays)
    total.judge()
    return total


def percentiles(values: list[float]) -> dict[str, float | None]:
    """p50, p95 and p99; null where there are no values."""
    values = sorted(values)
    return {f"p{p}": round(values[min(len(values) - 1, len(values) * p // 100)], 3) if values else None for p in (50, 95, 99)}


def _survey(settings: Settings, survey: str, spans: Spans, since: float, delays: list[float]) -> Balance:
    lake = Lake(settings)
    found = Balance(alerts_sent=sum(last - first + 1 for parts in spans.values() for first, last in parts.values()))
    found.raw_rows = len(set(_within(lake.scan("raw", survey, ["origin"]), spans)))
    found.science_rows = len(set(_within(lake.scan("science", survey, ["origin"]), spans)))
    bad = lake.scan("quarantine", survey, ["origin", "reason"])
    reasons = [reason for _, reason in _within(bad, spans, "reason")]
    found.quarantined, found.reasons = len(reasons), dict(Counter(str(reason)[:160] for reason in reasons))
    found.duplicates = sum(entry.duplicates for entry in Ledger(settings.home).entries("ingest", survey) if entry.time >= since)
    found.hbase_rows = History(settings).count(spans)
    topics = [topic_name(one, survey) for one in load_filters(settings.filters_path, survey)]
    for topic, message in kafka.headers(settings, topics, since):
        origin = kafka.origin_of(message)
        if origin and _inside(*origin, spans):
            found.published[topic] = found.published.get(topic, 0) + 1
            delays.append(kafka.delay_of(message))
    return found


def _within(table: Any, spans: Spans, column: str = "origin") -> list[Any]:
    if not table.num_rows:
        return []
    origins = table.column("origin").to_pylist()
    values = table.column(column).to_pylist() if column != "origin" else origins
    return [
        (_key(origin), value) if column != "origin" else _key(origin)
        for origin, value in zip(origins, values, strict=True)
        if _inside(origin["topic"], origin["partition"], origin["offset"], spans)
    ]


def _key(origin: dict[str, Any]) -> tuple[str, int, int]:
    return origin["topic"], origin["partition"], origin["offset"]


def _inside(topic: str, partition: int, offset: int, spans: Spans) -> bool:
    span = spans.get(topic, {}).get(partition)
    return span is not None and span[0] <= offset <= span[1]
