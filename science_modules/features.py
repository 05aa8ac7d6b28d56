"""Light-curve features of each band, by the light-curve package (Malanchev et al. 2021, MNRAS 502, 5147)."""

import light_curve as licu
import numpy as np
import pandas as pd

from fink_broker.science import ScienceModule, flat

FEATURES = {  # names of what each extractor gives
    licu.Amplitude(): ("amplitude",),
    licu.BeyondNStd(1): ("beyond_1_std",),
    licu.Eta(): ("eta",),
    licu.InterPercentileRange(0.1): ("inter_percentile_range_10",),
    licu.Kurtosis(): ("kurtosis",),
    licu.LinearFit(): ("slope", "slope_err", "slope_chi2"),
    licu.MaximumSlope(): ("maximum_slope",),
    licu.Mean(): ("mean",),
    licu.Median(): ("median",),
    licu.MedianAbsoluteDeviation(): ("median_absolute_deviation",),
    licu.ReducedChi2(): ("reduced_chi2",),
    licu.Skew(): ("skew",),
    licu.StandardDeviation(): ("standard_deviation",),
    licu.StetsonK(): ("stetson_k",),
    licu.WeightedMean(): ("weighted_mean",),
}
NAMES = tuple(name for names in FEATURES.values() for name in names)
BANDS = ("u", "g", "r", "i", "z", "y")


class Features(ScienceModule):
    """Statistics of the difference fluxes [nJy; slopes nJy/d] of the detections in each band, up to the alert's own time.

    Null in bands with fewer than `min_points` detections (at least four: kurtosis needs them), and where a statistic is not
    defined. Of several detections of one time and band the first counts.
    """

    name = "features"
    version = "1.2"
    inputs = ("mjd", "lightcurve.mjd", "lightcurve.band", "lightcurve.flux", "lightcurve.flux_err", "lightcurve.kind")
    outputs = {f"{name}_{band}": "double" for band in BANDS for name in NAMES}
    where = "size(lightcurve.mjd) >= 4"
    min_points: int = 4

    def setup(self) -> None:
        """Make the extractor once."""
        self._extract = licu.Extractor(*FEATURES)

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """One call of the package for all light curves of a batch."""
        rows, (mjd, band, flux, err, kind) = flat(*(alerts[column] for column in self.inputs[1:]))
        mjd, flux, err = (values.astype(float) for values in (mjd, flux, err))
        code = np.full(len(rows), -1)
        for place, name in enumerate(BANDS):
            code[band == name] = place
        later = mjd > alerts["mjd"].to_numpy(float)[rows] + 1e-9
        chosen = np.flatnonzero((code >= 0) & (kind == "detection") & np.isfinite(mjd + flux) & (err > 0) & ~later)
        key = rows[chosen] * len(BANDS) + code[chosen]  # one light curve for each alert and band
        order = np.lexsort((mjd[chosen], key))
        key, mjd, flux, err = key[order], *(values[chosen[order]] for values in (mjd, flux, err))
        new = (np.diff(key, prepend=-1) > 0) | (np.diff(mjd, prepend=-np.inf) > 0)
        key, mjd, flux, err = key[new], mjd[new], flux[new], err[new]
        keys, starts, counts = np.unique(key, return_index=True, return_counts=True)
        long = counts >= max(self.min_points, 4)
        curves = [(mjd[s : s + n] - mjd[s], flux[s : s + n], err[s : s + n]) for s, n in zip(starts[long], counts[long], strict=True)]
        result = np.full((len(alerts) * len(BANDS), len(NAMES)), np.nan)
        if curves:
            values = np.asarray(self._extract.many(curves, n_jobs=1, fill_value=np.nan, sorted=True, check=False))
            result[keys[long]] = np.where(np.isfinite(values), values, np.nan)
        return pd.DataFrame(result.reshape(len(alerts), len(self.outputs)), columns=list(self.outputs), index=alerts.index)
