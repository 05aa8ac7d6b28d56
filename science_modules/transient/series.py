"""Light curves as the network takes them: a fixed number of visits, numbers of order one, and what is known beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import curve, sky

Floats = NDArray[np.float32]
CURVE_INPUTS = curve.INPUTS
CONTEXT_INPUTS = ("ra", "dec", "flux", "snr", "first_mjd", "n_detections", "reliability", "ss_object_id", "ss_distance_arcsec", "neighbour_distance_arcsec",
                  "neighbour_star_score", "template_flux")  # fmt: skip
LAST, BEFORE = 20, 12  # visits: the last ones, and so many spread over those before
LENGTH = LAST + BEFORE
WIDTH = 8 + len(curve.BANDS)
CONTEXT = 27
DAYS = 400.0


def series(alerts: pd.DataFrame) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Visits (alert, visit, WIDTH), which of them there are (1 or 0), what stands beside (alert, CONTEXT), and which alerts have any visit."""
    points = curve.points(alerts, DAYS)
    number = len(alerts)
    count = np.bincount(points.row, minlength=number)
    about = _context(alerts, points, count)
    first = np.cumsum(count) - count
    behind = count[points.row] - 1 - (np.arange(len(points.row)) - first[points.row])  # visits after it
    older = np.maximum(count - LAST, 0)[points.row]
    rank = behind - LAST  # among the older ones
    step = np.where(older > BEFORE, (rank * BEFORE) // np.maximum(older, 1), rank)
    previous = np.where(older > BEFORE, ((rank - 1) * BEFORE) // np.maximum(older, 1), rank - 1)
    kept = (rank < 0) | (rank == 0) | (step != previous)
    chosen = points.take(kept)
    place = np.where(behind[kept] < LAST, LENGTH - 1 - behind[kept], BEFORE - 1 - step[kept])
    mask = np.zeros((number, LENGTH), np.float32)
    values = np.zeros((number, LENGTH, WIDTH), np.float32)
    mask[chosen.row, place] = 1
    values[chosen.row, place] = _values(chosen)
    return values, mask, about, count > 0


def odds(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the odds of a real-bogus score, of order one: most that is real lies above 0.99, and 0.7 is far from that."""
    safe = np.clip(score, 0.001, 0.999)
    found: NDArray[np.float64] = np.log(safe / (1 - safe)) / 4
    return found


def _values(points: curve.Points) -> Floats:
    """What the network sees of each visit."""
    same = np.diff(points.row, prepend=-1) == 0
    gap = np.where(same, np.diff(points.age, prepend=0), 0)
    snr = points.flux / points.err
    size = np.sign(points.flux) * np.log1p(np.abs(points.flux) / 100)
    other = _before(points, size)
    columns = [
        np.log1p(-points.age) / 3, np.log1p(np.maximum(gap, 0)) / 2, np.arcsinh(snr / 3) / 2, size / 5, np.log(points.err / 300) / 3,
        points.detected.astype(float), other[0], other[1],
    ]  # fmt: skip
    bands = np.eye(len(curve.BANDS))[points.band]
    return np.column_stack([*columns, bands]).astype(np.float32)


def _before(points: curve.Points, size: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Change since the visit before in the same band, and the time since [d], both scaled."""
    order = np.lexsort((points.age, points.band, points.row))
    same = (np.diff(points.row[order], prepend=-1) == 0) & (np.diff(points.band[order], prepend=-1) == 0)
    change, since = np.zeros(len(order)), np.zeros(len(order))
    change[order] = np.where(same, np.diff(size[order], prepend=0), 0)
    since[order] = np.where(same, np.log1p(np.maximum(np.diff(points.age[order], prepend=0), 0)), 0)
    return change / 2, since / 2


def _context(alerts: pd.DataFrame, points: curve.Points, count: NDArray[np.int64]) -> Floats:
    """What is known beside the visits; 0 where nothing is known, and a column that says so."""
    number = len(alerts)
    value = {name: pd.to_numeric(alerts[name]).to_numpy(float) for name in CONTEXT_INPUTS if name != "ss_object_id"}
    ra, dec = np.nan_to_num(value["ra"]), np.nan_to_num(value["dec"])
    near, star, asteroid = value["neighbour_distance_arcsec"], value["neighbour_star_score"], value["ss_distance_arcsec"]
    under = value["template_flux"]
    named = alerts["ss_object_id"].notna().to_numpy()
    age = alerts["mjd"].to_numpy(float) - value["first_mjd"]
    seen = points.detected
    detected = np.bincount(points.row[seen], minlength=number)
    negative = np.bincount(points.row[seen & (points.flux < 0)], minlength=number) / np.maximum(detected, 1)
    size = np.sign(points.flux) * np.log1p(np.abs(points.flux) / 100)
    mean = np.bincount(points.row[seen], size[seen], number) / np.maximum(detected, 1)
    spread = np.sqrt(np.maximum(np.bincount(points.row[seen], size[seen] ** 2, number) / np.maximum(detected, 1) - mean**2, 0))
    oldest = np.zeros(number)
    np.minimum.at(oldest, points.row[seen], points.age[seen])
    bands = np.zeros((number, len(curve.BANDS)))
    np.add.at(bands, (points.row[seen], points.band[seen]), 1)
    columns = [
        sky.galactic_latitude(ra, dec) / 45, np.abs(sky.galactic_latitude(ra, dec)) / 45, np.abs(sky.ecliptic_latitude(ra, dec)) / 30,
        np.isfinite(near), np.log1p(near), star, np.isfinite(star), named, np.log1p(asteroid), named & ~(asteroid > 2), odds(value["reliability"]),
        np.isfinite(value["reliability"]), np.log1p(value["n_detections"]) / 4, np.log1p(np.maximum(age, 0)) / 4,
        np.sign(value["flux"]), np.log1p(np.abs(value["snr"])) / 3,
        np.log1p(detected) / 3, np.log1p(count) / 4, negative, mean / 5, spread, np.log1p(-oldest) / 4, (bands > 0).sum(axis=1) / 3,
        bands.max(axis=1, initial=0) / np.maximum(detected, 1),
        np.isfinite(under), np.log1p(np.maximum(under, 0) / 100) / 5, np.arcsinh(10 * value["flux"] / np.maximum(under, 100)) / 3,
    ]  # fmt: skip
    made = np.column_stack(columns).astype(np.float32) if number else np.empty((0, CONTEXT), np.float32)
    return np.clip(np.nan_to_num(made, nan=0.0, posinf=0.0, neginf=0.0), -10, 10)
