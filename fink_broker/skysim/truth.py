"""What simulated alerts truly are, as a Parquet table beside them."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from fink_broker.testing import MadeAlert

# Columns of their own; the other parameters of a thing stand in `parameters` as JSON.
NUMBERS = (
    "redshift", "peak_mjd", "peak_mag", "absolute_mag", "mean_mag", "period_days", "amplitude_mag", "t_e_days", "u0", "v_mag", "h", "ebv", "host_mag",
    "speed_deg_per_day",
)  # fmt: skip
TEXTS = ("survey", "alert_id", "object_id", "kind", "label", "models")
ROWS = 20_000  # in one row group


class TruthTable:
    """Writes rows as they come; the file is whole when it is closed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None

    def __enter__(self) -> TruthTable:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

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
            self._writer = pq.ParquetWriter(self.file, schema, compression="zstd")
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=schema))
        self._rows = []

    def close(self) -> None:
        """Write what is left."""
        if self._rows or self._writer is None:
            self._write()
        self._writer.close()
