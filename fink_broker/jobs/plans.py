"""What each job is made of."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from fink_broker.errors import ConfigError


@dataclass(frozen=True)
class Plan:
    """A job: where alerts come from, what is added to them, where they go."""

    name: str
    summary: str
    source: Literal["kafka", "raw", "science"]
    steps: tuple[Literal["decode", "derive", "science", "route"], ...]
    sinks: tuple[Literal["topics", "hbase", "science", "raw"], ...]
    joined: tuple[str, ...] = ()  # jobs that it is, done at once

    @property
    def works(self) -> tuple[str, ...]:
        """Jobs whose work it does: the ledger counts it by their names, and they do not run beside it."""
        return self.joined or (self.name,)

    @property
    def rivals(self) -> tuple[str, ...]:
        """Other jobs that do some of the same work on the same packets."""
        return tuple(name for name, other in PLANS.items() if name != self.name and set(other.works) & set(self.works))


PLANS = {
    plan.name: plan
    for plan in (
        Plan(
            name="night",
            summary="live and ingest in one: a packet is read once",
            source="kafka",
            steps=("decode", "science", "route"),
            sinks=("topics", "hbase", "science", "raw"),
            joined=("live", "ingest"),
        ),
        Plan("live", "alerts to topics, HBase and the science table", "kafka", ("decode", "science", "route"), ("topics", "hbase", "science")),
        Plan("ingest", "every alert, complete, to the raw table; bad ones to the quarantine", "kafka", ("decode",), ("raw",)),
        Plan("enrich", "raw table to science table", "raw", ("derive", "science"), ("science",)),
        Plan("distribute", "science table to topics", "science", ("route",), ("topics",)),
        Plan("index", "science table to HBase", "science", (), ("hbase",)),
    )
}


def plan(name: str) -> Plan:
    """The job of that name; ConfigError naming the nearest for an unknown one."""
    if name not in PLANS:
        near = difflib.get_close_matches(name, PLANS, 1)
        hint = f"did you mean '{near[0]}'?" if near else "they are"
        raise ConfigError(f"no job named '{name}'; {hint} jobs: {', '.join(PLANS)}")
    return PLANS[name]
