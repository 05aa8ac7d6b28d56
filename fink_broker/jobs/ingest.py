"""Job `ingest`: every alert, complete, to the raw table; bad packets to the quarantine, with reason and Kafka position."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fink_broker.alert import AGAIN
from fink_broker.jobs import intake
from fink_broker.jobs.job import Batch, Job

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame


FACTS = ("alert_id", "content", "reason", "topic", "partition", "offset", "timestamp", "night")


class Ingest(Job):
    """Good and doubtful rows are staged side by side in one pass, the doubtful ones read again, then files are moved into place."""

    tables = (intake.TABLES,)

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
        counts["by_night"] = intake.told(self, facts, judged, batch, counts)
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
        held = self.held(facts, "raw")
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
        quarantined = intake.quarantine(self, bad, facts, judged, batch)
        if batch.first:
            self.lake.remove("raw", batch.prefix, but=raw)
            self.lake.remove("quarantine", batch.prefix, but=quarantined)
        self.lake.discard(staged)  # what was doubtful, bad or twice

    def _read(self, folder: Path) -> DataFrame:
        return self.spark.read.option("basePath", str(folder)).parquet(str(folder))


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
