"""Solar System objects: known ones by the survey's own association, candidates by what they lack."""

import numpy as np
import pandas as pd

from fink_broker.science import ScienceModule


class SolarSystem(ScienceModule):
    """Whether an alert is of a known Solar System object, or may be of an unknown one.

    `known`: the survey names an object within `radius_arcsec`. `candidate`: none, detected once only, brighter than its
    reference, and neither a star within `star_arcsec` nor a catalogued object there (after the first stage of the asteroid
    search of Fink, Moller et al. 2021, MNRAS 501, 3272).
    """

    name = "solar_system"
    version = "1.0"
    inputs = ("ss_object_id", "ss_distance_arcsec", "n_detections", "flux", "neighbour_distance_arcsec", "neighbour_star_score")
    outputs = {"known": "boolean", "candidate": "boolean", "distance_arcsec": "double"}
    radius_arcsec: float = 5.0
    star_arcsec: float = 5.0
    star_score: float = 0.76

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Cuts on whole columns."""
        named = alerts["ss_object_id"].notna()
        distance = pd.to_numeric(alerts["ss_distance_arcsec"]).where(named)
        known = named & ~(distance > self.radius_arcsec)  # a survey that gives no distance has associated by orbit
        near = pd.to_numeric(alerts["neighbour_distance_arcsec"])
        star = (near < self.star_arcsec) & (pd.to_numeric(alerts["neighbour_star_score"]) > self.star_score)
        once = pd.to_numeric(alerts["n_detections"]) == 1
        candidate = ~known & once & (pd.to_numeric(alerts["flux"]) > 0) & ~star & ~(near < 1.0)
        return pd.DataFrame(
            {"known": known.astype(bool), "candidate": np.asarray(candidate, bool), "distance_arcsec": distance.astype(float)},
            index=alerts.index,
        )
