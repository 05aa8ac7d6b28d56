"""Light-curve features of each band, by the light-curve package (Malanchev et al. 2021, MNRAS 502, 5147)."""

import light_curve as licu
import numpy as np
import pandas as pd

from fink_broker.science import ScienceModule, flat

FEATURES = {
    "amplitude": licu.Amplitude(),
    "beyond_1_std": licu.BeyondNStd(1),
    "kurtosis": licu.Kurtosis(),
    "linear_fit": licu.LinearFit(),
    "maximum_slope": licu.MaximumSlope(),
    "median_absolute_deviation": licu.MedianAbsoluteDeviation(),
    "reduced_chi2": licu.ReducedChi2(),
    "skew": licu.Skew(),
    "standard_deviation": licu.StandardDeviation(),
    "stetson_k": licu.StetsonK(),
    "weighted_mean": licu.WeightedMean(),
}
NAMES = ("amplitude", "beyond_1_std", "kurtosis", "slope", "slope_err", "slope_chi2", "maximum_slope", "median_absolute_deviation",
         "reduced_chi2", "skew", "standard_deviation", "stetson_k", "weighted_mean")  # fmt: skip
BANDS = ("u", "g", "r", "i", "z", "y")


class Features(ScienceModule):
    """Statistics of the difference fluxes [nJy; slopes nJy/d] of the detections in each band; null below four of them."""

    name = "features"
    version = "1.0"
    inputs = ("lightcurve.mjd", "lightcurve.band", "lightcurve.flux", "lightcurve.flux_err", "lightcurve.kind")
    outputs = {f"{name}_{band}": "double" for band in BANDS for name in NAMES}
    where = "size(lightcurve.mjd) >= 4"
    min_points: int = 4

    def setup(self) -> None:
        """Make the extractor once."""
        self._extract = licu.Extractor(*FEATURES.values())

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """One call of the package for all light curves of a batch."""
        rows, (mjd, band, flux, err, kind) = flat(*(alerts[column] for column in self.inputs))
        result = np.full((len(alerts), len(BANDS), len(NAMES)), np.nan)
        if len(rows):
            usable = (kind == "detection") & np.isfinite(flux.astype(float)) & (err.astype(float) > 0)
            code = np.full(len(rows), -1)
            for place, name in enumerate(BANDS):
                code[band == name] = place
            key = np.where(usable & (code >= 0), rows * len(BANDS) + code, -1)
            order = np.lexsort((mjd, key))
            order = order[key[order] >= 0]
            key, mjd, flux, err = key[order], mjd[order].astype(float), flux[order].astype(float), err[order].astype(float)
            new = np.append(True, (np.diff(key) > 0) | (np.diff(mjd) > 0))  # two points of one time: the first
            key, mjd, flux, err = key[new], mjd[new], flux[new], err[new]
            groups, starts, counts = np.unique(key, return_index=True, return_counts=True)
            chosen = counts >= self.min_points
            curves = [(mjd[s : s + n] - mjd[s], flux[s : s + n], err[s : s + n]) for s, n in zip(starts[chosen], counts[chosen], strict=True)]
            if curves:
                values = np.asarray(self._extract.many(curves, n_jobs=1, fill_value=np.nan, sorted=True, check=False))
                result.reshape(-1, len(NAMES))[groups[chosen]] = np.where(np.isfinite(values), values, np.nan)
        return pd.DataFrame(result.reshape(len(alerts), len(self.outputs)), columns=list(self.outputs), index=alerts.index)
