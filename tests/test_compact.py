"""Merging a night: nothing lost or seen twice, while others read and write the lake."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fink_broker import compact, lake, merge, retention
from fink_broker.cli.lake import app
from fink_broker.compact import Compactor
from fink_broker.errors import StoreError
from fink_broker.lake import COMPACTED, Lake
from fink_broker.settings import Settings, load
from tests.test_checkpoint import write_checkpoint

NIGHT = 20260309


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(options={"broker": {"home": str(tmp_path)}, "lake": {"min_free_gb": 0}})


def folder_of(settings: Settings, table: str = "raw", night: int = NIGHT) -> Path:
    folder = Lake(settings).table(table) / "survey=ztf" / f"night={night}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def put(settings: Settings, name: str, ids: range, table: str = "raw", night: int = NIGHT, **columns: Any) -> Path:
    """A batch's file, which comes into place whole."""
    rows = {"alert_id": [str(one) for one in ids], "mjd": [61108.0 + one / 1e5 for one in ids], "packet": [{"id": one, "stamp": bytes(200)} for one in ids]}
    part = settings.home / f"{name}.part"
    pq.write_table(pa.table(rows | columns), part)
    return part.rename(folder_of(settings, table, night) / f"{name}.parquet")


def fill(settings: Settings, table: str = "raw", files: int = 20) -> None:
    for number in range(files):
        put(settings, f"c0ffee00-{number:08d}-00000", range(number * 10, number * 10 + 10), table)


def held(settings: Settings, table: str = "raw") -> list[int]:
    """Ids in a table, as DuckDB reads them."""
    rows = duckdb.connect().sql(f"select alert_id from read_parquet('{Lake(settings).table(table)}/**/*.parquet', hive_partitioning = true)").fetchall()
    return sorted(int(row[0]) for row in rows)


def run(settings: Settings, **given: Any) -> list[compact.Compacted]:
    made = Compactor(settings, grace_seconds=0.0)
    done = list(made.run(retention.nights(settings, compact.TABLES), **given))
    assert not made.refused, made.refused
    return done


def test_many_files_become_one(settings: Settings) -> None:
    fill(settings)
    fill(settings, "science", 3)
    first, second = run(settings)
    assert (first.table, first.night, first.alerts, first.before, first.after) == ("raw", NIGHT, 200, 20, 1)
    assert (second.table, second.alerts, second.before, second.after) == ("science", 30, 3, 1)
    (file,) = folder_of(settings).iterdir()
    assert file.name.startswith(COMPACTED)
    assert held(settings) == list(range(200))
    assert held(settings, "science") == list(range(30))
    assert Lake(settings).scan("raw", "ztf", ["alert_id"]).num_rows == 200
    assert [one.name for one in (Lake(settings).path / "_staging").iterdir()] == ["compact.lock"]
    assert run(settings) == []  # nothing is left to merge


def test_late_alerts_lie_beside_and_are_merged_the_next_time(settings: Settings) -> None:
    fill(settings)
    run(settings)
    put(settings, "c0ffee00-00000100-00000", range(1000, 1010))
    assert held(settings) == [*range(200), *range(1000, 1010)]
    assert [done.before for done in run(settings)] == [2]
    assert held(settings) == [*range(200), *range(1000, 1010)]


def test_files_that_are_large_enough_stay(settings: Settings) -> None:
    fill(settings, files=4)
    big = put(settings, "c0ffee00-00000050-00000", range(5000, 9000))
    inode = big.stat().st_ino
    made = Compactor(settings, target_mb=big.stat().st_size / 1e6, grace_seconds=0)
    (night,) = retention.nights(settings, compact.TABLES)
    assert (night.files, made.small(night)) == (5, 4)
    (done,) = made.run([night])
    assert (done.before, done.after) == (4, 1)
    assert big.stat().st_ino == inode
    assert held(settings) == [*range(40), *range(5000, 9000)]


