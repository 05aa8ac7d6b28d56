"""TEMPLATE: one sentence on what this module tells of an alert, and the paper it follows."""

import numpy as np
import pandas as pd

from fink_broker.science import ScienceModule, flat


class Template(ScienceModule):
    """Half of faintest minus brightest magnitude [mag]; null below `min_points` detections."""

    name = "template"
    version = "1.0"
    inputs = ("lightcurve.mag",)  # columns of the alert row; see README.md
    outputs = {"amplitude_mag": "double", "n_points": "int"}
    min_points: int = 2  # a parameter: [science.params.template] min_points = 3

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Any number of alerts in, the same number of rows out, in the same order."""
        row, (mag,) = flat(alerts["lightcurve.mag"])  # all points one after the other, and the row that each belongs to
        points = pd.Series(mag, dtype=float).groupby(row)  # leaves out null
        brightest, faintest, count = (found.reindex(range(len(alerts))) for found in (points.min(), points.max(), points.count()))
        n_points = count.fillna(0).to_numpy(int)
        amplitude = np.where(n_points >= self.min_points, (faintest - brightest) / 2, np.nan)
        return pd.DataFrame({"amplitude_mag": amplitude, "n_points": n_points}, index=alerts.index)
