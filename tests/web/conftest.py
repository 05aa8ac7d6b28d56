"""The gateway over tables in memory and a small lake of files."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from fastapi.testclient import TestClient

from fink_broker import hbase
from fink_broker.settings import Settings, load
from fink_broker.web import state
from fink_broker.web.app import create_app
from tests.memory_hbase import Memory
from tests.stored_alerts import curve, stored

TOKEN = "open-sesame"


@dataclass(frozen=True)
class Gateway:
    """A gateway and what stands behind it."""

    client: TestClient
    memory: Memory
    settings: Settings

    def get(self, path: str, **asked: Any) -> Any:
        """The JSON of an answer of the API that must be good."""
        answer = self.client.get(f"/api/v1/{path}", params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()


def image(number: int) -> np.ndarray[Any, Any]:
    """A cutout whose pixels tell the alert."""
    made = np.arange(25, dtype=np.float32).reshape(5, 5) + 100 * number
    made[0, 0] = np.nan
    return made


def fits_bytes(pixels: np.ndarray[Any, Any]) -> bytes:
    """As a survey sends it."""
    stream = io.BytesIO()
    fits.PrimaryHDU(pixels).writeto(stream)
    return stream.getvalue()


def write_night(lake: Path, survey: str, night: int, name: str, numbers: list[int]) -> None:
    """One file of the science table with the cutouts of some alerts."""
    folder = lake / "science" / f"survey={survey}" / f"night={night}"
    folder.mkdir(parents=True, exist_ok=True)
    packets = [
        {f"cutout{kind}": {"stampData": gzip.compress(fits_bytes(image(number)))} for kind in ("Science", "Template", "Difference")} for number in numbers
    ]
    table = pa.table({"alert_id": [stored(number)["alert_id"] for number in numbers], "packet": packets})
    pq.write_table(table, folder / name, row_group_size=3)


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    memory = Memory()
    monkeypatch.setattr(hbase, "connect", lambda settings: memory)
    monkeypatch.setattr(state.kafka, "topics", lambda settings, cluster="input": {"fink_pure_ztf": 4})
    monkeypatch.setattr(state.kafka, "topic_counts", lambda settings, names: {"fink_pure_ztf": 4})
    settings = load(options={"broker": {"home": str(tmp_path)}, "hbase": {"host": "memory"}, "web": {"token": TOKEN}})
    for number in range(5):
        row = stored(number, public=number != 4)
        memory.file(row, curve(row), topics=("fink_pure_ztf",), files="20230226|batch7")
    memory.file(stored(7, "170028500581351556", survey="lsst", ss_object_id="2015 AB1", ra=151.0))
    write_night(Path(settings.lake_path), "ztf", 20230226, "batch7-0.parquet", [0, 1, 2, 3, 4])
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield Gateway(client, memory, settings)
