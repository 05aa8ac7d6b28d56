"""What simulated alerts truly are, as a Parquet table beside them: a file, or a folder with a file for each chunk of a long campaign."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from fink_broker.errors import ConfigError
from fink_broker.skysim.alerts import Campaign
from fink_broker.testing import MadeAlert

# Columns of their own; the other parameters of a thing stand in `parameters` as JSON.
NUMBERS = (
    "redshift", "peak_mjd", "peak_mag", "absolute_mag", "mean_mag", "period_days", "amplitude_mag", "t_e_days", "u0", "v_mag", "h", "ebv", "host_mag",
    "speed_deg_per_day",
)  # fmt: skip
TEXTS = ("survey", "alert_id", "object_id", "kind", "label", "models")
ROWS = 20_000  # in one row group
CHUNKED = "a campaign of several chunks"


class TruthTable:
    """Writes rows as they come, under a hidden name; the file is there, and whole, when the table is closed."""

    def __init__(self, file: Path, stopped: Path | None = None) -> None:
        """`stopped`: name of what there is when an error, or whoever takes the alerts, ends it early (default: the same)."""
        self.file, self.stopped = file, stopped or file
        self._growing = file.with_name(f".{file.name}")
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None

    def __enter__(self) -> TruthTable:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(self.stopped if kind else self.file)

    def add(self, alert: MadeAlert) -> None:
        """Take the truth of an alert."""
        truth = alert.truth
        own = {*NUMBERS, *TEXTS}
        row = {"survey": alert.survey, "alert_id": alert.alert_id, "object_id": alert.object_id, "mjd": alert.mjd}
        row |= {name: truth.get(name) for name in ("kind", "label", "models", *NUMBERS)}
        self._rows.append(row | {"parameters": json.dumps({name: value for name, value in truth.items() if name not in own})})
        if len(self._rows) >= ROWS:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema(
            [*((name, pa.string()) for name in TEXTS), ("mjd", pa.float64()), *((name, pa.float64()) for name in NUMBERS), ("parameters", pa.string())]
        )
        if self._writer is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._growing, schema, compression="zstd")
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=schema))
        self._rows = []

    def close(self, file: Path | None = None) -> None:
        """Write what is left, and give the file its name."""
        if self._rows or self._writer is None:
            self._write()
        self._writer.close()
        self._growing.replace(file or self.file)
        if self.stopped not in (self.file, file):
            self.stopped.unlink(missing_ok=True)


class TruthFolder:
    """A file for each chunk of a campaign of each survey; a chunk that was stopped has one that ends in `-stopped` until the chunk is made again."""

    def __init__(self, folder: Path, campaigns: Iterable[Campaign]) -> None:
        """ConfigError when the folder is a file, or holds the truth of another campaign."""
        self.folder = folder
        if folder.is_file():
            raise ConfigError(f"{folder} is a file; the truth of {CHUNKED} is a folder; give another name")
        folder.mkdir(parents=True, exist_ok=True)
        for one in campaigns:
            about = folder / f"_{one.survey}.json"  # readers of Parquet pass over it
            values = asdict(one) | {"start_mjd": float(one.start_mjd)}
            text = json.dumps({name: value for name, value in values.items() if name not in ("schemas", "first_chunk", "plan")}, sort_keys=True)
            if about.exists() and about.read_text() != text:
                raise ConfigError(f"{folder} holds the truth of another campaign of {one.survey}: {about.read_text()}, not {text}; give another folder")
            growing = folder / f".{about.name}"
            growing.write_text(text)
            growing.replace(about)

    def table(self, survey: str, chunk: int) -> TruthTable:
        """The table of a chunk."""
        return TruthTable(self.folder / f"{survey}-{chunk:05d}.parquet", self.folder / f"{survey}-{chunk:05d}-stopped.parquet")
