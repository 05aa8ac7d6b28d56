"""How the broker is doing, for the status page: services, jobs, lag, topics, disk."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from typing import Any

from fink_broker import kafka
from fink_broker.errors import FinkError
from fink_broker.filters import load_filters, topic_name
from fink_broker.ledger import Entry, Ledger, nights
from fink_broker.services import stack
from fink_broker.settings import Settings
from fink_broker.survey import load_surveys


class State:
    """The same for many readers: what is a few seconds old is not asked again."""

    def __init__(self, settings: Settings, seconds: float = 3.0) -> None:
        self.settings, self.seconds = settings, seconds
        self._held: dict[str, tuple[float, Any]] = {}
        self._locks = {name: threading.Lock() for name in ("status", "statistics", "topics", "ledger")}

    def status(self) -> dict[str, Any]:
        """Services, jobs, lag, disk."""
        found: dict[str, Any] = self._recent("status")
        return found

    def statistics(self) -> list[dict[str, Any]]:
        """Counts by survey and night."""
        found: list[dict[str, Any]] = self._recent("statistics")
        return found

    def topics(self) -> list[dict[str, Any]]:
        """Topics with their messages."""
        found: list[dict[str, Any]] = self._recent("topics")
        return found

    def ledger(self) -> list[dict[str, Any]]:
        """What became of each night's alerts, by survey, newest night first."""
        found: list[dict[str, Any]] = self._recent("ledger")
        return found

    def _recent(self, name: str) -> Any:
        with self._locks[name]:
            when, value = self._held.get(name, (float("-inf"), None))
            if time.monotonic() - when > self.seconds:
                value = {"status": status, "statistics": statistics, "topics": topics, "ledger": ledger}[name](self.settings)
                self._held[name] = time.monotonic(), value
            return value


def status(settings: Settings) -> dict[str, Any]:
    """Services, each job's last batch and rate, lag [alerts], disk [GB]."""
    entries = Ledger(settings.home).entries()
    services = {name: {"running": known.get("running", False)} for name, known in stack.status(settings.home).items()}
    free = shutil.disk_usage(settings.home if settings.home.exists() else "/").free / 1e9
    return {"services": services, "jobs": [_job(settings, name, entries) for name in _names(entries)], "disk_free_gb": round(free, 1)}


def _names(entries: list[Entry]) -> list[tuple[str, str]]:
    return sorted({(entry.job, entry.survey) for entry in entries})


def _job(settings: Settings, name: tuple[str, str], entries: list[Entry]) -> dict[str, Any]:
    job, survey = name
    mine = [entry for entry in entries if (entry.job, entry.survey) == name]
    last, recent = mine[-1], [entry for entry in mine if entry.time > time.time() - 300]
    lag = None
    with contextlib.suppress(FinkError):
        done = Ledger(settings.home).done(job, survey)
        ends = kafka.end_offsets(settings, done)
        lag = sum(end - done[topic].get(part, 0) for topic, parts in ends.items() for part, end in parts.items())
    return {
        "job": job, "survey": survey, "alerts": sum(entry.rows_in for entry in mine), "batches": len(mine),
        "last_batch_seconds": last.seconds, "last_batch_alerts": last.rows_in, "last_batch_age_seconds": round(time.time() - last.time, 1),
        "alerts_per_s": round(sum(e.rows_in for e in recent) / max(sum(e.seconds for e in recent), 1e-9), 1) if recent else None,
        "lag": lag, "duplicates": sum(e.duplicates for e in mine), "quarantined": sum(sum(e.quarantined.values()) for e in mine),
    }  # fmt: skip


def ledger(settings: Settings) -> list[dict[str, Any]]:
    """The ledger's sums of each survey and night, newest first."""
    return [night.as_dict() for night in nights(Ledger(settings.home).entries())]


def statistics(settings: Settings) -> list[dict[str, Any]]:
    """Counts of each survey and night, newest first."""
    found = nights(Ledger(settings.home).entries())
    return [{"survey": one.survey, "night": one.night, "stored": one.raw, "enriched": one.science, "indexed": one.indexed} for one in found]


def topics(settings: Settings) -> list[dict[str, Any]]:
    """Every filter with its topic, summary and number of messages held (None while Kafka does not tell), by survey."""
    rows = topics_of(settings)
    counts: dict[str, int] | None = None
    with contextlib.suppress(FinkError):
        known = kafka.topics(settings, "output")
        counts = kafka.topic_counts(settings, [row["topic"] for row in rows if row["topic"] in known])
    return [{**row, "messages": None if counts is None else counts.get(row["topic"], 0)} for row in rows]


def topics_of(settings: Settings) -> list[dict[str, Any]]:
    """Every filter with its topic and summary, by survey; Kafka is not asked."""
    return [
        {"topic": topic_name(rule, survey), "filter": rule.name, "survey": survey, "summary": rule.summary}
        for survey in load_surveys(settings.schemas_path)
        for rule in load_filters(settings.filters_path, survey)
    ]
