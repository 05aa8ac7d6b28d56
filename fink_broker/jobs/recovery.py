"""Where a new checkpoint starts: after what the sinks hold already, with nothing stored or published twice."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fink_broker import kafka
from fink_broker.checkpoint import Checkpoint
from fink_broker.jobs.plans import Plan
from fink_broker.lake import Lake
from fink_broker.log import Logger

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from fink_broker.settings import Settings

log = Logger("recovery")
ASIDE = "aside"  # folder of checkpoints that others went past
Offsets = dict[str, dict[int, int]]
Held = dict[tuple[str, int], "NDArray[np.int64]"]


@dataclass(frozen=True)
class Recovery:
    """A new checkpoint that reads again what an earlier one may have stored or published."""

    start: Offsets  # first offsets read
    until: Offsets  # ends of the input when it began: nothing beyond was touched before
    since: float  # Kafka time of the first record [s since 1970]; substreams are looked through from here

    def covers(self, positions: dict[str, dict[str, list[int]]]) -> bool:
        """Whether a batch at these positions (topic -> partition -> [first, last]) may have been handled before."""
        return any(first < self.until.get(topic, {}).get(int(part), 0) for topic, parts in positions.items() for part, (first, _) in parts.items())


def take_over(home: Path, plan: Plan, survey: str) -> None:
    """Let a job go on where another was that does the same work: its own checkpoint, if that is older, is set aside as if it were lost.

    Read again from there, all that the other did since would be done twice. The ids that the other has seen are taken over.
    """
    folder = home / "checkpoints"
    begun = {name: Checkpoint(folder / name / survey).begun for name in (plan.name, *plan.rivals)}
    last = max(begun, key=lambda name: begun[name])
    if not begun[last] or begun[last] == begun[plan.name]:
        return
    seen = home / "seen"
    if (there := seen / f"{last}-{survey}").is_dir():
        shutil.rmtree(seen / f"{plan.name}-{survey}", ignore_errors=True)
        shutil.copytree(there, seen / f"{plan.name}-{survey}")
    if (own := folder / plan.name / survey).is_dir():  # last: until it is gone all this is done again
        aside = folder / ASIDE / f"{plan.name}-{survey}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        own.rename(aside)
    log.warning("goes on after another job of the same work", job=plan.name, survey=survey, after=last)


def begin(settings: Settings, pattern: str, tables: Sequence[Sequence[str]], survey: str, file: Path) -> str:
    """Spark's `startingOffsets` of a new checkpoint; writes `file` when it reads again what the tables may hold.

    `tables`: those that together hold a row of every alert that was done, for each of the job's works.
    [ingest] starting_offsets says where to start; "earliest" and "latest" go on after what the tables hold. The last
    batches may have been published and not stored, so they are read once more, and each alert is looked up.
    """
    file.unlink(missing_ok=True)
    wanted = settings.ingest.starting_offsets
    names = [name for name in kafka.topics(settings, "input") if re.fullmatch(pattern, name)]
    works = [held(settings, several, survey) for several in tables]
    if wanted in ("earliest", "latest") and not any(works):
        return wanted
    first, ends = kafka.start_offsets(settings, names), kafka.end_offsets(settings, names)
    start = deepcopy({"earliest": first, "latest": ends}.get(wanted)) or kafka.offsets_at(settings, names, seconds(wanted))
    if wanted in ("earliest", "latest"):
        for topic, parts in start.items():
            for part, default in parts.items():
                goes_on = [int(known[topic, part][-1]) + 1 - settings.ingest.max_offsets_per_trigger if (topic, part) in known else default for known in works]
                parts[part] = max(first[topic][part], min(goes_on))
    since = min((kafka.timestamp_at(settings, topic, part, offset) for topic, parts in start.items() for part, offset in parts.items()), default=0.0)
    write(Recovery(start, ends, since), file)
    log.warning(
        "new checkpoint goes on after what the sinks hold",
        survey=survey,
        start=json.dumps(start),
        held=sum(len(offsets) for known in works for offsets in known.values()),
    )
    return json.dumps(start)


def seconds(text: str) -> float:
    """Seconds since 1970 of an ISO time, UTC when it says no zone; ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def held(settings: Settings, tables: Sequence[str], survey: str, start: Offsets | None = None) -> Held:
    """Kafka positions in tables of the lake, sorted, by topic and partition; from `start` on where that is given."""
    lake = Lake(settings)
    found: dict[tuple[str, int], list[NDArray[np.int64]]] = {}
    for table in tables:
        rows = lake.scan(table, survey, ["origin"])
        if not rows.num_rows:
            continue
        origin = rows.column("origin").combine_chunks()
        topics, parts, offsets = (origin.field(name).to_numpy(zero_copy_only=False) for name in ("topic", "partition", "offset"))
        for topic in set(topics):
            for part in set(parts[topics == topic]):
                mine = offsets[(topics == topic) & (parts == part)]
                mine = mine[mine >= (start or {}).get(topic, {}).get(int(part), 0)]
                found.setdefault((str(topic), int(part)), []).append(mine)
    return {place: np.unique(np.concatenate(several)) for place, several in found.items()}


def is_held(facts: pd.DataFrame, known: Held) -> NDArray[np.bool_]:
    """Which rows (topic, partition, offset) the sinks hold already."""
    result = np.zeros(len(facts), bool)
    for (topic, part), offsets in known.items():
        mine = ((facts["topic"] == topic) & (facts["partition"] == part)).to_numpy()
        result[mine] = np.isin(facts["offset"].to_numpy(np.int64)[mine], offsets)
    return result


def read(file: Path) -> Recovery | None:
    """The recovery under way, if any."""
    if not file.is_file():
        return None
    found: dict[str, Any] = json.loads(file.read_text())
    whole = {name: {topic: {int(p): o for p, o in parts.items()} for topic, parts in found[name].items()} for name in ("start", "until")}
    return Recovery(**whole, since=found["since"])


def write(recovery: Recovery, file: Path) -> None:
    """Keep it beside the checkpoint until all that it covers was read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(asdict(recovery)))
    part.rename(file)
