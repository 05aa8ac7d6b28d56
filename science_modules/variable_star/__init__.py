"""What kind of variable star an object is, and its period, from the longest light curve there is."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import curve, sky
from fink_broker.model import Onnx
from fink_broker.science import ScienceModule

from .periods import BANDS, Fold, Levelled, fold, joined

CLASSES = ("RR Lyrae", "Cepheid", "eclipsing binary", "long-period variable", "not periodic")
CONTEXT = ("ra", "dec", "neighbour_distance_arcsec", "neighbour_star_score", "n_detections", "first_mjd")
GAPS = (0.0, 0.01, 0.3, 2.5, 12.0, np.inf)  # edges [d] of gaps between points of a band that follow each other
SHARES = ("one", "two", "half", "saw", "dip")  # as in Fold.left
NAMES = (
    "log_period", "signal", *(f"left_{name}" for name in SHARES), "next_best", "log_false_alarm", "second", "lean", "broken", "points", "bands", "log_days",
    "cycles", "eta", *(f"gap_{place}" for place in range(len(GAPS) - 1)), "skew", "kurtosis", "outliers", "slope", "log_scatter", "snr",
    "scatter_gr", "scatter_ri", "latitude", "distance", "star", "log_detections", "log_age",
)  # fmt: skip
OF_CURVE = ("points", "log_days", "signal", "next_best", "gap_1", "gap_2", "gap_3", "skew", "log_scatter", "scatter_gr", "latitude")
OF_PERIOD = (
    "log_frequency", *SHARES, *(f"behind_{name}" for name in SHARES), "rank", "second", "lean", "broken", "day", "cycles", *OF_CURVE,
    *(f"chance_{place}" for place in range(len(CLASSES))),
)  # fmt: skip
MISSING = -99.0
AT_ONCE = 400  # alerts that are folded together


class VariableStar(ScienceModule):
    """Class, period, amplitude and false-alarm probability of a periodic variable; null below `min_points` measured points.

    Over the object's history (detections and forced photometry), an FFT Lomb-Scargle periodogram of all bands together, each levelled by its mean and
    scatter, proposes 24 periods of 0.1 d and more; the eight that a weighted wave with a level of its own in each band fits best are fitted with two
    harmonics and with the shapes of a pulsation and of an eclipse. Boosted trees give the class (`probability` is of it); others, which know the chances
    of the classes, choose the period: `period_probability` is the chance that it is right, within 2 % (10 % for a long-period variable). `period_days`
    of an eclipsing binary is that of its orbit, twice the peak's. `false_alarm_probability` is that of the best wave in noise (Baluev 2008, MNRAS 385,
    1279). `amplitude` [nJy] is half the range of the folded fit in `amplitude_band`, the band with most points.
    """

    name = "variable_star"
    version = "2.3"
    inputs = (*curve.HISTORY_INPUTS, *CONTEXT)
    outputs = {
        "class": "string", "probability": "double", "period_days": "double", "period_probability": "double", "amplitude": "double",
        "amplitude_band": "string", "false_alarm_probability": "double", "periodic": "double", "n_points": "int",
    }  # fmt: skip
    where = "n_detections >= 10 and ss_object_id is null"
    model_files = ("model.onnx", "period.onnx")
    min_points: int = 12

    def setup(self) -> None:
        """Load the trees of classes and of periods."""
        self._model, self._period = (Onnx(path) for path in self.model_paths())

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Fold all light curves, then ask for classes, then for periods."""
        out = {name: np.full(len(alerts), None if kind == "string" else np.nan, object if kind == "string" else float) for name, kind in self.outputs.items()}
        found, table = folded(alerts, max(self.min_points, 8))
        if len(found.row):
            (chances,) = self._model(table.astype(np.float32))
            periods = proposals(found, table, chances)
            likely = self._period(periods.reshape(-1, len(OF_PERIOD)).astype(np.float32))[0].reshape(found.frequency.shape)
            likely = likely * (1 - chances[:, [CLASSES.index("not periodic")]])
            every, best, chosen = np.arange(len(chances)), chances.argmax(axis=1), likely.argmax(axis=1)
            binary = best == CLASSES.index("eclipsing binary")
            out["class"][found.row] = np.array(CLASSES, object)[best]
            out["probability"][found.row] = chances[every, best]
            out["periodic"][found.row] = 1 - chances[:, CLASSES.index("not periodic")]
            out["period_days"][found.row] = np.where(binary, 2, 1) / found.frequency[every, chosen]
            out["period_probability"][found.row] = likely[every, chosen]
            out["amplitude"][found.row] = found.scatter * _half_range(found.waves[every, chosen])
            out["amplitude_band"][found.row] = np.array(BANDS, object)[found.band]
            out["false_alarm_probability"][found.row] = found.false_alarm
            out["n_points"][found.row] = found.number
        return pd.DataFrame(out, index=alerts.index)


def folded(alerts: pd.DataFrame, least: int) -> tuple[Fold, NDArray[np.float64]]:
    """What was found of the light curves that have enough points, and NAMES of each."""
    folds, tables = [], []
    for start in range(0, max(len(alerts), 1), AT_ONCE):
        part = alerts.iloc[start : start + AT_ONCE]
        found, used = fold(curve.points(part, prefix="history"), least)
        tables.append(features(found, used, part))
        folds.append(found.moved(start))
    return joined(folds), np.concatenate(tables)


