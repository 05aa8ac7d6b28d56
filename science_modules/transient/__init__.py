"""What an object is, with a probability for each of fourteen classes at every alert: a small attention network over the light curve so far."""

import numpy as np
import pandas as pd

from fink_broker.model import Onnx
from fink_broker.science import ScienceModule

from .series import CONTEXT_INPUTS, CURVE_INPUTS, series

CLASSES = {  # output -> name
    "sn_ia": "SN Ia", "sn_ibc": "SN Ib/c", "sn_ii": "SN II", "slsn": "SLSN", "tde": "TDE", "kilonova": "kilonova", "agn": "AGN", "dwarf_nova": "dwarf nova",
    "flare": "flare", "microlensing": "microlensing", "periodic_variable": "periodic variable", "asteroid": "asteroid", "bogus": "bogus", "other": "other",
}  # fmt: skip
TOGETHER = 256  # alerts that go through the network at once: what fits into the processor's cache


class Transient(ScienceModule):
    """Calibrated probabilities of fourteen classes, from the first detection on; `class` is the likeliest, `probability` its own.

    The network sees up to 32 visits (the last 20 and 12 of those before), each with its time, band, flux and error, and beside them: nearest catalogued
    source, light in the template, Solar System object, real-bogus score, galactic and ecliptic latitude, number of detections, time since the first.
    Nothing later than the alert.
    Probabilities hold for a sky in which all classes are alike but kilonovae (0.3 as common), SN Ib/c (0.75), SN II and AGN (1.5): weigh them by how
    common they are where you look.
    `entropy` [bits], at most 3.8.
    """

    name = "transient"
    version = "1.5"
    inputs = (*CURVE_INPUTS, *CONTEXT_INPUTS)
    outputs = {"class": "string", "probability": "double", "entropy": "double", **dict.fromkeys(CLASSES, "double")}
    model_files = ("model.onnx",)

    def setup(self) -> None:
        """Load the network."""
        self._model = Onnx(self.model_paths()[0])

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Arrange all light curves, then ask the network, some alerts at a time."""
        points, mask, about, some = series(alerts)
        chances = np.full((len(alerts), len(CLASSES)), np.nan)
        rows = np.flatnonzero(some)
        for start in range(0, len(rows), TOGETHER):
            few = rows[start : start + TOGETHER]
            chances[few] = self._model(points[few], mask[few], about[few])[0]
        best = np.where(some, np.nan_to_num(chances).argmax(axis=1), 0) if len(alerts) else np.zeros(0, int)
        out = {
            "class": np.where(some, np.array(list(CLASSES.values()), object)[best], None), "probability": chances.max(axis=1) if len(alerts) else chances[:, 0],
            "entropy": -(chances * np.log2(np.maximum(chances, 1e-12))).sum(axis=1), **dict(zip(CLASSES, chances.T, strict=True)),
        }  # fmt: skip
        return pd.DataFrame(out, index=alerts.index)
