"""The past of objects beside each alert, as of the alert's own time: what the inputs `history.…` of science modules hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker.errors import ModuleError
from fink_broker.survey import POINT

FIELDS = tuple({"time": "mjd"}.get(name, name) for name in POINT)
HISTORY = tuple(f"history.{name}" for name in FIELDS)
POINTS = ("object_id", "seen_mjd", *FIELDS)  # columns of a frame of points
NEEDED = ("object_id", "mjd", "first_mjd", "night", *(f"lightcurve.{name}" for name in FIELDS))  # columns of alerts that `with_past` and a store read
SAME_DAYS = 1e-5  # points of one band and kind closer than this are one
_TEXT = ("band", "kind")


class Store(Protocol):
    """Where the points of earlier alerts come from while alerts are enriched."""

    def points(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Points of the alerts' objects, columns POINTS, and `before` where they are for alerts with that time only; alerts have NEEDED."""

    def before(self, alerts: pd.DataFrame) -> NDArray[np.float64]:
        """The time [MJD, TAI] before which a point's alert has to be seen to count for each alert."""


def reaching(
    newest: Callable[[float], tuple[float, dict[str, Any]] | None], before: float, first: float, most: int
) -> Iterator[tuple[float, dict[str, Any]]]:  # fmt: skip
    """Of an object's alerts before a time those that tell all, newest first: time [d, TAI] and points of each, from `newest` of those before a time.

    After each comes the newest that reaches further back, until the first detection (-inf: not known), and at most `most`.
    """
    while most and before > first + SAME_DAYS and (found := newest(before)):
        yield found
        before, most = min([found[0] - 1e-6, *found[1]["mjd"]]), most - 1


def wanted(inputs: Iterable[str]) -> tuple[str, ...]:
    """Those of a module's inputs that name the history."""
    return tuple(name for name in inputs if name.startswith("history."))


def points_of(alerts: pd.DataFrame) -> pd.DataFrame:
    """The points that alerts bring, one a row: its object, and in `seen_mjd` [d, TAI] the time of the alert that brought it.

    What a store of earlier alerts holds, and what `with_past` takes; columns are POINTS, alerts need NEEDED.
    """
    lengths = np.array([0 if value is None else len(value) for value in alerts["lightcurve.mjd"]], np.int64)
    columns: dict[str, Any] = {"object_id": np.repeat(alerts["object_id"].to_numpy(object), lengths)}
    columns["seen_mjd"] = np.repeat(alerts["mjd"].to_numpy(float), lengths)
    for name in FIELDS:
        columns[name] = _flat(alerts[f"lightcurve.{name}"], name)
    return pd.DataFrame(columns)


def with_past(
    alerts: pd.DataFrame, points: pd.DataFrame | None = None, fields: Sequence[str] = HISTORY, before: NDArray[np.float64] | None = None
) -> pd.DataFrame:  # fmt: skip
    """Columns `history.…` for each alert: its own light curve, and the object's points that earlier alerts brought.

    A point counts if its alert was earlier (`seen_mjd` less than `before` [d, TAI], which is the alert's `mjd` when not given), so
    that a replay finds what the night found, whatever came since. In time order; of points of one band, kind and time (within
    SAME_DAYS) the alert's own is taken, else the one seen last. Pass the points of all alerts that may be earlier, those of the
    same batch too: `points_of(batch)`.

    >>> with_past(alerts, pd.concat([store, points_of(alerts)]))  # doctest: +SKIP
    """
    for name in fields:
        if name not in HISTORY:
            raise ModuleError(f"there is no '{name}'; the history has {', '.join(HISTORY)}")
    own = points_of(alerts)
    own_row = np.repeat(np.arange(len(alerts)), [0 if value is None else len(value) for value in alerts["lightcurve.mjd"]])
    row, frame = own_row, own
    if points is not None and len(points) and len(alerts):
        which, place = _earlier(alerts, points, alerts["mjd"].to_numpy(float) if before is None else before)
        earlier = points.iloc[place][list(POINTS)]
        row = np.concatenate([own_row, which])
        frame = pd.concat([own, earlier], ignore_index=True) if len(earlier) else own
    order = _once(row, frame, len(own))
    row, ends = row[order], np.searchsorted(row[order], np.arange(len(alerts) + 1))
    found = {}
    for name in fields:
        values = frame[name.removeprefix("history.")].to_numpy()[order]
        found[name] = pd.Series([values[start:stop] for start, stop in pairwise(ends)], index=alerts.index, dtype=object)
    return pd.DataFrame(found, index=alerts.index)


def _earlier(alerts: pd.DataFrame, points: pd.DataFrame, before: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of an alert's row and the place of a point of its object that an earlier alert brought."""
    left = pd.DataFrame({"object_id": alerts["object_id"].to_numpy(object), "row": np.arange(len(alerts)), "before": before})
    right = pd.DataFrame({"object_id": points["object_id"].to_numpy(object), "place": np.arange(len(points)), "seen": points["seen_mjd"].to_numpy(float)})
    right["asked"] = points["before"].to_numpy(float) if "before" in points else np.nan  # for which alerts they were looked up
    pairs = left[left["object_id"].notna()].merge(right, on="object_id")
    pairs = pairs[(pairs["seen"] < pairs["before"]) & (pairs["asked"].isna() | (pairs["asked"] == pairs["before"]))]
    return pairs["row"].to_numpy(np.int64), pairs["place"].to_numpy(np.int64)


def _once(row: NDArray[np.int64], frame: pd.DataFrame, own: int) -> NDArray[np.int64]:
    """Places of the points to keep, by alert and time."""
    mjd, seen = frame["mjd"].to_numpy(float), frame["seen_mjd"].to_numpy(float).copy()
    seen[:own] = np.inf  # the alert's own points come first
    kind = pd.factorize(frame["band"].astype(str) + "/" + frame["kind"].astype(str))[0]
    order = np.lexsort((-seen, mjd, kind, row))
    new = np.ones(len(order), bool)
    same = (np.diff(row[order]) == 0) & (np.diff(kind[order]) == 0) & (np.diff(mjd[order]) < SAME_DAYS)
    new[1:] = ~same
    group = np.cumsum(new) - 1
    best = pd.DataFrame({"group": group, "seen": -seen[order], "place": order}).sort_values(["group", "seen"], kind="stable").drop_duplicates("group")
    kept = best["place"].to_numpy(np.int64)
    return kept[np.lexsort((kept, mjd[kept], row[kept]))]


def _flat(column: pd.Series, name: str) -> NDArray[Any]:
    parts = [np.asarray(value) for value in column if value is not None and len(value)]
    kind: Any = object if name in _TEXT else float
    return np.concatenate(parts).astype(kind) if parts else np.empty(0, kind)
