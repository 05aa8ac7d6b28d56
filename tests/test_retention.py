"""What the lake keeps: nights past their keeping are told and removed, little disk is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fink_broker import cli, retention
from fink_broker.settings import Settings, load

NIGHTS = (20251101, 20251120, 20251128)
TODAY = datetime(2025, 11, 30, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for table in ("raw", "science"):
        for night in NIGHTS:
            folder = tmp_path / "lake" / table / "survey=ztf" / f"night={night}"
            folder.mkdir(parents=True)
            (folder / "a.parquet").write_bytes(b"x" * 100)
    return tmp_path


def settings(home: Path, **lake: Any) -> Settings:
    return load(options={"broker": {"home": str(home)}, "lake": lake})


def test_nights_are_listed_oldest_first(home: Path) -> None:
    found = retention.nights(settings(home))
    assert [(one.night, one.table) for one in found] == [(night, table) for night in NIGHTS for table in ("raw", "science")]
    assert {(one.files, one.size) for one in found} == {(1, 100)}


@pytest.mark.parametrize(("days", "expected"), [(0, []), (1000, []), (15, [20251101]), (5, [20251101, 20251120])])
def test_overdue_nights(home: Path, days: float, expected: list[int]) -> None:
    assert sorted({one.night for one in retention.overdue(settings(home, retention_days=days), TODAY)}) == expected


class Caught:
    """A logger that keeps its warnings."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))


def test_the_warnings_say_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Caught()
    monkeypatch.setattr(retention, "log", log)
    retention.warn(settings(home, min_free_gb=0))
    assert not log.events
    retention.warn(settings(home, min_free_gb=1e9, retention_days=30))
    (old, facts), (space, more) = log.events
    assert "fink lake prune" in old
    assert (facts["nights"], facts["oldest"], facts["retention_days"]) == (3, 20251101, 30)
    assert "little disk left; make room" in space
    assert more["min_free_gb"] == 1e9


def test_prune_lists_and_removes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.mount()
    monkeypatch.setenv("FINK_LAKE__RETENTION_DAYS", "30")
    run = CliRunner().invoke
    listed = run(cli.app, ["--home", str(home), "lake", "prune"])
    assert "6 nights of tables, 0.0 MB to remove; add --yes to do it" in listed.output
    assert len(retention.nights(settings(home))) == 6
    assert "removed" in run(cli.app, ["--home", str(home), "lake", "prune", "--yes"]).output
    found = json.loads(run(cli.app, ["--home", str(home), "lake", "nights", "--json"]).output)
    assert found["nights"] == []
    assert found["free_gb"] > 0


def test_a_new_topic_gets_its_retention(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fink_broker import kafka

    asked: list[Any] = []

    class Admin:
        def create_topics(self, new: list[Any], **_: Any) -> dict[str, Any]:
            asked.extend(new)
            return {}

    monkeypatch.setattr(kafka, "topics", lambda *_: {})
    monkeypatch.setattr(kafka, "_admin", lambda *_: Admin())
    kafka.ensure_topics(load(options={"kafka": {"retention_hours": 12.5}}), ["fink_x_ztf"])
    assert asked[0].config["retention.ms"] == str(45_000_000)
