"""What `ingest` and `night` do with what came in, besides storing it: counted by night, and what is no alert to the quarantine."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fink_broker import kafka
from fink_broker.errors import BadPacket
from fink_broker.jobs import attempt, fault, sources
from fink_broker.jobs.job import Batch, Job

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

TABLES = ("raw", "quarantine")  # hold all that came in, but for duplicates
Named = list[tuple[str, "DataFrame"]]  # a label for the files, and rows (origin, reason, value)


def quarantine(job: Job, bad: Named, facts: pd.DataFrame, judged: dict[int, str], batch: Batch) -> list[Path]:
    """Bring bad rows, changed alerts and packets that were left out to the quarantine's topic and table; the files placed."""
    held = job.held(facts, "raw")
    rows = list(bad)
    for name, places, reason in _outcasts(job, facts, judged, held, batch):
        rows.append((name, sources.positions_frame(job, places).selectExpr("origin", f"'{reason}' reason", "value")))
    return _store(job, rows, facts, held, batch) if rows else []


def told(job: Job, facts: pd.DataFrame, judged: dict[int, str], batch: Batch, counts: dict[str, Any]) -> dict[str, dict[str, int]]:
    """What the ledger is told of each night; `counts["quarantined"]`, alerts by reason, gets the changed ones.

    BadPacket when there is any bad packet and [ingest] on_bad_alert is "fail".
    """
    import pandas as pd

    lost = pd.DataFrame(batch.lost, columns=["topic", "partition", "offset"])
    new = job.uncounted(facts, "ingest")
    found = _by_night(new, {index: verdict for index, verdict in judged.items() if index in new.index}, len(job.uncounted(lost, "ingest")))
    if changed := sum(verdict == "changed" for verdict in judged.values()):
        counts["quarantined"]["changed"] = changed
    if job.settings.ingest.on_bad_alert == "fail" and counts["quarantined"]:
        raise BadPacket(f"bad packets in batch {batch.number}: {counts['quarantined']}; [ingest] on_bad_alert is 'fail'")
    return found


def _outcasts(job: Job, facts: pd.DataFrame, judged: dict[int, str], held: pd.DataFrame, batch: Batch) -> list[tuple[str, pd.DataFrame, str]]:
    """Rows that are quarantined though they could be read, or could not even be decoded."""
    import pandas as pd

    found = []
    changed = facts.loc[[index for index, verdict in judged.items() if verdict == "changed" and index not in held.index]]
    if len(changed):
        found.append(("changed", changed, "changed: the same alert id came before with other bytes"))
    lost = pd.DataFrame(batch.lost, columns=["topic", "partition", "offset"])
    for number, place in enumerate(one for one, kept in zip(batch.lost, job.is_held(lost, "raw"), strict=True) if not kept):
        cause = job.faults.known[place].replace("\\", " ").replace("'", " ")
        found.append((f"fault{number}", pd.DataFrame([place], columns=["topic", "partition", "offset"]), f"{fault.REASON}: {cause}"))
    return found


def _store(job: Job, bad: Named, facts: pd.DataFrame, held: pd.DataFrame, batch: Batch) -> list[Path]:
    night = "cast(date_format(from_unixtime(origin.timestamp / 1000), 'yyyyMMdd') as int) night"
    topic = kafka.quarantine_topic(job.survey.name)
    placed: list[Path] = []
    done: attempt.Published = {}
    if batch.first or job.recovery:
        done = attempt.published(job.settings, [topic], float(facts["timestamp"].min()) / 1000 if len(facts) else 1.0)
    for name, frame in bad:
        kept = job.without(frame, held).selectExpr(f"'{job.survey.name}' survey", night, "*").persist()
        unsent = attempt.without_published(kept.selectExpr("*", f"array('{topic}') topics"), done).where("size(topics) > 0")
        kafka.publish_quarantine(unsent, job.survey.name, job.settings)
        placed += job.lake.commit(job.lake.stage(kept, f"quarantine-{name}", batch.prefix), "quarantine", name)
        kept.unpersist()
    return placed


def _by_night(facts: pd.DataFrame, judged: dict[int, str], lost: int) -> dict[str, dict[str, int]]:
    """What came in and what became of it; an alert without a usable time counts for the day on which it came."""
    import pandas as pd

    if facts.empty and not lost:
        return {}
    arrived = pd.to_datetime(facts["timestamp"], unit="ms").dt.strftime("%Y%m%d")
    night = facts["night"].where(facts["reason"].isna() & facts["night"].notna(), arrived)
    what = facts["reason"].map(lambda reason: f"quarantined/{str(reason).partition(':')[0]}").where(facts["reason"].notna(), "raw")
    for index, verdict in judged.items():
        what[index] = "quarantined/changed" if verdict == "changed" else verdict
    found: dict[str, dict[str, int]] = {}
    for (date, stage), number in Counter(zip(night, what, strict=True)).items():
        found.setdefault(str(date), {})[str(stage)] = number
    if lost:
        today = found.setdefault(max(arrived, default=time.strftime("%Y%m%d", time.gmtime())), {})
        today[f"quarantined/{fault.REASON}"] = today.get(f"quarantined/{fault.REASON}", 0) + lost
    for counts in found.values():
        counts["received"] = sum(counts.values())
    return found