def features(found: Fold, used: Levelled, alerts: pd.DataFrame) -> NDArray[np.float64]:
    """One row of NAMES for each folded light curve; none depends on when the template was taken, that is on a constant added to the flux of a band."""
    number, place, points, value = found.number, used.place, used.points, used.value
    size = len(number)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(place, values, size) / number

    same = np.diff(used.group, prepend=-1) == 0
    gap = np.where(same, np.diff(used.time, prepend=0), -1.0)
    jump = np.where(same, np.diff(value, prepend=0) ** 2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        eta = np.bincount(place, jump, size) / np.bincount(place, same, size)
        gaps = {}
        for one in range(len(GAPS) - 1):
            mine = (gap > GAPS[one]) & (gap <= GAPS[one + 1])
            gaps[f"gap_{one}"] = np.bincount(place, np.where(mine, jump, 0), size) / np.bincount(place, mine, size)
    time = used.time - mean(used.time)[place]
    first, waves = found.frequency[:, 0], found.waves[:, 0]
    height, second, lean = _harmonics(waves)
    spread = np.full((size, len(BANDS)), np.nan)
    key = place * len(BANDS) + points.band
    count, total, square, noise = (
        np.bincount(key, values, size * len(BANDS)).reshape(size, len(BANDS)) for values in (None, points.flux, points.flux**2, points.err**2)
    )
    many = count >= 4
    variance = square[many] / count[many] - (total[many] / count[many]) ** 2
    spread[many] = np.sqrt(np.maximum(variance - noise[many] / count[many], 0.1 * variance + 1e-9))  # without the noise, as far as one may
    about = {name: pd.to_numeric(alerts[name]).to_numpy(float)[found.row] for name in CONTEXT}
    now = alerts["mjd"].to_numpy(float)[found.row]
    made = {
        "log_period": -np.log10(first), "signal": found.signal, **{f"left_{name}": found.left[name][:, 0] for name in SHARES},
        "next_best": found.left["one"][:, 1], "log_false_alarm": np.log10(np.maximum(found.false_alarm, 1e-40)),
        "second": second / np.maximum(height, 1e-6), "lean": lean, "broken": found.broken[:, 0],
        "points": number, "bands": many.sum(axis=1),
        "log_days": np.log10(found.days), "cycles": np.log10(found.days * first), "eta": eta, **gaps, "skew": mean(value**3), "kurtosis": mean(value**4),
        "outliers": mean((np.abs(value) > 2).astype(float)), "slope": mean(time * value) / np.maximum(mean(time**2), 1e-9) * found.days,
        "log_scatter": np.log10(np.maximum(found.scatter, 1e-3)),
        "snr": np.log10(np.maximum(found.scatter, 1e-3)) - mean(np.log10(points.err)),
        "scatter_gr": np.log10(spread[:, 1] / spread[:, 2]), "scatter_ri": np.log10(spread[:, 2] / spread[:, 3]),
        "latitude": np.abs(sky.galactic_latitude(about["ra"], about["dec"])),
        "distance": about["neighbour_distance_arcsec"], "star": about["neighbour_star_score"],
        "log_detections": np.log10(np.maximum(about["n_detections"], 1)), "log_age": np.log10(np.maximum(now - about["first_mjd"], 0.01)),
    }  # fmt: skip
    table = np.column_stack([made[name] for name in NAMES])
    return np.where(np.isfinite(table), table, MISSING)


def proposals(found: Fold, table: NDArray[np.float64], chances: NDArray[np.float32]) -> NDArray[np.float64]:
    """OF_PERIOD of each period proposed (light curve, period, number); `chances` are those of CLASSES."""
    shape = found.frequency.shape
    height, second, lean = _harmonics(found.waves)
    behind = {f"behind_{name}": 0.5 * found.number[:, None] * np.log(np.maximum(share, 1e-3) / np.maximum(share.min(axis=1, keepdims=True), 1e-3))
              for name, share in found.left.items()}  # fmt: skip
    whole = {name: table[:, [NAMES.index(name)]] for name in OF_CURVE} | {f"chance_{place}": chances[:, [place]] for place in range(len(CLASSES))}
    made = {
        "log_frequency": np.log10(found.frequency), **found.left, **behind, "rank": np.arange(shape[1])[None, :], "second": second / np.maximum(height, 1e-6),
        "lean": lean, "broken": found.broken, "day": np.abs(found.frequency - np.round(found.frequency)),
        "cycles": np.log10(found.frequency * found.days[:, None]), **whole,
    }  # fmt: skip
    return np.stack([np.broadcast_to(made[name], shape) for name in OF_PERIOD], axis=-1)


def _harmonics(waves: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Heights of the first and second harmonic, and how far the second leads [rad]."""
    height, second = np.hypot(waves[..., 0], waves[..., 1]), np.hypot(waves[..., 2], waves[..., 3])
    lead = np.arctan2(waves[..., 3], waves[..., 2]) - 2 * np.arctan2(waves[..., 1], waves[..., 0])
    return height, second, np.mod(lead, 2 * np.pi)


def _half_range(harmonics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half of highest minus lowest of the folded fit."""
    phase = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = np.array([np.cos(phase), np.sin(phase), np.cos(2 * phase), np.sin(2 * phase)])
    shape = (harmonics[:, :, None] * waves).sum(axis=1)  # a product of matrices would differ in the last digits with the number of stars
    found: NDArray[np.float64] = np.ptp(shape, axis=1) / 2 if len(shape) else np.empty(0)
    return found
