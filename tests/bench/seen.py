"""What it costs to know the alert ids of eight nights: `python -m tests.bench.seen --ids 10000000`.

Ways: one file a day with numbers for keys (fink_broker.seen), and one table with texts, an index on the time, and rows that are deleted.
With `--filled` the first way alone, its eight nights filled beforehand in order of their ids, which takes minutes rather than an hour.
"""

from __future__ import annotations

import argparse
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fink_broker.seen import DAY, Alert, Seen, _open

BATCH, NIGHTS = 2000, 8


class OneTable:
    """The way that was used before."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.base = sqlite3.connect(folder / "seen.sqlite")
        self.base.executescript(
            "pragma journal_mode = wal; pragma synchronous = normal;"
            "create table seen (alert_id text primary key, topic text, part int, pos int, content int, time real) without rowid;"
            "create index seen_time on seen (time);"
        )

    def judge(self, rows: list[Alert]) -> list[tuple[int, str]]:
        """The same answers."""
        found = []
        with self.base:
            for index, row in enumerate(rows):
                self.base.execute("insert or ignore into seen values (?, ?, ?, ?, ?, ?)", row)
                first = self.base.execute("select topic, part, pos, content from seen where alert_id = ?", (row[0],)).fetchone()
                if first[:3] != row[1:4]:
                    found.append((index, "duplicate"))
        return found

    def forget(self, now: float) -> None:
        """Delete the rows of the first day."""
        with self.base:
            self.base.execute("delete from seen where time < ?", (now - NIGHTS * DAY,))


def measure(way: Seen | OneTable, folder: Path, ids: int, nights: Sequence[int] = range(NIGHTS)) -> None:
    """Fill it night by night, and print what a night cost an alert."""
    random.seed(1)
    for turn, night in enumerate(nights):
        start, cpu = time.time(), time.process_time()
        for first in range(0, ids // NIGHTS, BATCH):
            at = night * DAY + first / (ids // NIGHTS) * DAY / 2
            list(way.judge([(str(random.randrange(10**17, 10**18)), "alerts", place % 8, first + place, place << 32, at) for place in range(BATCH)]))
        alerts = ids // NIGHTS
        size = sum(file.stat().st_size for file in folder.rglob("*")) / 1e6
        spent, taken = (time.process_time() - cpu) / alerts * 1e6, (time.time() - start) / alerts * 1e6
        print(f"{type(way).__name__:9} after {(turn + 1) * alerts:>11,} ids more: {spent:6.1f} us CPU, {taken:6.1f} us an alert, {size:8.1f} MB")
    start = time.time()
    way.forget((NIGHTS + 1.5) * DAY)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{type(way).__name__:9} a night forgotten in {time.time() - start:.2f} s; most memory of the process {memory:.0f} MB")


def fill(folder: Path, ids: int) -> None:
    """Eight nights as `measure` leaves them, each written from its first id to its last."""
    Seen(folder).close()
    for night in range(NIGHTS):
        keys = np.unique(np.random.default_rng(night).integers(10**17, 10**18, ids // NIGHTS))
        base = _open(folder / f"{night}.sqlite")
        with base:
            base.execute("insert into topic (name) values ('alerts')")
            rows = ((key, 1, place % 8, place, place << 32, night * DAY + place / len(keys) * DAY / 2) for place, key in enumerate(keys.tolist()))
            base.executemany("insert into seen values (?, ?, ?, ?, ?, ?)", rows)
        base.close()


def main() -> None:
    """Both ways, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=2_000_000)
    parser.add_argument("--filled", action="store_true")
    given = parser.parse_args()
    ids = given.ids
    with tempfile.TemporaryDirectory() as place:
        if given.filled:
            fill(Path(place) / "days", ids)
            measure(Seen(Path(place) / "days"), Path(place) / "days", 50 * NIGHTS * BATCH, [NIGHTS - 1] * 3)
            return
        measure(Seen(Path(place) / "days"), Path(place) / "days", ids)
        measure(OneTable(Path(place) / "one"), Path(place) / "one", ids)


if __name__ == "__main__":
    main()
