"""Job `ingest`: every alert, complete, to the raw table; bad packets to the quarantine, with reason and Kafka position."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fink_broker import kafka
from fink_broker.alert import AGAIN
from fink_broker.errors import BadPacket
from fink_broker.jobs import attempt, fault, sources
from fink_broker.jobs.job import Batch, Job

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame


FACTS = ("alert_id", "content", "reason", "topic", "partition", "offset", "timestamp", "night")


class Ingest(Job):
    """Good and doubtful rows are staged side by side in one pass, the doubtful ones read again, then files are moved into place."""

    tables = ("raw", "quarantine")

    @property
    def trigger_seconds(self) -> float:
        """Kafka is not asked all the time whether a batch is full."""
        return max(self.settings.ingest.trigger_seconds, min(self.patience_seconds, 0.5))

    @property
    def patience_seconds(self) -> float:
        """Nobody waits for the raw table, and a large batch costs a quarter of many small ones; a backlog is read without a pause."""
        return self.settings.ingest.raw_trigger_seconds

    def run(self, records: DataFrame, batch: Batch) -> dict[str, Any]:
        """Stage, judge, place."""
        import pandas as pd

        with batch.timed("store"):
            self.decoder.curve = False  # packets are kept whole, and so read whole at once
            staged = [self._stage(self.rows(records), batch, "")]
            facts = self._facts(staged[0])
            if (staged[0] / "kind=doubtful").is_dir():
                again, located = self.decoder.decode_again(self.spark.read.parquet(str(staged[0] / "kind=doubtful")))
                staged.append(self._stage(again, batch, "again"))
                located.unpersist()
                self.remember()
                facts = _concat([facts[facts["reason"] != AGAIN], self._facts(staged[1])])
            judged = self.duplicates(facts, batch)
            good = facts[facts["reason"].isna() & ~facts.index.isin(judged)]
            self._place(staged, facts, judged, batch)
        counts = self.counts(facts, good, batch)
        lost = pd.DataFrame(batch.lost, columns=["topic", "partition", "offset"])
        new = self.uncounted(facts)
        counts["by_night"] = _by_night(new, {index: verdict for index, verdict in judged.items() if index in new.index}, len(self.uncounted(lost)))
        if changed := sum(verdict == "changed" for verdict in judged.values()):
            counts["quarantined"]["changed"] = changed
        if self.settings.ingest.on_bad_alert == "fail" and counts["quarantined"]:
            raise BadPacket(f"bad packets in batch {batch.number}: {counts['quarantined']}; [ingest] on_bad_alert is 'fail'")
        return counts

    def _stage(self, frame: DataFrame, batch: Batch, suffix: str) -> Path:
        kind = f"case when reason is null then 'good' when reason = '{AGAIN}' then 'doubtful' else 'bad' end kind"
        return self.lake.stage(frame.selectExpr("*", kind), f"ingest-{self.survey.name}{suffix}", batch.prefix, ("kind", "survey", "night"))

    def _facts(self, staged: Path) -> pd.DataFrame:
        import pandas as pd

        found = [_facts_of(file) for file in sorted(staged.rglob("*.parquet"))]
        return _concat(found) if found else pd.DataFrame({name: [] for name in FACTS})

    def _place(self, staged: list[Path], facts: pd.DataFrame, judged: dict[int, str], batch: Batch) -> None:
        """Move staged rows to their tables: good ones to raw, bad ones to the quarantine, duplicates nowhere."""
        held = self.held(facts)
        drop = facts.loc[sorted({*judged, *held.index})]
        raw: list[Path] = []
        bad: list[tuple[str, DataFrame]] = []
        for place, folder in enumerate(staged):
            label = "a" * place
            if (folder / "kind=bad").is_dir():
                bad.append((f"bad{label}", self._read(folder / "kind=bad").selectExpr("origin", "reason", "value")))
            if (folder / "kind=good").is_dir():
                good = folder / "kind=good"
                if len(drop):
                    good = self.lake.stage(self.without(self._read(good), drop), f"raw{label}", batch.prefix)
                raw += self.lake.commit(good, "raw", label)
        for name, places, reason in self._outcasts(facts, judged, held, batch):
            frame = sources.positions_frame(self, places)
            bad.append((name, frame.selectExpr("origin", f"'{reason}' reason", "value")))
        quarantined = self._quarantine(bad, facts, held, batch) if bad else []
        if batch.first:
            self.lake.remove("raw", batch.prefix, but=raw)
            self.lake.remove("quarantine", batch.prefix, but=quarantined)
        self.lake.discard(staged)  # what was doubtful, bad or twice

    def _outcasts(self, facts: pd.DataFrame, judged: dict[int, str], held: pd.DataFrame, batch: Batch) -> list[tuple[str, pd.DataFrame, str]]:
        """Rows that are quarantined though they could be staged, or could not even be decoded."""
        import pandas as pd

        found = []
        changed = facts.loc[[index for index, verdict in judged.items() if verdict == "changed" and index not in held.index]]
        if len(changed):
            found.append(("changed", changed, "changed: the same alert id came before with other bytes"))
        lost = pd.DataFrame(batch.lost, columns=["topic", "partition", "offset"])
        for number, place in enumerate(one for one, kept in zip(batch.lost, self.is_held(lost), strict=True) if not kept):
            cause = self.faults.known[place].replace("\\", " ").replace("'", " ")
            found.append((f"fault{number}", pd.DataFrame([place], columns=["topic", "partition", "offset"]), f"{fault.REASON}: {cause}"))
        return found

    def _quarantine(self, bad: list[tuple[str, DataFrame]], facts: pd.DataFrame, held: pd.DataFrame, batch: Batch) -> list[Path]:
        night = "cast(date_format(from_unixtime(origin.timestamp / 1000), 'yyyyMMdd') as int) night"
        topic = kafka.quarantine_topic(self.survey.name)
        placed: list[Path] = []
        done: attempt.Published = {}
        if batch.first or self.recovery:
            done = attempt.published(self.settings, [topic], float(facts["timestamp"].min()) / 1000 if len(facts) else 1.0)
        for name, frame in bad:
            kept = self.without(frame, held).selectExpr(f"'{self.survey.name}' survey", night, "*").persist()
            unsent = attempt.without_published(kept.selectExpr("*", f"array('{topic}') topics"), done).where("size(topics) > 0")
            kafka.publish_quarantine(unsent, self.survey.name, self.settings)
            placed += self.lake.commit(self.lake.stage(kept, f"quarantine-{name}", batch.prefix), "quarantine", name)
            kept.unpersist()
        return placed

    def _read(self, folder: Path) -> DataFrame:
        return self.spark.read.option("basePath", str(folder)).parquet(str(folder))


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


def _facts_of(file: Path) -> pd.DataFrame:
    """What the driver needs of a staged file; its night is its folder's name."""
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file).read(columns=["alert_id", "content", "reason", "origin"])
    origin = table.column("origin").combine_chunks()
    frame = table.drop_columns(["origin"]).to_pandas()
    for name in ("topic", "partition", "offset", "timestamp"):
        frame[name] = origin.field(name).to_numpy(zero_copy_only=False)
    night = file.parent.name.removeprefix("night=")
    return frame.assign(night=night if night.isdigit() else None)


def _concat(frames: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(frames, ignore_index=True)
