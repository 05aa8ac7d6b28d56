"""What HBase knows of objects from earlier nights, read beside the alerts that are enriched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fink_broker import sky
from fink_broker.history import History
from fink_broker.past import FIELDS, points_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fink_broker.settings import Settings

CONNECTIONS = 8  # of a worker process
_KEPT: dict[tuple[str, int, str], History] = {}


class Earlier:
    """Reads the points for the inputs `history.…`; cheap to send to workers.

    Only alerts of earlier nights count: those of the night itself stand in the alert's own light curve, and so the result does
    not depend on what else is in the batch, or on how far the writing to HBase has come.
    """

    def __init__(self, settings: Settings, survey: str, longitude_deg: float) -> None:
        self.settings, self.survey, self.longitude_deg = settings, survey, longitude_deg

    def before(self, alerts: pd.DataFrame) -> NDArray[np.float64]:
        """The time [MJD, TAI] before which an alert has to be seen to be of an earlier night than each of these (column night)."""
        return sky.night_start(alerts["night"].fillna(19700101).to_numpy(np.int64), self.longitude_deg)  # bad alerts have none

    def points(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Points of the alerts' objects (columns past.POINTS): from HBase, and those that the alerts bring themselves (past.NEEDED)."""
        named = alerts[alerts["object_id"].notna()]
        wanted = sorted(set(zip(named["object_id"], self.before(named), strict=True))) if len(named) else []
        history, most = _history(self.settings), self.settings.science.history_alerts

        def read(one: tuple[str, float]) -> list[dict[str, Any]]:
            told = history.earlier(self.survey, one[0], one[1], most)
            return [{"object_id": one[0], "mjd": seen, **{f"lightcurve.{name}": curve[name] for name in FIELDS}} for seen, curve in told]

        found = [points_of(alerts)]
        for (_, before), rows in zip(wanted, history.together(read, wanted), strict=True):
            if rows:
                found.append(points_of(pd.DataFrame(rows)).assign(before=before))
        return pd.concat(found, ignore_index=True)


def _history(settings: Settings) -> History:
    """One reader a worker process, its connections kept open."""
    place = (*settings.thrift, settings.hbase.prefix)
    if place not in _KEPT:
        _KEPT[place] = History(settings, CONNECTIONS)
    return _KEPT[place]
