"""What HBase knows of objects from earlier nights, read beside the alerts that are enriched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fink_broker import sky
from fink_broker.history import History
from fink_broker.past import FIELDS, SAME_DAYS, points_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fink_broker.settings import Settings

CONNECTIONS = 8  # of a worker process
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
        """Points of the alerts' objects (columns past.POINTS): from HBase, and those that the alerts bring themselves (past.NEEDED)."""
        before = self.before(alerts)
        named = alerts[alerts["object_id"].notna() & (before > -np.inf)]
        first = named["first_mjd"].fillna(-np.inf)
        wanted = sorted(set(zip(named["object_id"], before[alerts.index.get_indexer(named.index)], first, strict=True))) if len(named) else []
        history, most = _history(self.settings), self.settings.science.history_alerts

        def read(one: tuple[str, float, float]) -> list[dict[str, Any]]:
            told = history.earlier(self.survey, *one, most)
            return [{"object_id": one[0], "mjd": seen, **{f"lightcurve.{name}": curve[name] for name in FIELDS}} for seen, curve in told]

        found = [points_of(alerts)]
        for (_, start, _), rows in zip(wanted, history.together(read, wanted), strict=True):
            if rows:
                found.append(points_of(pd.DataFrame(rows)).assign(before=start))
        return pd.concat(found, ignore_index=True)


def _history(settings: Settings) -> History:
    """One reader a worker process, its connections kept open."""
    place = (*settings.thrift, settings.hbase.prefix)
    if place not in _KEPT:
        _KEPT[place] = History(settings, CONNECTIONS)
    return _KEPT[place]