def test_two_schema_versions_in_one_night(settings: Settings) -> None:
    fill(settings, files=2)
    put(settings, "c0ffee00-00000009-00000", range(90, 95), more=[{"x": 1}] * 5)
    put(settings, "c0ffee00-00000010-00000", range(95, 97), packet=["not a struct"] * 2)
    (done,) = run(settings)
    assert (done.before, done.after, done.alerts) == (3, 1, 25)
    assert len(list(folder_of(settings).iterdir())) == 2
    assert run(settings) == []
    rows = duckdb.connect().sql(f"select alert_id from read_parquet('{folder_of(settings)}/compacted*.parquet') where more.x = 1").fetchall()
    assert sorted(int(row[0]) for row in rows) == list(range(90, 95))


def test_readers_meanwhile_see_all_or_an_error(settings: Settings) -> None:
    fill(settings, files=30)
    wrong: list[int] = []
    seen = {"whole": 0, "missing": 0}
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                found = held(settings)
                seen["whole"] += 1
                if found != list(range(300)):
                    wrong.append(len(found))
            except duckdb.IOException:  # a file of the old folder: the reader lists again
                seen["missing"] += 1

    def scan() -> None:
        while not stop.is_set():
            found = Lake(settings).scan("raw", "ztf", ["alert_id"]).num_rows
            if found != 300:
                wrong.append(found)

    readers = [threading.Thread(target=job) for job in (read, read, scan)]
    for reader in readers:
        reader.start()
    until = time.monotonic() + 6
    exchanges = 0
    while time.monotonic() < until:
        files = sorted(folder_of(settings).iterdir())
        made = Compactor(settings, grace_seconds=0.2)
        exchanges += len(list(made.run(retention.nights(settings, compact.TABLES))))
        if len(files) == 1:  # take it apart again, by an exchange too
            apart = settings.home / "apart"
            apart.mkdir()
            for number, at in enumerate(range(0, 300, 10)):
                put(settings, f"{number:08x}-00000000-00000", range(at, at + 10), "elsewhere").rename(apart / f"{number:08x}-00000000-00000.parquet")
            lake.exchange(folder_of(settings), apart)
            time.sleep(0.2)
            for file in apart.iterdir():
                file.unlink()
            apart.rmdir()
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert exchanges >= 2
    assert seen["whole"] >= 5


def test_what_jobs_do_in_the_last_moment_is_kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(settings)
    folder = folder_of(settings)
    for number in (97, 98):  # of batches that may run again, so they are not merged
        put(settings, f"0123abcd-{number:08d}-00000", range(number * 10, number * 10 + 10))
    write_checkpoint(settings.home / "checkpoints/ingest/ztf", {}, done=-1)
    real = lake.exchange

    def late(one: Path, other: Path) -> None:
        put(settings, "c0ffee00-00000100-00000", range(2000, 2005))  # added
        put(settings, "0123abcd-00000097-00000", range(970, 973))  # replaced
        (folder / "0123abcd-00000098-00000.parquet").unlink()  # removed
        real(one, other)

    monkeypatch.setattr(compact, "exchange", late)
    (done,) = run(settings)
    assert done.before == 20
    assert held(settings) == [*range(200), *range(970, 973), *range(2000, 2005)]
    assert Lake(settings).remove("raw", "0123abcd-00000097") == 1


def test_a_file_that_comes_while_others_are_merged_survives(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(settings)
    real = merge.merge

    def slow(*given: Any) -> Any:
        put(settings, "c0ffee00-00000100-00000", range(2000, 2005))
        return real(*given)

    monkeypatch.setattr(compact.merge, "merge", slow)
    run(settings)
    assert held(settings) == [*range(200), *range(2000, 2005)]
    assert (folder_of(settings) / "c0ffee00-00000100-00000.parquet").exists()


def test_a_file_that_goes_while_it_is_merged_ends_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(settings)
    real = merge.merge

    def slow(*given: Any) -> Any:
        yield from real(*given)
        (folder_of(settings) / "c0ffee00-00000003-00000.parquet").unlink()

    monkeypatch.setattr(compact.merge, "merge", slow)
    made = Compactor(settings, grace_seconds=0)
    assert list(made.run(retention.nights(settings, compact.TABLES))) == []
    assert "1 files of" in made.refused[0]
    assert "changed while they were merged, c0ffee00-00000003-00000.parquet first; nothing was exchanged" in made.refused[0]
    assert len(held(settings)) == 190
    assert len(list(folder_of(settings).iterdir())) == 19


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_the_exchange_loses_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    fill(settings)
    real = lake.exchange

    def killed(one: Path, other: Path) -> None:
        put(settings, "c0ffee00-00000100-00000", range(2000, 2005))
        if when == "after":
            real(one, other)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compact, "exchange", killed)
        patch.setattr(Compactor, "_settle", lambda *given: None)
        patch.setattr(compact.shutil, "rmtree", lambda *given, **options: None)  # as if the process were gone
        with pytest.raises(KeyboardInterrupt):
            run(settings)
    assert len(list((Lake(settings).path / "_staging").glob("compact-*"))) == 1
    run(settings)
    assert held(settings) == [*range(200), *range(2000, 2005)]
    assert not list((Lake(settings).path / "_staging").glob("compact-*"))


