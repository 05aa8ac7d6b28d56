"""Cut for extragalactic transients, after the one of the Pitt-Google broker (mwvgroup/Pitt-Google-Broker, 2021)."""

import numpy as np
import pandas as pd

from fink_broker.science import ScienceModule, flat


class Extragalactic(ScienceModule):
    """Whether an alert may be of a transient in another galaxy.

    It is brighter than its reference; its nearest catalogued neighbour is further than `star_arcsec`, or no star, or none;
    two of its detections of positive flux, up to its own time, are at least `min_minutes` apart; no known Solar System object is within
    `ss_arcsec`. The first rule that fails is in `reason`.
    """

    name = "extragalactic"
    version = "1.1"
    inputs = ("flux", "neighbour_distance_arcsec", "neighbour_star_score", "ss_object_id", "ss_distance_arcsec", "mjd", "lightcurve.mjd",
              "lightcurve.flux", "lightcurve.kind")  # fmt: skip
    outputs = {"passes": "boolean", "reason": "string"}
    star_arcsec: float = 1.5
    star_score: float = 0.5
    min_minutes: float = 30.0
    ss_arcsec: float = 5.0

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Cuts on whole columns; the span of positive detections needs no sorted times."""
        near, score = pd.to_numeric(alerts["neighbour_distance_arcsec"]), pd.to_numeric(alerts["neighbour_star_score"])
        distance = pd.to_numeric(alerts["ss_distance_arcsec"])
        moving = alerts["ss_object_id"].notna() & ~(distance > self.ss_arcsec) & ~(distance < 0)
        rows, (mjd, flux, kind) = flat(*(alerts[column] for column in self.inputs[6:]))
        good = (kind == "detection") & (flux.astype(float) > 0) & ~(mjd.astype(float) > alerts["mjd"].to_numpy(float)[rows] + 1e-9)
        first, last = np.full(len(alerts), np.inf), np.full(len(alerts), -np.inf)
        np.minimum.at(first, rows[good], mjd[good].astype(float))
        np.maximum.at(last, rows[good], mjd[good].astype(float))
        rules = {
            "fainter than the reference": ~(pd.to_numeric(alerts["flux"]) > 0),
            "star": (near <= self.star_arcsec) & (score >= self.star_score),
            "Solar System object": moving,
            "no two detections far enough apart": pd.Series(~(last - first >= self.min_minutes / 1440 - 1e-9), index=alerts.index),
        }
        reason = np.select([np.asarray(rule, bool) for rule in rules.values()], list(rules), default="")
        passes = reason == ""
        return pd.DataFrame({"passes": passes, "reason": np.where(passes, None, reason.astype(object))}, index=alerts.index)
