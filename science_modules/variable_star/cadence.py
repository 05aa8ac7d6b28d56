"""Light curves as scarcer cadences would have told them, for training: points are left out, none is made up."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import curve
from science_modules.variable_star.periods import LEAST_DAYS, LEAST_IN_BAND

ONE_BAND, WINDOW, FEW = 0.5, 0.5, 0.4  # how often each is done
LEAST, MOST = 12, 30  # visits, where few are left
NOON = 0.3  # [d] MJD and this has its new day between the nights of either site


def cut(alerts: pd.DataFrame, chosen: NDArray[np.bool_], rng: np.random.Generator) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The same with points of the `chosen` light curves left out, and which of them lost some.

    As a programme in one band (the alert's) would have told them, or one that began days before the alert, or one of few visits, spread or in whole nights.
    The alert's own visit stays; a light curve of which too little would be left to be folded stays whole.
    """
    kept = {name: alerts[name].to_numpy(object).copy() for name in curve.HISTORY_INPUTS if name.startswith("history.")}
    shorter = np.zeros(len(alerts), bool)
    for row in np.flatnonzero(chosen):
        mjd, band, kind = (kept[f"history.{name}"][row] for name in ("mjd", "band", "kind"))
        keep = _kept(mjd, band, kind != "limit", rng)
        if not keep.all():
            shorter[row] = True
            for values in kept.values():
                values[row] = values[row][keep]
    return alerts.assign(**{name: pd.Series(values, index=alerts.index, dtype=object) for name, values in kept.items()}), shorter


def _kept(mjd: NDArray[np.float64], band: NDArray[np.object_], measured: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which points are left; all where too few would be."""
    one_band, window, few, whole_nights = rng.random(4) < (ONE_BAND, WINDOW, FEW, 0.5)
    share, number = rng.random(), int(rng.integers(LEAST, MOST + 1))
    _, visit = np.unique(np.round(mjd * 86400 / curve.SAME_SECONDS), return_inverse=True)
    _, night = np.unique(np.floor(mjd + NOON), return_inverse=True)
    order = rng.random(len(mjd))[night if whole_nights else visit]
    own = np.flatnonzero(measured)[-1]
    order[visit == visit[own]] = -1
    keep = (band == band[own]) | ~one_band
    if window:  # as many between three days and a week as between a month and two
        keep &= mjd >= mjd[own] - LEAST_DAYS * max((mjd[own] - mjd[0]) / LEAST_DAYS, 1.0) ** share
    if few and len(left := _visits(visit, keep & measured)) > number:
        keep &= order <= np.sort(order[left])[number - 1]
    left = _visits(visit, keep & measured)
    _, of, count = np.unique(band[left], return_inverse=True, return_counts=True)
    left = left[count[of] >= LEAST_IN_BAND]
    return keep if len(left) >= LEAST and mjd[left[-1]] - mjd[left[0]] >= LEAST_DAYS else np.ones(len(mjd), bool)


def _visits(visit: NDArray[np.int64], points: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Places of one point of each visit that has any, in time order."""
    place = np.flatnonzero(points)
    _, first = np.unique(visit[place], return_index=True)
    return place[first]
