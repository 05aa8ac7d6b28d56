"""What HBase holds of objects: histories, latest alerts, cones, moving objects; bounded scans only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fink_broker import hbase, sky
from fink_broker.errors import FinkError, NotFound
from fink_broker.retry import retried

if TYPE_CHECKING:
    from fink_broker.settings import Settings

T = TypeVar("T")
Row = dict[str, Any]
MOST = 10_000
SCAN_ROWS = 1000


class History:
    """Reads the tables; safe to use from several threads."""

    def __init__(self, settings: Settings, connections: int = 4) -> None:
        self.settings = settings
        self._free: list[Any] = []
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(connections)
        self._pool = ThreadPoolExecutor(connections)

    def object(self, survey: str, object_id: str, limit: int = MOST) -> list[Row]:
        """Alerts of an object, newest first; NotFound when there is none."""
        found = [json.loads(cells[b"a:j"]) for _, cells in self._prefix("history", self._object_key(survey, object_id), [b"a:j"], limit)]
        if not found:
            raise NotFound(f"no object {object_id} of {survey} in HBase; check its id, or search by position")
        return found

    def lightcurve(self, survey: str, object_id: str) -> dict[str, list[Any]]:
        """All points known of an object, in time order: the newest alert's own history, and each alert's detection before it."""
        rows = self.object(survey, object_id)
        newest = next(iter(self._prefix("history", self._object_key(survey, object_id), [b"l:j"], 1)), None)
        curve: dict[str, list[Any]] = json.loads(newest[1][b"l:j"]) if newest and b"l:j" in newest[1] else {}
        names = ("mjd", "band", "flux", "flux_err", "mag", "mag_err", "limit_mag", "kind")
        points = {(round(curve["mjd"][i], 5), curve["band"][i], curve["kind"][i]): tuple(curve[n][i] for n in names) for i in range(len(curve.get("mjd", [])))}
        for row in rows:
            point = tuple(row.get(n) for n in names[:-1])
            points.setdefault((round(row["mjd"], 5), row.get("band"), "detection"), (*point, "detection"))
        ordered = sorted(points.values(), key=lambda point: point[0])
        return {name: [point[i] for point in ordered] for i, name in enumerate(names)}

    def alert(self, alert_id: str, survey: str | None = None) -> tuple[Row, str]:
        """One alert, and "NIGHT|PREFIX" of its files in the lake; NotFound when no survey has it."""
        for name in [survey] if survey else self._surveys():
            key = f"{hbase.salt(name + alert_id)}|{name}|{alert_id}".encode()
            cells = self._run(lambda c, key=key: self._table(c, "alert").row(key))  # type: ignore[misc]
            if cells:
                row = self._run(lambda c, cells=cells: self._table(c, "history").row(cells[b"p:h"], columns=[b"a:j"]))  # type: ignore[misc]
                if row:
                    return json.loads(row[b"a:j"]), cells[b"p:f"].decode()
        raise NotFound(f"no alert {alert_id} in HBase; check its id and survey")

    def latest(self, topic: str, limit: int = 10, before_mjd: float | None = None) -> list[Row]:
        """The newest alerts of a substream, newest first; from before a time [MJD TAI] when given."""
        prefix = f"{topic}|".encode()
        start = f"{topic}|{hbase.reversed_time(before_mjd)}|~".encode() if before_mjd is not None else prefix
        return [json.loads(cells[b"n:j"]) for _, cells in self._range("topic", start, _after(prefix), [b"n:j"], limit)]

    def cone(self, ra: float, dec: float, radius_arcsec: float, limit: int = 1000, survey: str | None = None) -> list[Row]:
        """Objects within a radius, nearest first, each with its newest position and `separation_arcsec`."""
        newest: dict[tuple[str, str], Row] = {}
        shift = 2 * (sky.ORDER - hbase.PIXEL_ORDER)
        spans = []
        for low, high in sky.cone_ranges(ra, dec, radius_arcsec):
            spans += _by_salt(low >> shift, ((high - 1) >> shift) + 1)
        scans = [(f"{salt}|{low:012d}".encode(), f"{salt}|{high:012d}".encode()) for salt, low, high in spans]
        for part in self._pool.map(lambda span: list(self._range("position", span[0], span[1], [b"n:j"], 200_000)), scans):
            for key, cells in part:
                name, who = key.decode().split("|")[2:4]
                row = json.loads(cells[b"n:j"])
                if (survey is None or name == survey) and row["mjd"] > newest.get((name, who), {"mjd": -1})["mjd"]:
                    newest[name, who] = row
        rows = list(newest.values())
        if not rows:
            return []
        apart = sky.separation_arcsec(ra, dec, np.array([r["ra"] for r in rows]), np.array([r["dec"] for r in rows]))
        near = [{**row, "separation_arcsec": round(float(d), 4)} for row, d in zip(rows, apart, strict=True) if d <= radius_arcsec]
        return sorted(near, key=lambda row: row["separation_arcsec"])[:limit]

    def sso(self, designation: str, limit: int = MOST) -> list[Row]:
        """Alerts of a moving object, newest first."""
        found = [json.loads(cells[b"n:j"]) for _, cells in self._prefix("sso", f"{designation.lower()}|".encode(), [b"n:j"], limit)]
        if not found:
            raise NotFound(f"no alert of a Solar System object named {designation}; write it as the survey does, such as '2015 AB1' or a number")
        return found

    def count(self, spans: dict[str, dict[int, tuple[int, int]]]) -> int:
        """Distinct alerts in the history table that came from these Kafka positions (scans the table's smallest family)."""
        found = set()
        for key, cells in self._range("history", b"", b"\xff", [b"o:p"], None):
            topic, partition, offset = cells[b"o:p"].decode().split("|")
            first, last = spans.get(topic, {}).get(int(partition), (1, 0))
            if first <= int(offset) <= last:
                found.add(tuple(key.decode().split("|")[1::3]))
        return len(found)

    def _surveys(self) -> list[str]:
        return sorted(file.parent.name for file in self.settings.schemas_path.glob("*/survey.toml"))

    def _object_key(self, survey: str, object_id: str) -> bytes:
        return f"{hbase.salt(survey + object_id)}|{survey}|{object_id}|".encode()

    def _prefix(self, table: str, prefix: bytes, columns: Sequence[bytes], limit: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        return list(self._range(table, prefix, _after(prefix), columns, limit))

    def _range(self, table: str, start: bytes, stop: bytes, columns: Sequence[bytes], limit: int | None) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
        def scan(connection: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
            size = min(limit or SCAN_ROWS, SCAN_ROWS)
            found = self._table(connection, table).scan(row_start=start, row_stop=stop, columns=list(columns), limit=limit, batch_size=size)
            return list(found)

        yield from self._run(scan)

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
            with self._lock:
                connection = self._free.pop() if self._free else None
            connection = connection or hbase.connect(self.settings)
            try:
                yield connection
            except FinkError:
                raise
            except Exception as error:
                raise hbase.unavailable(self.settings, error) from error
            with self._lock:
                self._free.append(connection)


def _after(prefix: bytes) -> bytes:
    """The first key behind all that start so."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _by_salt(low: int, high: int) -> list[tuple[str, int, int]]:
    """A range of pixels cut where the salt changes."""
    shift = 2 * (hbase.PIXEL_ORDER - hbase.COARSE_ORDER)
    cut = []
    for coarse in range(low >> shift, ((high - 1) >> shift) + 1):
        cut.append((hbase.salt(str(coarse)), max(low, coarse << shift), min(high, (coarse + 1) << shift)))
    return cut