def test_readers_of_the_table_must_be_through(settings: Settings) -> None:
    fill(settings, "science", 2)
    names = [f"night={NIGHT}/c0ffee00-{number:08d}-00000.parquet" for number in range(2)]
    place = settings.home / "checkpoints/index/ztf"
    write_checkpoint(place, {0: names[:1], 1: names[1:]}, done=0)
    made = Compactor(settings, grace_seconds=0)
    assert list(made.run(retention.nights(settings, compact.TABLES))) == []
    assert made.refused == [
        f"job index has not read 1 of 2 files of science ztf {NIGHT}; let `fink run index --survey ztf` go through them, "
        f"or delete {place} if it is to run no more"
    ]
    write_checkpoint(place, {0: names[:1], 1: names[1:]}, done=1)
    assert len(run(settings)) == 1
    put(settings, "c0ffee00-00000005-00000", range(100, 110), "science")  # late
    assert list(made.run(retention.nights(settings, compact.TABLES))) == []
    assert "has not read 1 of 1 files" in made.refused[0]


def test_closed_nights_only(settings: Settings) -> None:
    fill(settings, files=2)
    # 2026-03-10 19:00 UTC is 11:13 of Palomar's mean time: the night of the 9th ends at its noon
    for moment, closed in ((1_773_169_200.0, False), (1_773_175_200.0, True)):
        made = Compactor(settings, grace_seconds=0, now=moment)
        (night,) = retention.nights(settings, compact.TABLES)
        assert made.closed(night) == closed
        assert len(list(made.run([night]))) == closed
    fill(settings, files=2)
    made = Compactor(settings, grace_seconds=0, now=1_773_169_200.0)
    assert len(list(made.run(retention.nights(settings, compact.TABLES), force=True))) == 1


def test_one_at_a_time(settings: Settings) -> None:
    fill(settings, files=2)
    with Compactor(settings)._alone(), pytest.raises(StoreError, match="another `fink lake compact` is at work"):
        list(Compactor(settings).run([]))


def test_a_file_system_that_cannot_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    lake.exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists()
    with pytest.raises(StoreError, match="cannot be exchanged: No such file or directory; nothing was changed"):
        lake.exchange(tmp_path / "a", tmp_path / "c")
    monkeypatch.setattr(lake.ctypes, "CDLL", lambda *given, **options: object())
    with pytest.raises(StoreError, match="cannot exchange two folders in one step .*; expected one like ext4, xfs, btrfs or tmpfs on Linux"):
        lake.exchange(tmp_path / "a", tmp_path / "b")


def test_the_commands(settings: Settings) -> None:
    fill(settings, files=3)

    def call(*words: str) -> Any:
        return CliRunner().invoke(app, list(words), obj=settings)

    assert "raw        ztf       2026-03-09       3" in call("nights").output
    assert '"small": 3' in call("nights", "--json").output
    assert "nothing to merge" in call("compact", "--night", "2026-03-08").output
    said = call("compact", "--night", "2026-03-09", "--table", "raw")
    assert said.exit_code == 0
    assert "raw ztf 2026-03-09: 30 alerts in 3 files" in said.output
    assert "expected raw or science" in str(call("compact", "--table", "rwa").exception)
    assert "expected YYYY-MM-DD or YYYYMMDD" in str(call("compact", "--night", "9 March").exception)
