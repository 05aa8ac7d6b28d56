"""What the check of the stores tells: what is lost, and not what comes while it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fink_broker import audit
from fink_broker.lake import Lake
from fink_broker.settings import Settings, load


def put(settings: Settings, table: str, name: str, *ids: str) -> None:
    folder = Path(settings.lake_path) / table / "survey=ztf" / "night=20261119"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"alert_id": list(ids)}), folder / f"{name}.parquet")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = load(options={"broker": {"home": str(tmp_path)}})
    monkeypatch.setattr(audit.History, "holds", lambda self, survey, ids: set(ids) - {"not there"})
    for table in ("raw", "science"):
        put(made, table, "one", "1", "2")
    return made


def test_a_batch_that_comes_between_two_readings_is_no_difference(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Lake.scan, []

    def scan(lake: Lake, name: str, *rest: Any) -> pa.Table:
        read = real(lake, name, *rest)
        if not calls:
            for table in ("science", "raw"):  # as job `night` puts them
                put(settings, table, "two", "3")
        calls.append(name)
        return read

    monkeypatch.setattr(Lake, "scan", scan)
    assert audit.audit(settings, "ztf", 20261119) == {}
    assert calls == ["raw", "science"] * 2


def test_what_is_lost_or_twice_is_told(settings: Settings) -> None:
    put(settings, "raw", "lost", "4", "not there")
    put(settings, "science", "lost", "5", "not there", "1")
    assert audit.audit(settings, "ztf", 20261119) == {
        "in raw, not in science": ["4"], "in science, not in raw": ["5"], "in the lake, not in HBase": ["not there"], "twice in science": ["1"],
    }  # fmt: skip
