"""A parametric fit of rise and decline to light curves of all bands at once, and what it tells: plain numpy, no loops over alerts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fink_broker.curve import BANDS

Floats = NDArray[np.float64]
DAYS = 120.0  # points older than this before the alert do not count
FLOOR = 0.05  # of the flux: what the simple shape cannot follow
RECENT_DAYS = 15.0  # of the slope now
MISSING = -99.0  # what the forest gets where there is no value
TOGETHER = 64  # light curves that are fitted together: what fits into the processor's cache
FALL = np.array([10.0, 20.0, 40.0, 90.0])  # [d]
RISE = np.array([2.0, 4.5, 9.0])  # [d]
START = np.arange(-60.0, 12.1, 4.0)  # of the turn, before the alert [d]
# One curve for each combination: exp(-(t - start) / fall) / (1 + exp(-(t - start) / rise)), Bazin et al. 2009, A&A 499, 653.
GRID = np.array([(start, rise, fall) for start in START for rise in RISE for fall in FALL])
_PEAK = GRID[:, 0] + GRID[:, 1] * np.log(np.maximum(GRID[:, 2] / GRID[:, 1] - 1, 0.05))
_HEIGHT = np.exp(-(_PEAK - GRID[:, 0]) / GRID[:, 2]) / (1 + np.exp(-(_PEAK - GRID[:, 0]) / GRID[:, 1]))
_NOW = np.exp(GRID[:, 0] / GRID[:, 2]) / (1 + np.exp(GRID[:, 0] / GRID[:, 1]))
_PAIRS = (("u", "g"), ("g", "r"), ("r", "i"), ("i", "z"), ("z", "y"), ("g", "i"), ("r", "z"))
PER_BAND = ("peak", "now", "chi2", "slope", "slope_snr", "snr")
NAMES = (
    *(f"{what}_{name}" for name in ("peak_day", "rise", "fall") for what in ("best", "mean", "std")), "chi2", "chi2_constant", "detected",
    "days_detected", "days_since_nothing", "snr_max", "snr_last", "drop", "mag_max",
    *(f"{what}_{name}" for what in PER_BAND for name in BANDS), *(f"{when}_{a}{b}" for when in ("peak", "now") for a, b in _PAIRS),
)  # fmt: skip


def features(rows: NDArray[np.int64], age: Floats, band: NDArray[np.int64], flux: Floats, err: Floats, number: int) -> Floats:
    """One row of NAMES for each of `number` light curves; NaN where there is nothing to tell.

    Points: the light curve of each, its age (mjd minus the alert's, never positive) [d], place in BANDS, flux and error [nJy].
    """
    order = np.lexsort((age, rows * len(BANDS) + band))
    rows, age, band, flux, err = rows[order], age[order], band[order], flux[order], err[order]
    edges = np.searchsorted(rows, np.arange(0, number + TOGETHER, TOGETHER))
    parts = [np.empty((0, len(NAMES)))]
    for place, (start, stop) in enumerate(pairwise(edges)):
        first = place * TOGETHER
        few = min(TOGETHER, number - first)
        found = {name: np.full(few, np.nan) for name in NAMES}
        if stop > start:
            points = (rows[start:stop] - first, age[start:stop], band[start:stop], flux[start:stop], err[start:stop], few)
            _count(found, *points)
            _fit(found, *points)
            _slopes(found, *points)
        parts.append(np.column_stack([found[name] for name in NAMES]))
    return np.vstack(parts)


def _fit(found: dict[str, Floats], rows: NDArray[np.int64], age: Floats, band: NDArray[np.int64], flux: Floats, err: Floats, number: int) -> None:
    """The grid of curves, each with the best height in each band (never negative)."""
    weight = 1 / (err**2 + (FLOOR * flux) ** 2)
    key = rows * len(BANDS) + band
    first = np.flatnonzero(np.diff(key, prepend=-1))
    shapes = _shapes(age)
    wf = shapes * weight[:, None].astype(np.float32)
    ff = np.add.reduceat(wf * shapes, first, axis=0)
    wf *= flux[:, None].astype(np.float32)
    yf = np.maximum(np.add.reduceat(wf, first, axis=0), 0)
    gains = yf * yf / np.maximum(ff, 1e-30)
    group_row, group_band = rows[first], band[first]
    starts = np.flatnonzero(np.diff(group_row, prepend=-1))
    mine = group_row[starts]
    gain = np.add.reduceat(gains, starts, axis=0).astype(float)
    total = np.bincount(rows, weight * flux**2, number)
    best = gain.argmax(axis=1)
    likely = np.exp(np.maximum((gain - gain.max(axis=1, keepdims=True)) / 2, -50))
    likely /= likely.sum(axis=1, keepdims=True)
    for name, values in (("peak_day", _PEAK), ("rise", np.log(GRID[:, 1])), ("fall", np.log(GRID[:, 2]))):
        mean = (likely * values).sum(axis=1)  # a product of matrices would differ in the last digits with the number of alerts
        found[f"best_{name}"][mine], found[f"mean_{name}"][mine] = values[best], mean
        found[f"std_{name}"][mine] = np.sqrt(np.maximum((likely * values**2).sum(axis=1) - mean**2, 0))
    bands = np.bincount(group_row, minlength=number)[mine]
    points = np.bincount(rows, minlength=number)[mine]
    free = np.maximum(points - bands - 3, 1)
    found["chi2"][mine] = np.log1p((total[mine] - gain.max(axis=1)) / free)
    sums = [np.bincount(key, values, number * len(BANDS)) for values in (weight, weight * flux)]
    with np.errstate(invalid="ignore", divide="ignore"):
        flat = np.where(sums[0] > 0, sums[1] ** 2 / sums[0], 0).reshape(number, len(BANDS)).sum(axis=1)
    found["chi2_constant"][mine] = np.log1p(np.maximum(total - flat, 0)[mine] / np.maximum(points - bands, 1))
    place = np.searchsorted(mine, group_row)
    chosen = (np.arange(len(first)), best[place])
    height = yf[chosen] / np.maximum(ff[chosen], 1e-30)
    noise = 1 / np.sqrt(np.maximum(ff[chosen], 1e-30))
    left = np.bincount(np.repeat(np.arange(len(first)), np.diff(first, append=len(rows))), weight * flux**2, len(first)) - gains[chosen]
    peaks, nows = np.full((2, number, len(BANDS)), np.nan)
    solid = height > noise  # the curve is seen in the band
    peaks[group_row[solid], group_band[solid]] = -2.5 * np.log10((height * _HEIGHT[best[place]])[solid])
    nows[group_row[solid], group_band[solid]] = -2.5 * np.log10((height * _NOW[best[place]])[solid])
    brightest = np.nanmin(np.where(np.isnan(peaks), np.inf, peaks), axis=1)
    found["mag_max"][:] = np.where(np.isfinite(brightest), brightest + 31.4, np.nan)
    found["drop"][mine] = -2.5 * np.log10(_NOW[best] / _HEIGHT[best])
    per_band = np.full((number, len(BANDS)), np.nan)
    per_band[group_row, group_band] = np.log1p(np.maximum(left, 0) / np.maximum(np.diff(first, append=len(rows)) - 1, 1))
    for place_, name in enumerate(BANDS):
        found[f"peak_{name}"][:] = peaks[:, place_] - np.where(np.isfinite(brightest), brightest, np.nan)
        found[f"now_{name}"][:] = nows[:, place_] - np.where(np.isfinite(brightest), brightest, np.nan)
        found[f"chi2_{name}"][:] = per_band[:, place_]
    for one, other in _PAIRS:
        a, b = BANDS.index(one), BANDS.index(other)
        found[f"peak_{one}{other}"][:] = peaks[:, a] - peaks[:, b]


def _shapes(age: Floats) -> NDArray[np.float32]:
    """Every curve of GRID at every point; the exponentials are of few numbers."""
    down = np.exp(-age[:, None] / FALL)
    up = np.exp(np.minimum(-age[:, None] / RISE, 80))
    lift = np.exp(START[:, None] / FALL)
    turn = np.exp(START[:, None] / RISE)
    rising = 1 / (1 + up[:, None, :] * turn)  # point, start, rise
    falling = down[:, None, :] * lift  # point, start, fall
    found: NDArray[np.float32] = (rising[:, :, :, None] * falling[:, :, None, :]).astype(np.float32).reshape(len(age), len(GRID))
    return found


def _count(found: dict[str, Floats], rows: NDArray[np.int64], age: Floats, band: NDArray[np.int64], flux: Floats, err: Floats, number: int) -> None:
    """Numbers, times and signal-to-noise ratios."""
    snr = flux / err
    seen = snr >= 5
    some = np.bincount(rows, minlength=number) > 0
    found["detected"][some] = np.bincount(rows[seen], minlength=number)[some]
    oldest, newest, blank = np.full(number, np.nan), np.full(number, np.nan), np.full(number, np.nan)
    np.fmin.at(oldest, rows[seen], age[seen])
    np.fmax.at(newest, rows[seen], age[seen])
    found["days_detected"][:] = newest - oldest
    before = ~seen & (age < oldest[rows]) & (snr < 3)
    np.fmax.at(blank, rows[before], age[before])
    found["days_since_nothing"][:] = oldest - blank
    best, last = np.full(number, np.nan), np.full(number, np.nan)
    np.fmax.at(best, rows, snr)
    order = np.argsort(age, kind="stable")
    last[rows[order]] = snr[order]
    found["snr_max"][:], found["snr_last"][:] = _log(best), _log(last)
    top = np.full(number * len(BANDS), np.nan)
    np.fmax.at(top, rows * len(BANDS) + band, snr)
    for place, name in enumerate(BANDS):
        found[f"snr_{name}"][:] = _log(top.reshape(number, len(BANDS))[:, place])


def _slopes(found: dict[str, Floats], rows: NDArray[np.int64], age: Floats, band: NDArray[np.int64], flux: Floats, err: Floats, number: int) -> None:
    """Straight lines through the last days of each band: change per day as a share of the flux, and colours of the lines now."""
    key, size = rows * len(BANDS) + band, number * len(BANDS)
    chosen = age >= -RECENT_DAYS
    key, x, y, weight = key[chosen], age[chosen], flux[chosen], err[chosen] ** -2.0

    def total(values: Floats) -> Floats:
        return np.bincount(key, values, size).astype(float)

    sw, sx, sy, sxx, sxy = (total(values) for values in (weight, weight * x, weight * y, weight * x * x, weight * x * y))
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = sxx - sx**2 / sw
        slope = (sxy - sx * sy / sw) / spread
        mean, mean_x = sy / sw, sx / sw
        good = spread > sw * 0.3**2
        sharp = slope * np.sqrt(spread)
        share = np.where(good & (mean * np.sqrt(sw) > 3), np.clip(slope / mean, -1, 1), np.nan)
        now = np.where(mean * np.sqrt(sw) > 3, -2.5 * np.log10(np.maximum(np.where(good, mean - slope * mean_x, mean), mean / 5)), np.nan)
    now_band = now.reshape(number, len(BANDS))
    for place, name in enumerate(BANDS):
        found[f"slope_{name}"][:] = share[place :: len(BANDS)]
        found[f"slope_snr_{name}"][:] = np.where(good, np.sign(sharp) * _log(np.abs(sharp)), np.nan)[place :: len(BANDS)]
    for one, other in _PAIRS:
        found[f"now_{one}{other}"][:] = now_band[:, BANDS.index(one)] - now_band[:, BANDS.index(other)]


def _log(values: Floats) -> Floats:
    found: Floats = np.log1p(np.maximum(values, 0))
    return found
