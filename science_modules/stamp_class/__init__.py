"""What the cutouts of a first alert show: artefact, asteroid, transient beside a galaxy, active nucleus or variable star."""

import numpy as np
import pandas as pd

from fink_broker.model import Onnx
from fink_broker.science import ScienceModule

from .stamps import CONTEXT_INPUTS, NAMES, stamps

CLASSES = ("bogus", "asteroid", "transient", "agn", "variable_star")
TOGETHER = 64  # alerts that go through the network at once: what fits into the processor's cache


class StampClass(ScienceModule):
    """Probabilities of five classes from science, template and difference cutout, and the likeliest; null where a cutout is missing.

    A convolutional network sees the middle 31 × 31 pixels of each in units of its noise, and beside them the sign and signal-to-noise ratio of the detection,
    galactic and ecliptic latitude, the nearest catalogued source, and the extremes of the rest of each cutout; no real-bogus score, so that the two can be
    compared. `real` is 1 minus bogus.
    """

    name = "stamp_class"
    version = "1.4"
    inputs = (*NAMES, *CONTEXT_INPUTS)
    outputs = {"class": "string", "probability": "double", "real": "double", **dict.fromkeys(CLASSES, "double")}
    where = "n_detections <= 1"
    model_files = ("model.onnx",)

    def setup(self) -> None:
        """Load the network."""
        self._model = Onnx(self.model_paths()[0])

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Read the images, then ask the network, some alerts at a time."""
        images, about, some = stamps(alerts)
        chances = np.full((len(alerts), len(CLASSES)), np.nan)
        rows = np.flatnonzero(some)
        for start in range(0, len(rows), TOGETHER):
            few = rows[start : start + TOGETHER]
            chances[few] = self._model(images[few], about[few])[0]
        best = np.nan_to_num(chances).argmax(axis=1)
        out = {"class": np.where(some, np.array(CLASSES, object)[best], None), "probability": chances[np.arange(len(alerts)), best], "real": 1 - chances[:, 0]}
        return pd.DataFrame({**out, **dict(zip(CLASSES, chances.T, strict=True))}, index=alerts.index)
