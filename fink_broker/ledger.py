"""What became of every alert: one line a batch and job in HOME/ledger, and the sums of a survey."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Positions = dict[str, dict[int, tuple[int, int]]]  # topic -> partition -> (first, last) offset, both included


@dataclass(frozen=True)
class Entry:
    """What one batch of one job did; a batch that runs again replaces its entry."""

    job: str
    survey: str
    checkpoint: str
    batch: int
    time: float  # seconds since 1970, when the batch was done
    seconds: float
    rows_in: int = 0
    rows_out: int = 0
    duplicates: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)  # by reason
    indexed: int = 0
    published: dict[str, int] = field(default_factory=dict)  # by topic
    by_night: dict[str, dict[str, int]] = field(default_factory=dict)  # night -> STAGE or STAGE/NAME -> alerts, see STAGES
    positions: dict[str, dict[str, list[int]]] = field(default_factory=dict)  # topic -> partition -> [first, last]
    stages: dict[str, float] = field(default_factory=dict)  # seconds


# What is counted for a night, by the jobs that count it. The numbers of a night balance when
# received = duplicate + quarantined + raw, and raw = science = indexed.
STAGES = {
    "received": ("ingest",),
    "duplicate": ("ingest",),
    "quarantined": ("ingest",),  # quarantined/REASON
    "raw": ("ingest",),
    "science": ("live", "enrich"),
    "indexed": ("live", "index"),
    "matched": ("live", "distribute"),  # alerts that at least one filter chose
    "published": ("live", "distribute"),  # published/TOPIC, messages
    "failed": ("live", "enrich"),  # failed/MODULE
}

GOES_ON = ("live", "ingest")  # jobs that with a new checkpoint go on where they were; those that read a table begin anew


@dataclass(frozen=True)
class Night:
    """The sums of one survey and night."""

    survey: str
    night: str
    received: int = 0
    duplicate: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    raw: int = 0
    science: int = 0
    indexed: int = 0
    matched: int = 0
    published: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    @property
    def differs(self) -> dict[str, int]:
        """Which sums do not balance, and by how many alerts (positive: still to come, or lost)."""
        found = {
            "raw": self.received - self.duplicate - sum(self.quarantined.values()) - self.raw,
            "science": self.raw - self.science,
            "indexed": self.science - self.indexed,
        }
        return {stage: number for stage, number in found.items() if number}

    @property
    def completeness(self) -> float:
        """Share of the usable alerts received that every store holds."""
        usable = self.received - self.duplicate - sum(self.quarantined.values())
        return min(self.raw, self.science, self.indexed) / usable if usable else 1.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "differs": self.differs, "balanced": not self.differs, "completeness": self.completeness}


def nights(entries: Iterable[Entry]) -> list[Night]:
    """The sums by survey and night, newest night first.

    Where several jobs do the same, or a job that reads a table began anew with it, each counts alone and the most counts: the work was done again.
    """
    sums: dict[tuple[str, str], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for entry in entries:
        worker = entry.job if entry.job in GOES_ON else f"{entry.job} {entry.checkpoint}"
        for night, counted in entry.by_night.items():
            for name, number in counted.items():
                if entry.job in STAGES[name.partition("/")[0]]:
                    sums[entry.survey, night][name][worker] += number
    found = []
    for (survey, night), stages in sorted(sums.items(), key=lambda item: (item[0][1], item[0][0]), reverse=True):
        counts = {name: max(workers.values()) for name, workers in stages.items()}
        facts: dict[str, Any] = {stage: counts.get(stage, 0) for stage in STAGES if stage not in ("quarantined", "published", "failed")}
        for stage in ("quarantined", "published", "failed"):
            facts[stage] = {name.partition("/")[2]: n for name, n in sorted(counts.items()) if name.startswith(f"{stage}/")}
        found.append(Night(survey, night, **facts))
    return found


class Ledger:
    """The entries of all jobs under one home folder."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "ledger"

    def write(self, entry: Entry) -> None:
        """Append one entry."""
        append(self.folder / f"{entry.job}-{entry.survey}.jsonl", json.dumps(asdict(entry)))

    def entries(self, job: str | None = None, survey: str | None = None) -> list[Entry]:
        """Entries, the last one of each batch only; oldest first."""
        found: dict[tuple[str, str, str, int], Entry] = {}
        for file in sorted(self.folder.glob(f"{job or '*'}-{survey or '*'}.jsonl")):
            for line in file.read_text().splitlines():
                try:
                    entry = Entry(**json.loads(line))
                except (json.JSONDecodeError, TypeError):
                    continue  # a line cut short by a kill: its batch runs again and writes it anew
                found[entry.job, entry.survey, entry.checkpoint, entry.batch] = entry
        return sorted(found.values(), key=lambda entry: entry.time)

    def counted(self, job: str, survey: str, but: str, rows: pd.DataFrame) -> NDArray[np.bool_]:
        """Which rows (topic, partition, offset) are in the entries of other checkpoints than `but`."""
        import numpy as np

        found = np.zeros(len(rows), bool)
        offsets = rows["offset"].to_numpy(np.int64)
        places = {place: ((rows["topic"] == place[0]) & (rows["partition"] == place[1])).to_numpy()
                  for place in {(str(topic), int(part)) for topic, part in zip(rows["topic"], rows["partition"], strict=True)}}  # fmt: skip
        for entry in self.entries(job, survey):
            for (topic, part), mine in places.items() if entry.checkpoint != but else ():
                first, last = entry.positions.get(topic, {}).get(str(part), (0, -1))
                found |= mine & (offsets >= first) & (offsets <= last)
        return found

    def done(self, job: str, survey: str) -> dict[str, dict[int, int]]:
        """Next offset that a job will read, by topic and partition."""
        ends: dict[str, dict[int, int]] = defaultdict(dict)
        for entry in self.entries(job, survey):
            for topic, partitions in entry.positions.items():
                for partition, (_, last) in partitions.items():
                    ends[topic][int(partition)] = max(ends[topic].get(int(partition), 0), last + 1)
        return dict(ends)


def append(file: Path, line: str) -> None:
    """Add a line to a file, apart from one that a kill cut short."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as end:
        if end.tell():
            end.seek(-1, os.SEEK_END)
            line = line if end.read(1) == b"\n" else f"\n{line}"
        end.write(f"{line}\n".encode())


def positions(origins: Iterable[tuple[str, int, int]]) -> dict[str, dict[str, list[int]]]:
    """First and last offset of each topic and partition among Kafka positions (topic, partition, offset)."""
    found: dict[str, dict[str, list[int]]] = {}
    for topic, partition, offset in origins:
        span = found.setdefault(topic, {}).setdefault(str(partition), [offset, offset])
        span[0], span[1] = min(span[0], offset), max(span[1], offset)
    return found
