"""HBase's tables in memory, as happybase shows them: what the readers ask for, and rows filed by the documented layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fink_broker import hbase, sky

Cells = dict[bytes, bytes]


class Memory:
    """Stands for a happybase connection; the scans that were made are kept in `scans`."""

    def __init__(self, tables: dict[str, dict[bytes, Cells]] | None = None) -> None:
        self.stored: dict[str, dict[bytes, Cells]] = tables or {name: {} for name in hbase.TABLES}
        self.scans: list[tuple[str, bytes, bytes]] = []

    def close(self) -> None:
        """Nothing to close."""

    def table(self, name: str) -> Table:
        """A table by its name in HBase."""
        return Table(self, name.removeprefix("fink_"))

    def file(self, row: dict[str, Any], curve: dict[str, Any] | None = None, topics: tuple[str, ...] = (), files: str = "20260101|none") -> None:
        """One alert in all tables, as the table in fink_broker/hbase.py tells."""
        who = row.get("object_id") or row.get("ss_object_id") or row["alert_id"]
        survey, alert, when = row["survey"], row["alert_id"], hbase.reversed_time(row["mjd"])
        key = f"{hbase.salt(survey + who)}|{survey}|{who}|{when}|{alert}".encode()
        cells = {b"a:j": hbase.pack(json.dumps(row)), b"o:p": b"topic|0|%d" % len(self.stored["history"])}
        cells |= {} if row["public"] else {b"o:x": b""}
        self.stored["history"][key] = cells | ({b"l:j": hbase.pack(json.dumps(curve))} if curve else {})
        column = f"n:{'' if row['public'] else hbase.PRIVATE}{when}|{alert}".encode()
        reach = str(min(curve["mjd"], default=row["mjd"])) if curve else ""
        self.stored["object"].setdefault(f"{hbase.salt(survey + who)}|{survey}|{who}".encode(), {})[column] = reach.encode()
        self.stored["alert"][f"{hbase.salt(survey + alert)}|{survey}|{alert}".encode()] = {b"p:h": key, b"p:f": files.encode()}
        narrow = json.dumps({name: row[name] for name in hbase.NARROW if row.get(name) is not None}).encode()
        pixel = int(sky.healpix(row["ra"], row["dec"])[0])
        salt = hbase.salt(str(pixel >> 2 * (sky.ORDER - hbase.COARSE_ORDER)))
        place = f"{salt}|{pixel >> 2 * (sky.ORDER - hbase.PIXEL_ORDER):012d}|{survey}|{who}".encode()
        self.stored["position"].setdefault(place, {})[column] = narrow
        for topic in topics:
            self.stored["topic"][f"{topic}|{when}|{alert}".encode()] = {b"n:j": narrow}
        if row.get("ss_object_id"):
            self.stored["sso"][f"{row['ss_object_id'].lower()}|{when}|{alert}".encode()] = {b"n:j": narrow}


class Table:
    """One table of it."""

    def __init__(self, memory: Memory, name: str) -> None:
        self.memory, self.name = memory, name

    def row(self, key: bytes, columns: list[bytes]) -> Cells:
        """Cells of one row."""
        return _chosen(self.memory.stored[self.name].get(key, {}), columns)

    def rows(self, keys: list[bytes], columns: list[bytes]) -> list[tuple[bytes, Cells]]:
        """Those of some rows that there are, with the cells asked for."""
        assert len(set(keys)) == len(keys)
        found = [(key, _chosen(self.memory.stored[self.name].get(key, {}), columns)) for key in keys]
        return [(key, cells) for key, cells in found if cells]

    def scan(
        self, row_start: bytes, row_stop: bytes, columns: list[bytes], filter: str | None = None, limit: int | None = None, batch_size: int = 1000
    ) -> Iterator[tuple[bytes, Cells]]:  # fmt: skip
        """Rows from one key to before another, in the order of keys and columns."""
        assert row_start < row_stop
        assert batch_size > 0
        self.memory.scans.append((self.name, row_start, row_stop))
        found = 0
        rows = self.memory.stored[self.name]
        for key in sorted(key for key in rows if row_start <= key < row_stop):
            cells = _chosen(rows[key], columns)
            if filter is not None:
                assert filter == "ColumnPaginationFilter(1, 0)"
                cells = dict(list(cells.items())[:1])
            if cells:
                yield key, cells
                found += 1
            if limit is not None and found >= limit:
                return


def _chosen(cells: Cells, columns: list[bytes]) -> Cells:
    wanted = tuple(column if b":" in column else column + b":" for column in columns)
    return {name: cells[name] for name in sorted(cells) if name in wanted or name.startswith(tuple(one for one in wanted if one.endswith(b":")))}
