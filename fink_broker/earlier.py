"""What is known of objects from earlier nights, read beside the alerts that are enriched: from HBase, or from what a replay has seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fink_broker import sky
from fink_broker.history import History
from fink_broker.past import FIELDS, NEEDED, SAME_DAYS, points_of, reaching

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fink_broker.settings import Settings

CONNECTIONS = 8  # of a worker process
Wanted = tuple[str, float, float]  # object, the time before which alerts count [MJD, TAI], and that of its first detection (-inf: not known)
Told = tuple[float, dict[str, Any]]  # time of an alert [d, TAI] and the points of its light curve
_KEPT: dict[tuple[str, int, str], History] = {}


class Earlier:
    """Reads the points for the inputs `history.…`; cheap to send to workers.

    Only alerts of earlier nights count: those of the night itself stand in the alert's own light curve, and so the result does
    not depend on what else is in the batch, or on how far the writing to HBase has come. Of an object whose first detection is
    among the alert's own points nothing is read: most objects are so young.
    """

    def __init__(self, settings: Settings, survey: str, longitude_deg: float) -> None:
        self.settings, self.survey, self.longitude_deg = settings, survey, longitude_deg

    def before(self, alerts: pd.DataFrame) -> NDArray[np.float64]:
        """The time [MJD, TAI] before which an alert has to be seen to count for each of these (column night); -inf where none counts."""
        start = sky.night_start(alerts["night"].fillna(19700101).to_numpy(np.int64), self.longitude_deg)  # bad alerts have none
        own = np.array([curve[0] if curve is not None and len(curve) else np.inf for curve in alerts["lightcurve.mjd"]], float)
        first = alerts["first_mjd"].to_numpy(float, na_value=np.nan)
        return np.where(first >= own - SAME_DAYS, -np.inf, start)

    def points(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Points of the alerts' objects (columns past.POINTS): those that are held, and those that the alerts bring themselves (past.NEEDED)."""
        before = self.before(alerts)
        named = alerts[alerts["object_id"].notna() & (before > -np.inf)]
        first = named["first_mjd"].fillna(-np.inf)
        wanted = sorted(set(zip(named["object_id"], before[alerts.index.get_indexer(named.index)], first, strict=True))) if len(named) else []
        found = [points_of(alerts)]
        for (one, start, _), told in zip(wanted, self.read(wanted), strict=True):
            if rows := [{"object_id": one, "mjd": seen, **{f"lightcurve.{name}": curve[name] for name in FIELDS}} for seen, curve in told]:
                found.append(points_of(pd.DataFrame(rows)).assign(before=start))
        return pd.concat(found, ignore_index=True)

    def read(self, wanted: Sequence[Wanted]) -> Iterable[Iterable[Told]]:
        """What some alerts of each object told, from HBase."""
        return _history(self.settings).earlier(self.survey, wanted, self.settings.science.history_alerts)


class Replayed(Earlier):
    """The same from the alerts that a replay has seen so far, kept in files of a folder that its workers read too; nothing of HBase.

    >>> chain.earlier = Replayed(settings, "ztf", -116.86, folder)  # doctest: +SKIP
    >>> chain.earlier.add(alerts)  # before they are enriched, as far as they are public  # doctest: +SKIP
    """

    def __init__(self, settings: Settings, survey: str, longitude_deg: float, folder: Path) -> None:
        super().__init__(settings, survey, longitude_deg)
        self.folder, self._parts = folder, 0

    def add(self, alerts: pd.DataFrame) -> None:
        """Take in some alerts (past.NEEDED)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        alerts.loc[alerts["object_id"].notna(), list(NEEDED)].to_parquet(self.folder / f"{self._parts:06d}.parquet", index=False)
        self._parts += 1

    def read(self, wanted: Sequence[Wanted]) -> Iterator[list[Told]]:
        """What some alerts of each object told, as History.earlier chooses them."""
        import pyarrow.dataset as ds

        frame = ds.dataset(self.folder).to_table(filter=ds.field("object_id").isin([one[0] for one in wanted])).to_pandas() if wanted else pd.DataFrame()
        of = dict(list(frame.groupby("object_id"))) if len(frame) else {}
        for name, before, first in wanted:
            yield list(_reaching(of[name], before, first, self.settings.science.history_alerts)) if name in of else []


def _reaching(alerts: pd.DataFrame, before: float, first: float, most: int) -> Iterator[Told]:
    rows = iter(alerts.sort_values("mjd", ascending=False, kind="stable").to_dict("records"))

    def newest(before: float) -> Told | None:
        return next(((row["mjd"], {name: row[f"lightcurve.{name}"] for name in FIELDS}) for row in rows if row["mjd"] < before), None)

    return reaching(newest, before, first, most)


def _history(settings: Settings) -> History:
    """One reader a worker process, its connections kept open."""
    place = (*settings.thrift, settings.hbase.prefix)
    if place not in _KEPT:
        _KEPT[place] = History(settings, CONNECTIONS)
    return _KEPT[place]
