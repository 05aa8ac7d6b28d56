"""For training: what a simple rule would do on the same alerts, so that a card can say by how much the model beats it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import curve

DEPTH, LEAST = 4, 30  # of the tree of cuts
NAMES = ("magnitude", "g_minus_r", "last_minus_brightest", "log_detections", "log_days", "has_colour")


def simple(points: curve.Points, number: int) -> NDArray[np.float64]:
    """Six numbers of each of `number` light curves (NAMES): brightest magnitude, colour of the brightest points, fading, detections, days."""
    size = number * len(curve.BANDS)
    key = points.row * len(curve.BANDS) + points.band
    flux = np.abs(points.flux)
    good = points.detected | (flux > 3 * points.err)
    top = np.zeros(size)
    np.maximum.at(top, key[good], flux[good])
    by_band = top.reshape(number, len(curve.BANDS))
    brightest = by_band.max(axis=1, initial=0.0)
    last = np.zeros(number)
    last[points.row[good]] = flux[good]  # points are in time order
    green, red = by_band[:, curve.BANDS.index("g")], by_band[:, curve.BANDS.index("r")]
    both = (green > 0) & (red > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        colour = np.where(both, -2.5 * np.log10(green / red), 0.0)
        fading = np.where(brightest > 0, -2.5 * np.log10(last / brightest), 0.0)
        magnitude = np.where(brightest > 0, curve.ZERO_POINT - 2.5 * np.log10(brightest), 25.0)
    detections = np.bincount(points.row[points.detected], minlength=number)
    oldest = np.zeros(number)
    np.minimum.at(oldest, points.row[points.detected], points.age[points.detected])
    return np.column_stack([magnitude, colour, fading, np.log1p(detections), np.log1p(-oldest), both])


def cuts(table: NDArray[np.float64], wanted: NDArray[Any], depth: int = DEPTH, alike: bool = False) -> Any:
    """Cuts in magnitude and colour alone, as a tree of at most `depth` in a row finds them; call `.predict(table[:, :2])`.

    `alike`: every class weighs as much, however common it is.
    """
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=depth, min_samples_leaf=LEAST, random_state=1, class_weight="balanced" if alike else None).fit(table[:, :2], wanted)


def regression(table: NDArray[np.float64], wanted: NDArray[Any]) -> Any:
    """A logistic regression on scaled numbers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(table, wanted)


def shares(guess: NDArray[Any], known: NDArray[Any], things: NDArray[Any]) -> tuple[float, float, float]:
    """Share that is right of alerts, of objects (each counts as one), and of the alerts of a class, averaged over the classes."""
    good = pd.Series(guess == known)
    return float(good.mean()), float(good.groupby(things).mean().mean()), float(good.groupby(known).mean().mean())
