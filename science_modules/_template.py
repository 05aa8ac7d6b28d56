"""TEMPLATE: one sentence on what this module tells of an alert, and the paper it follows."""

import pandas as pd

from fink_broker.science import ScienceModule


class Template(ScienceModule):
    """Half of faintest minus brightest magnitude [mag]; null below `min_points` detections."""

    name = "template"
    version = "1.0"
    inputs = ("lightcurve.mag",)  # columns of the alert row; see README.md
    outputs = {"amplitude_mag": "double", "n_points": "int"}
    min_points: int = 2  # a parameter: [science.params.template] min_points = 3

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """See ScienceModule: any number of alerts in, the same number of rows out."""
        known = alerts["lightcurve.mag"].map(lambda mag: pd.Series(mag, dtype=float).dropna())
        count = known.map(len).astype(int)
        half = known.map(lambda mag: (mag.max() - mag.min()) / 2).astype(float)
        return pd.DataFrame({"amplitude_mag": half.where(count >= self.min_points), "n_points": count})
