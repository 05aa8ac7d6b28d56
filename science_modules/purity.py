"""Quality cut for a pure stream of ZTF alerts (Mahabal et al. 2019, PASP 131, 038002, as used by Pitt-Google)."""

import numpy as np
import pandas as pd

from fink_broker.science import ScienceModule


class Purity(ScienceModule):
    """Whether a ZTF detection looks like a real point source.

    Real-bogus `rb` and no bad pixels; width `max_fwhm_pixels` [pixels of 1.01 arcsec], elongation, and aperture minus
    fitted magnitude [mag] as of a point source. Null where the survey gives none of these.
    """

    name = "purity"
    version = "1.0"
    surveys = ("ztf",)
    inputs = tuple(f"packet.candidate.{field}" for field in ("rb", "nbad", "fwhm", "elong", "magdiff"))
    outputs = {"passes": "boolean"}
    min_rb: float = 0.65
    max_fwhm_pixels: float = 5.0
    max_elongation: float = 1.2
    max_magdiff: float = 0.1

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Five cuts."""
        rb, nbad, fwhm, elong, magdiff = (pd.to_numeric(alerts[column]) for column in self.inputs)
        passes = (rb >= self.min_rb) & (nbad == 0) & (fwhm <= self.max_fwhm_pixels) & (elong <= self.max_elongation)
        passes &= magdiff.abs() <= self.max_magdiff
        known = rb.notna() & nbad.notna() & fwhm.notna() & elong.notna() & magdiff.notna()
        return pd.DataFrame({"passes": np.where(known, passes, None)}, index=alerts.index)
