"""What HBase holds of objects: histories, latest alerts, cones, moving objects; bounded scans only."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fink_broker import hbase, sky
from fink_broker.errors import ConfigError, NotFound
from fink_broker.past import reaching
from fink_broker.retry import retried

if TYPE_CHECKING:
    from fink_broker.settings import Settings

T = TypeVar("T")
Row = dict[str, Any]
Found = tuple[bytes, dict[bytes, bytes]]
MOST = 10_000
MOST_IN_CONE = 100_000  # objects that one range of a cone may hold
MOST_CURVES = 40  # alerts whose own light curves are put together
SCAN_ROWS = 1000
GET_ROWS = 200
IDLE_SECONDS = 60.0  # a connection unused for longer may have been closed at the other end
POINT = ("mjd", "band", "flux", "flux_err", "mag", "mag_err", "limit_mag", "kind")


class History:
    """Reads the tables; safe to use from several threads. With `public_only`, alerts that are not public do not exist."""

    def __init__(self, settings: Settings, connections: int = 8) -> None:
        self.settings = settings
        self._free: list[tuple[Any, float]] = []
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(connections)
        self._pool = ThreadPoolExecutor(connections)

    def object(self, survey: str, object_id: str, limit: int = MOST, *, public_only: bool = False) -> list[Row]:
        """Alerts of an object, newest first; NotFound when there is none."""
        prefix = _object_key(survey, object_id)
        found = self._rows("history", prefix, _after(prefix), b"a:j", limit, public_only)
        if not found:
            raise NotFound(f"no object {object_id} of {survey} in HBase; check its id, or search by position")
        return found

    def find(self, object_id: str, limit: int = MOST, *, public_only: bool = False) -> tuple[str, list[Row]]:
        """Survey and alerts of an object, whichever survey has it; NotFound when none has."""

        def look(survey: str) -> list[Row]:
            with contextlib.suppress(NotFound):
                return self.object(survey, object_id, limit, public_only=public_only)
            return []

        names = self._surveys()
        for name, rows in zip(names, self._pool.map(look, names), strict=True):
            if rows:
                return name, rows
        raise NotFound(f"no object {object_id} of {', '.join(names)} in HBase; check its id, or search by position")

    def lightcurve(self, survey: str, object_id: str, rows: list[Row] | None = None, *, public_only: bool = False) -> dict[str, list[Any]]:
        """All points known of an object, in time order; `rows`, what `object` gave.

        An alert tells the points of some time before it (ZTF: 30 days), so the newest alert's are taken, then those of
        the newest alert before them, and so on; and each alert's own detection.
        """
        rows = rows or self.object(survey, object_id, public_only=public_only)
        points: dict[tuple[float, str, str], tuple[Any, ...]] = {}
        reach, read = float("inf"), 0
        for row in rows:
            own = tuple(row.get(name) for name in POINT[:-1])
            points.setdefault((round(row["mjd"], 5), row.get("band") or "", "detection"), (*own, "detection"))
            if row["mjd"] > reach or read == MOST_CURVES:
                continue
            read += 1
            curve = self._curve(survey, object_id, row)
            for i, mjd in enumerate(curve["mjd"]):
                points.setdefault((round(mjd, 5), curve["band"][i], curve["kind"][i]), tuple(curve[name][i] for name in POINT))
            reach = min([row["mjd"] - 1e-6, *curve["mjd"]])
        doubled = [key for key in points if key[2] == "limit" and (*key[:2], "detection") in points]  # found later, in what had been a limit
        ordered = sorted((point for key, point in points.items() if key not in doubled), key=lambda point: point[0])
        return {name: [point[i] for point in ordered] for i, name in enumerate(POINT)}

    def earlier(self, survey: str, wanted: Sequence[tuple[str, float, float]], most: int) -> list[list[tuple[float, dict[str, list[Any]]]]]:
        """Light curves that public alerts from before a time told, newest first: [d, TAI] of the alert, and its points.

        `wanted`: object, that time, and its first detection [MJD TAI] (-inf: not known). After each alert comes one that reaches further
        back, so few tell all: until the first detection, and at most `most`. Two readings for all of them: which alerts there are, then the light curves.
        """
        prefixes = [_object_key(survey, name) for name, _, _ in wanted]
        known = self._many("object", [prefix[:-1] for prefix in prefixes], b"n")
        chosen = [
            [(seen, prefix + told["alert"]) for seen, told in reaching(_newest(known.get(prefix[:-1], {}), before), before, first, most)]
            for prefix, (_, before, first) in zip(prefixes, wanted, strict=True)
        ]
        curves = self._many("history", [key for alerts in chosen for _, key in alerts], b"l:j")
        return [[(seen, _read(curves[key][b"l:j"])) for seen, key in alerts if key in curves] for alerts in chosen]

    def alert(self, alert_id: str, survey: str | None = None, *, public_only: bool = False) -> tuple[Row, str]:
        """One alert, and "NIGHT|PREFIX" of its files in the lake; NotFound when no survey has it."""
        for name in [survey] if survey else self._surveys():
            key = f"{hbase.salt(name + alert_id)}|{name}|{alert_id}".encode()
            cells = self._row("alert", key, b"p")
            row = self._row("history", cells[b"p:h"], b"a:j") if cells else {}
            if row and (found := _alert(row[b"a:j"])) and (found.get("public") is True or not public_only):
                return found, cells[b"p:f"].decode()
        raise NotFound(f"no {'public ' if public_only else ''}alert {alert_id} in HBase; check its id and survey")

    def latest(self, topic: str, limit: int = 10, before_mjd: float | None = None, since_mjd: float | None = None, *, public_only: bool = False) -> list[Row]:
        """The newest alerts of a substream, newest first; from before and since some times [MJD TAI] when given."""
        prefix = f"{topic}|".encode()
        start = prefix if before_mjd is None else f"{topic}|{hbase.reversed_time(before_mjd)}|~".encode()
        stop = _after(prefix) if since_mjd is None else f"{topic}|{hbase.reversed_time(since_mjd)}|~".encode()
        return self._rows("topic", start, stop, b"n:j", limit, public_only)

    def newest(self, topics: list[str], limit: int, *, public_only: bool = False) -> dict[str, list[Row]]:
        """The newest alerts of several substreams, side by side."""
        return dict(zip(topics, self._pool.map(lambda topic: self.latest(topic, limit, public_only=public_only), topics), strict=True))

    def cone(self, ra: float, dec: float, radius_arcsec: float, limit: int = 1000, survey: str | None = None, *, public_only: bool = False) -> list[Row]:
        """Objects within a radius, nearest first, each with its newest position and `separation_arcsec`."""
        newest: dict[tuple[str, str], tuple[bytes, Row]] = {}
        for part in self._pool.map(self._span, _spans(ra, dec, radius_arcsec)):
            for key, cells in part:
                (column, value) = next(iter(cells.items()))
                name, who = key.decode().split("|")[2:4]
                private = column.startswith(b"n:" + hbase.PRIVATE.encode())
                if (survey is None or name == survey) and not (private and public_only) and column < newest.get((name, who), (b"~", {}))[0]:
                    newest[name, who] = column, _alert(value)
        rows = [row for _, row in newest.values()]
        if not rows:
            return []
        apart = sky.separation_arcsec(ra, dec, np.array([r["ra"] for r in rows]), np.array([r["dec"] for r in rows]))
        near = [{**row, "separation_arcsec": round(float(d), 4)} for row, d in zip(rows, apart, strict=True) if d <= radius_arcsec]
        return sorted(near, key=lambda row: row["separation_arcsec"])[:limit]

    def sso(self, designation: str, limit: int = MOST, *, public_only: bool = False) -> list[Row]:
        """Alerts of a moving object, newest first."""
        prefix = f"{designation.lower()}|".encode()
        found = self._rows("sso", prefix, _after(prefix), b"n:j", limit, public_only)
        if not found:
            raise NotFound(f"no alert of a Solar System object named {designation}; write it as the survey does, such as '2015 AB1' or a number")
        return found

    def holds(self, survey: str, alert_ids: Sequence[str]) -> set[str]:
        """Those of some alerts that the history table has."""
        found: set[str] = set()
        for start in range(0, len(alert_ids), SCAN_ROWS):
            part = alert_ids[start : start + SCAN_ROWS]
            keys = [f"{hbase.salt(survey + one)}|{survey}|{one}".encode() for one in part]
            rows = self._run(lambda c, keys=keys: self._table(c, "alert").rows(keys, columns=[b"p:h"]))  # type: ignore[misc]
            places = {cells[b"p:h"]: key.decode().rpartition("|")[2] for key, cells in rows}
            there = self._run(lambda c, places=places: self._table(c, "history").rows(list(places), columns=[b"o:p"]))  # type: ignore[misc]
            found |= {places[key] for key, _ in there}
        return found

    def count(self, spans: dict[str, dict[int, tuple[int, int]]]) -> int:
        """Distinct alerts in the history table that came from these Kafka positions (scans the table's smallest family)."""

        def within(salt: int) -> set[tuple[str, ...]]:
            found = set()
            for key, cells in self._range("history", f"{salt:02x}|".encode(), f"{salt:02x}~".encode(), b"o:p", None):
                topic, partition, offset = cells[b"o:p"].decode().split("|")
                first, last = spans.get(topic, {}).get(int(partition), (1, 0))
                if first <= int(offset) <= last:
                    found.add(tuple(key.decode().split("|")[1::3]))
            return found

        return len(set[tuple[str, ...]]().union(*self._pool.map(within, range(hbase.SALTS))))

    def _surveys(self) -> list[str]:
        return sorted((file.parent.name for file in self.settings.schemas_path.glob("*/survey.toml")), reverse=True)

    def _curve(self, survey: str, object_id: str, row: Row) -> dict[str, list[Any]]:
        key = _object_key(survey, object_id) + f"{hbase.reversed_time(row['mjd'])}|{row['alert_id']}".encode()
        cells = self._row("history", key, b"l:j")
        return _read(cells[b"l:j"]) if cells else {name: [] for name in POINT}

    def _span(self, span: tuple[bytes, bytes]) -> list[Found]:
        """Position rows of a range of pixels, of each only the first cell: the newest public alert."""
        found = self._range("position", *span, b"n", MOST_IN_CONE + 1, "ColumnPaginationFilter(1, 0)")
        if len(found) > MOST_IN_CONE:
            raise ConfigError(f"more than {MOST_IN_CONE:,} objects lie in or about this cone; ask for a smaller radius")
        return found

    def _rows(self, table: str, start: bytes, stop: bytes, column: bytes, limit: int, public_only: bool) -> list[Row]:
        found: list[Row] = []
        while len(found) < limit:
            wanted = limit - len(found)
            part = self._range(table, start, stop, column, wanted)
            rows = [_alert(cells[column]) for _, cells in part]
            found += [row for row in rows if row.get("public") is True] if public_only else rows
            if len(part) < wanted:
                break
            start = part[-1][0] + b"\0"
        return found

    def _range(self, table: str, start: bytes, stop: bytes, column: bytes, limit: int | None, only: str | None = None) -> list[Found]:
        return self._scan(table, start, stop, [column], limit, only)

    def _scan(self, table: str, start: bytes, stop: bytes, columns: list[bytes], limit: int | None, only: str | None = None) -> list[Found]:
        size = min(limit or SCAN_ROWS, SCAN_ROWS)

        def scan(connection: Any) -> list[Found]:
            return list(self._table(connection, table).scan(start, stop, columns=columns, filter=only, limit=limit, batch_size=size))

        return self._run(scan)

    def _many(self, table: str, keys: Sequence[bytes], column: bytes) -> dict[bytes, dict[bytes, bytes]]:
        """Those of some rows that there are, many at a time: for each by itself the way there and back costs more than the reading."""
        asked = list(dict.fromkeys(keys))
        parts = [asked[start : start + GET_ROWS] for start in range(0, len(asked), GET_ROWS)]

        def get(part: list[bytes]) -> list[Found]:
            return self._run(lambda connection: list(self._table(connection, table).rows(part, columns=[column])))

        return dict(row for found in self._pool.map(get, parts) for row in found)

    def _row(self, table: str, key: bytes, column: bytes) -> dict[bytes, bytes]:
        return self._run(lambda connection: self._table(connection, table).row(key, columns=[column]))

    def _table(self, connection: Any, table: str) -> Any:
        return connection.table(hbase.table_name(self.settings, table))

    def _run(self, action: Callable[[Any], T]) -> T:
        def once() -> T:
            with self._connection() as connection:
                return action(connection)

        return retried(once, "HBase read", times=2)

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        with self._slots:
            connection = self._reused() or hbase.connect(self.settings)
            try:
                yield connection
            except Exception as error:
                _close(connection)
                raise hbase.failure(self.settings.thrift, error) from error
            with self._lock:
                self._free.append((connection, time.monotonic()))

    def _reused(self) -> Any:
        """A connection of late use, if there is one."""
        with self._lock:
            while self._free:
                connection, used = self._free.pop()
                if time.monotonic() - used < IDLE_SECONDS:
                    return connection
                _close(connection)
        return None


def _close(connection: Any) -> None:
    """Close a connection whose other end may be gone."""
    from thriftpy2.thrift import TException

    with contextlib.suppress(OSError, TException):
        connection.close()


def _newest(cells: dict[bytes, bytes], first_before: float) -> Callable[[float], tuple[float, dict[str, Any]] | None]:
    """What gives the newest public alert from before a time, by the cells of an object's row: its time, its earliest point's, the end of its key."""
    told = [(name[2:], float(reach)) for name, reach in sorted(cells.items()) if reach and not name.startswith(f"n:{hbase.PRIVATE}".encode())]

    def newest(before: float) -> tuple[float, dict[str, Any]] | None:
        start = hbase.reversed_time(before).encode() + (b"~" if before == first_before else b"")
        found = next((one for one in told if one[0] >= start), None)
        return (hbase.LAST_MJD - int(found[0].partition(b"|")[0]) / 1e6, {"mjd": [found[1]], "alert": found[0]}) if found else None

    return newest


def _object_key(survey: str, object_id: str) -> bytes:
    return f"{hbase.salt(survey + object_id)}|{survey}|{object_id}|".encode()


def _after(prefix: bytes) -> bytes:
    """The first key behind all that start so."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _read(cell: bytes) -> Row:
    """A cell; JSON has no NaN, so Spark writes it as text."""
    cell = hbase.unpack(cell)
    for name in (b'"NaN"', b'"Infinity"', b'"-Infinity"'):
        if name in cell:
            cell = cell.replace(name, b"null")
    row: Row = json.loads(cell)
    return row


def _alert(cell: bytes) -> Row:
    """An alert's packed cell, with the narrow columns whether it has them or not."""
    return dict.fromkeys(hbase.NARROW) | _read(cell)


def _spans(ra: float, dec: float, radius_arcsec: float) -> list[tuple[bytes, bytes]]:
    """Ranges of position keys that cover a cone: ranges of pixels, cut where the salt changes."""
    down, coarse = 2 * (sky.ORDER - hbase.PIXEL_ORDER), 2 * (hbase.PIXEL_ORDER - hbase.COARSE_ORDER)
    found = []
    for start, stop in sky.cone_ranges(ra, dec, radius_arcsec):
        low, high = start >> down, ((stop - 1) >> down) + 1
        for pixel in range(low >> coarse, ((high - 1) >> coarse) + 1):
            salt = hbase.salt(str(pixel))
            span = max(low, pixel << coarse), min(high, (pixel + 1) << coarse)
            found.append((f"{salt}|{span[0]:012d}".encode(), f"{salt}|{span[1]:012d}".encode()))
    return found
