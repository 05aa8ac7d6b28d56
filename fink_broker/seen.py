"""Alert ids of the last days: what tells a duplicate from a new alert."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

DAY = 86400
Alert = tuple[str, str, int, int, int, float]  # alert id, topic, partition, offset, content, Kafka time [s since 1970]
Key = int | str


class Seen:
    """Alert ids with the Kafka position that brought each first; a file for each day (UTC, by Kafka time), so that old ones go at once.

    An alert at another position than the first is a duplicate; the same position again is the batch running again. What came more
    than `days` before does not count.
    """

    def __init__(self, folder: Path, days: float = 8.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.days = folder, days
        self._files = {int(file.stem): _open(file) for file in sorted(folder.glob("*.sqlite"))}

    def judge(self, alerts: Iterable[Alert]) -> Iterator[tuple[int, str]]:
        """Gives (index, "duplicate") or (index, "changed": the same id with other content), and remembers the rest."""
        rows = list(alerts)
        keys = [_key(row[0]) for row in rows]
        known = self._look_up(set(keys))
        new: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for index in sorted(range(len(rows)), key=lambda index: (rows[index][5], rows[index][2], rows[index][3])):
            _, topic, partition, offset, content, time = rows[index]
            first = next((one for one in known[keys[index]] if one[4] >= time - self.days * DAY), None)
            if first is None:
                place = (topic, partition, offset, content, time)
                known[keys[index]].append(place)
                new[int(time // DAY)].append((keys[index], *place))
            elif first[:3] != (topic, partition, offset):
                yield index, "duplicate" if first[3] == content else "changed"
        for day, kept in new.items():
            if day not in self._files:
                self._files[day] = _open(self.folder / f"{day}.sqlite")
            with (base := self._files[day]):
                base.executemany("insert or ignore into topic (name) values (?)", {(row[1],) for row in kept})
                base.executemany("insert or ignore into seen select ?, id, ?, ?, ?, ? from topic where name = ?", [(k, *rest, t) for k, t, *rest in kept])

    def forget(self, now: float) -> None:
        """Remove the files of days that ended more than `days` before a time [s since 1970]."""
        for day in [day for day in self._files if (day + 1) * DAY < now - self.days * DAY]:
            self._files.pop(day).close()
            for file in self.folder.glob(f"{day}.sqlite*"):
                file.unlink()

    def close(self) -> None:
        """Close the files."""
        for base in self._files.values():
            base.close()
        self._files = {}

    def _look_up(self, keys: set[Key]) -> dict[Key, list[tuple[Any, ...]]]:
        """What is known of some ids, oldest day first: (topic, partition, offset, content, time)."""
        asked, found = json.dumps(list(keys)), defaultdict(list)
        for _, base in sorted(self._files.items()):
            for key, *place in base.execute(
                "select seen.id, topic.name, part, pos, content, time from seen join topic on topic.id = seen.topic"
                " where seen.id in (select value from json_each(?))",
                (asked,),
            ):
                found[key].append(tuple(place))
        return found


def _open(file: Path) -> sqlite3.Connection:
    base = sqlite3.connect(file, check_same_thread=False)
    base.executescript(
        "pragma journal_mode = wal; pragma synchronous = normal;"
        "create table if not exists topic (id integer primary key, name text unique);"
        # no type for the id: numbers, which most surveys have, take 8 bytes, and any text is kept as it is
        "create table if not exists seen (id primary key, topic integer, part integer, pos integer, content integer, time real) without rowid;"
    )
    return base


def _key(alert_id: str) -> Key:
    """A number for the text of one, else the text."""
    plain = alert_id.isascii() and alert_id.isdigit() and len(alert_id) <= 19 and not alert_id.startswith("0")
    return number if plain and (number := int(alert_id)) < 2**63 else alert_id
