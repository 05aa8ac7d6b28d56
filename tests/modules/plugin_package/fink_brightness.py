"""Whether one could see it without a telescope."""

import pandas as pd

from fink_broker.science import ScienceModule


class Brightness(ScienceModule):
    """Brighter than magnitude `limit`."""

    name = "brightness"
    version = "1.0"
    inputs = ("mag",)
    outputs = {"naked_eye": "boolean"}
    limit: float = 6.0

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """One comparison."""
        return pd.DataFrame({"naked_eye": alerts["mag"] < self.limit}, index=alerts.index)
