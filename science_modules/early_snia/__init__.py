"""How likely a young transient is a type Ia supernova: a random forest on a parametric fit of its rise."""

import numpy as np
import pandas as pd

from fink_broker import curve
from fink_broker.model import Onnx
from fink_broker.science import ScienceModule

from .rise import DAYS, MISSING, features


class EarlySNIa(ScienceModule):
    """Probability that an object is a type Ia supernova, from a light curve of a few points on.

    A curve of rise and decline (Bazin et al. 2009, A&A 499, 653) with a height in each band is fitted to detections, forced photometry and
    upper limits of the last 120 d; a forest of 100 trees sees its parameters, colours, slopes and quality. Null below `min_detections`
    points of a signal-to-noise ratio of 5. `entropy` [bits] says which alerts a label would teach most: 1 where the model cannot tell.
    `days_from_peak` is where the fit puts the alert (negative: before the maximum), `days_error` how sure it is.
    """

    name = "early_snia"
    version = "1.3"
    inputs = (*curve.INPUTS,)
    outputs = {"probability": "double", "entropy": "double", "days_from_peak": "double", "days_error": "double", "n_detections": "int"}
    where = "flux > 0 and mjd - first_mjd < 100 and ss_object_id is null"
    model_files = ("model.onnx",)
    min_detections: int = 1

    def setup(self) -> None:
        """Load the forest."""
        self._model = Onnx(self.model_paths()[0])

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Fit all light curves, then ask the forest once."""
        points = curve.points(alerts, DAYS)
        found = features(points.row, points.age, points.band, points.flux, points.err, len(alerts))
        detections = np.bincount(points.row[points.flux >= 5 * points.err], minlength=len(alerts)) if len(alerts) else np.zeros(0, int)
        enough = detections >= self.min_detections
        chance = np.full(len(alerts), np.nan)
        if enough.any():
            chance[enough] = self._model(np.where(np.isfinite(found), found, MISSING)[enough].astype(np.float32))[1][:, 1]
        clipped = np.clip(chance, 1e-12, 1 - 1e-12)
        out = {
            "probability": chance, "entropy": -(clipped * np.log2(clipped) + (1 - clipped) * np.log2(1 - clipped)),
            "days_from_peak": np.where(enough, -found[:, 1], np.nan), "days_error": np.where(enough, found[:, 2], np.nan), "n_detections": detections,
        }  # fmt: skip
        return pd.DataFrame(out, index=alerts.index)
