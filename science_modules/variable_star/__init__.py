"""What kind of variable star an object is, and its period, from the longest light curve there is."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import curve
from fink_broker.model import Onnx
from fink_broker.science import ScienceModule

from .periods import BANDS, Fold, fold

CLASSES = ("RR Lyrae", "Cepheid", "eclipsing binary", "long-period variable", "not periodic")
CONTEXT = ("neighbour_distance_arcsec", "neighbour_star_score", "n_detections", "first_mjd")
NAMES = (
    "log_period", "signal", "left_1", "left_2", "left_half", "log_false_alarm", "second", "lean", "points", "log_days", "cycles", "eta", "skew", "outliers",
    "slope", "negative", "log_scatter", "snr", "scatter_gr", "scatter_ri", "distance", "star", "log_detections", "log_age",
)  # fmt: skip
MISSING = -99.0


class VariableStar(ScienceModule):
    """Class, period, amplitude and false-alarm probability of a periodic variable; null below `min_points` measured points.

    An FFT Lomb-Scargle periodogram of all bands together, up to 8 cycles a day, over the object's history (detections and forced photometry, each band
    levelled by its mean and scatter); its highest peaks are fitted with two harmonics. `period_days` of an eclipsing binary is that of its orbit, twice
    the peak's. `false_alarm_probability` is that of the peak in noise (Baluev 2008, MNRAS 385, 1279). `amplitude` [nJy] is half the range of
    the folded fit in `amplitude_band`, the band with most points. A forest of 100 trees gives the class; `probability` is of that class.
    """

    name = "variable_star"
    version = "1.1"
    inputs = (*curve.HISTORY_INPUTS, *CONTEXT)
    outputs = {
        "class": "string", "probability": "double", "period_days": "double", "amplitude": "double", "amplitude_band": "string",
        "false_alarm_probability": "double", "periodic": "double", "n_points": "int",
    }  # fmt: skip
    where = "n_detections >= 10 and ss_object_id is null"
    model_files = ("model.onnx",)
    min_points: int = 12

    def setup(self) -> None:
        """Load the forest."""
        self._model = Onnx(self.model_paths()[0])

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Fold all light curves, then ask the forest once."""
        out = {name: np.full(len(alerts), None if kind == "string" else np.nan, object if kind == "string" else float) for name, kind in self.outputs.items()}
        points = curve.points(alerts, prefix="history")
        found, used, value = fold(points, max(self.min_points, 8))
        if len(found.row):
            chances = self._model(features(found, used, value, alerts).astype(np.float32))[1]
            best = chances.argmax(axis=1)
            binary = best == CLASSES.index("eclipsing binary")
            out["class"][found.row] = np.array(CLASSES, object)[best]
            out["probability"][found.row] = chances[np.arange(len(best)), best]
            out["periodic"][found.row] = 1 - chances[:, CLASSES.index("not periodic")]
            out["period_days"][found.row] = np.where(binary, 2, 1) / found.frequency
            out["amplitude"][found.row] = found.scatter * _half_range(found.harmonics)
            out["amplitude_band"][found.row] = np.array(BANDS, object)[found.band]
            out["false_alarm_probability"][found.row] = found.false_alarm
            out["n_points"][found.row] = found.number
        return pd.DataFrame(out, index=alerts.index)


def features(found: Fold, points: curve.Points, value: NDArray[np.float64], alerts: pd.DataFrame) -> NDArray[np.float64]:
    """One row of NAMES for each folded light curve."""
    number, place = found.number, np.repeat(np.arange(len(found.row)), found.number.astype(int))
    size = len(number)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(place, values, size) / number

    same = (np.diff(points.band, prepend=-1) == 0) & (np.diff(place, prepend=-1) == 0)
    jump = np.where(same, np.diff(value, prepend=0) ** 2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        eta = np.bincount(place, jump, size) / np.bincount(place, same, size)
    t = points.age - mean(points.age)[place]
    height = np.hypot(found.harmonics[:, 0], found.harmonics[:, 1])
    second = np.hypot(found.harmonics[:, 2], found.harmonics[:, 3])
    lean = np.arctan2(found.harmonics[:, 3], found.harmonics[:, 2]) - 2 * np.arctan2(found.harmonics[:, 1], found.harmonics[:, 0])
    spread = np.full((size, len(BANDS)), np.nan)
    square, count = (np.bincount(place * len(BANDS) + points.band, values, size * len(BANDS)).reshape(size, -1) for values in (points.flux**2, None))
    total = np.bincount(place * len(BANDS) + points.band, points.flux, size * len(BANDS)).reshape(size, -1)
    many = count >= 4
    spread[many] = np.sqrt(np.maximum(square[many] / count[many] - (total[many] / count[many]) ** 2, 1e-9))
    about = {name: pd.to_numeric(alerts[name]).to_numpy(float)[found.row] for name in CONTEXT}
    now = alerts["mjd"].to_numpy(float)[found.row]
    made = {
        "log_period": -np.log10(found.frequency), "signal": found.signal, "left_1": found.chi2[:, 0], "left_2": found.chi2[:, 1], "left_half": found.chi2[:, 2],
        "log_false_alarm": np.log10(np.maximum(found.false_alarm, 1e-40)), "second": second / np.maximum(height, 1e-6), "lean": np.mod(lean, 2 * np.pi),
        "points": number, "log_days": np.log10(found.days), "cycles": np.log10(found.days * found.frequency), "eta": eta, "skew": mean(value**3),
        "outliers": mean((np.abs(value) > 2).astype(float)), "slope": mean(t * value) / np.maximum(mean(t**2), 1e-9) * found.days,
        "negative": mean((points.flux < 0).astype(float)), "log_scatter": np.log10(np.maximum(found.scatter, 1e-3)),
        "snr": np.log10(np.maximum(mean(np.abs(points.flux) / points.err), 1e-3)),
        "scatter_gr": np.log10(spread[:, 1] / spread[:, 2]), "scatter_ri": np.log10(spread[:, 2] / spread[:, 3]),
        "distance": about["neighbour_distance_arcsec"], "star": about["neighbour_star_score"],
        "log_detections": np.log10(np.maximum(about["n_detections"], 1)), "log_age": np.log10(np.maximum(now - about["first_mjd"], 0.01)),
    }  # fmt: skip
    table = np.column_stack([made[name] for name in NAMES])
    return np.where(np.isfinite(table), table, MISSING)


def _half_range(harmonics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half of highest minus lowest of the folded fit."""
    phase = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = np.array([np.cos(phase), np.sin(phase), np.cos(2 * phase), np.sin(2 * phase)])
    shape = (harmonics[:, :, None] * waves).sum(axis=1)  # a product of matrices would differ in the last digits with the number of stars
    found: NDArray[np.float64] = np.ptp(shape, axis=1) / 2 if len(shape) else np.empty(0)
    return found
