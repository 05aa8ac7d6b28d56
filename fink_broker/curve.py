"""Points of light curves as flat arrays, each visit once: what modules that fit or classify light curves begin with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker.science_module import flat

BANDS = ("u", "g", "r", "i", "z", "y")
FIELDS = ("mjd", "band", "flux", "flux_err", "limit_mag", "kind")
INPUTS = ("mjd", *(f"lightcurve.{name}" for name in FIELDS))  # what `points` reads of an alert
HISTORY_INPUTS = ("mjd", *(f"history.{name}" for name in FIELDS))  # the same with the object's history
LIMIT_SIGMA = 5.0  # of an upper limit
ZERO_POINT = 31.4  # AB magnitude of 1 nJy
SAME_SECONDS = 9.0  # measurements of a band so close are of one visit
_RANK = {"detection": 0, "forced": 1, "limit": 2}


@dataclass(frozen=True)
class Points:
    """Points of several alerts, alert by alert in time order."""

    row: NDArray[np.int64]  # the alert, counted from 0
    age: NDArray[np.float64]  # mjd of the point minus that of the alert, never positive [d]
    band: NDArray[np.int64]  # place in BANDS
    flux: NDArray[np.float64]  # difference flux [nJy]; 0 at an upper limit
    err: NDArray[np.float64]  # [nJy]
    detected: NDArray[np.bool_]

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Points:
        """Some of the points."""
        return Points(self.row[chosen], self.age[chosen], self.band[chosen], self.flux[chosen], self.err[chosen], self.detected[chosen])


def points(alerts: pd.DataFrame, days: float = np.inf, prefix: str = "lightcurve") -> Points:
    """Points not older than `days` before each alert and not after it: of one visit the detection, else forced photometry, else the limit."""
    rows, (mjd, band, flux, err, limit, kind) = flat(*(alerts[f"{prefix}.{name}"] for name in FIELDS))
    mjd, flux, err, limit = (values.astype(float) for values in (mjd, flux, err, limit))
    code, rank = _codes(band, BANDS), _codes(kind, tuple(_RANK))
    age = mjd - alerts["mjd"].to_numpy(float)[rows]
    dark = rank == _RANK["limit"]
    flux = np.where(dark, 0.0, flux)
    with np.errstate(over="ignore"):
        err = np.where(dark, 10 ** (-0.4 * (limit - ZERO_POINT)) / LIMIT_SIGMA, err)
    good = (code >= 0) & (rank >= 0) & (age <= 1e-6) & (age >= -days) & np.isfinite(flux) & np.isfinite(err) & (err > 0)
    chosen = np.flatnonzero(good)
    visit = np.round(mjd[chosen] * 86400 / SAME_SECONDS)
    order = chosen[np.lexsort((rank[chosen], visit, code[chosen], rows[chosen]))]
    visit = np.round(mjd[order] * 86400 / SAME_SECONDS)
    new = (np.diff(visit, prepend=-1) != 0) | (np.diff(code[order], prepend=-1) != 0) | (np.diff(rows[order], prepend=-1) != 0)
    order = order[new]
    order = order[np.lexsort((code[order], mjd[order], rows[order]))]
    return Points(rows[order], np.minimum(age[order], 0), code[order], flux[order], err[order], rank[order] == 0)


def _codes(values: NDArray[np.object_], names: tuple[str, ...]) -> NDArray[np.int64]:
    found = np.full(len(values), -1)
    for place, name in enumerate(names):
        found[values == name] = place
    if "y" in names:
        found[values == "Y"] = names.index("y")
    return found
