"""How fast an object brightens or fades: rates from its last points, the same at every run."""

import numpy as np
import pandas as pd

from fink_broker.science import ScienceModule, flat

BANDS = ("u", "g", "r", "i", "z", "y")


class MagnitudeRate(ScienceModule):
    """Change of magnitude per day [mag/d]: negative while it brightens.

    `rate` is of this alert's band between this detection and the previous one there, at least `min_days` earlier and of the
    same sign of flux; `rate_<band>` of the last two detections of each band. If the point before was only an upper limit,
    `limit_rate` is an upper bound of the rate (it brightened at least so fast). Errors are propagated from the magnitudes.
    """

    name = "magnitude_rate"
    version = "1.0"
    inputs = ("mjd", "band", "first_mjd", "lightcurve.mjd", "lightcurve.band", "lightcurve.mag", "lightcurve.mag_err",
              "lightcurve.flux", "lightcurve.limit_mag", "lightcurve.kind")  # fmt: skip
    outputs = {"rate": "double", "rate_err": "double", "days": "double", "limit_rate": "double", "age_days": "double",
               **{f"rate{what}_{band}": "double" for band in BANDS for what in ("", "_err")}}  # fmt: skip
    min_days: float = 0.02  # points closer in time say nothing of a rate
    max_days: float = 30.0

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Last two detections of each object and band, found by one sort."""
        out = {name: np.full(len(alerts), np.nan) for name in self.outputs}
        out["age_days"] = (alerts["mjd"] - alerts["first_mjd"]).to_numpy(float)
        rows, (mjd, band, mag, err, flux, limit, kind) = flat(*(alerts[column] for column in self.inputs[3:]))
        mjd, mag, err, flux, limit = (values.astype(float) for values in (mjd, mag, err, flux, limit))
        sign = np.sign(flux)
        found = (kind == "detection") & np.isfinite(mag)
        now = alerts["mjd"].to_numpy(float)
        for name in BANDS:
            chosen = np.flatnonzero(found & (band == name) & (mjd <= now[rows] + 1e-9) if len(rows) else found)
            chosen = chosen[np.lexsort((mjd[chosen], rows[chosen]))]
            last = chosen[np.append(np.diff(rows[chosen]) > 0, True)] if len(chosen) else chosen
            end = np.full(len(alerts), -1)
            end[rows[last]] = last
            behind = chosen[(end[rows[chosen]] >= 0) & (mjd[chosen] <= mjd[end[rows[chosen]]] - self.min_days)]
            behind = behind[(sign[behind] == sign[end[rows[behind]]]) & (mjd[behind] >= mjd[end[rows[behind]]] - self.max_days)]
            before = behind[np.append(np.diff(rows[behind]) > 0, True)] if len(behind) else behind
            after = end[rows[before]]
            days = mjd[after] - mjd[before]
            rate, rate_err = (mag[after] - mag[before]) / days, np.hypot(err[after], err[before]) / days
            out[f"rate_{name}"][rows[before]], out[f"rate_err_{name}"][rows[before]] = rate, rate_err
            own = (alerts["band"].to_numpy()[rows[before]] == name) & (np.abs(mjd[after] - now[rows[before]]) < 1e-6)
            for field, values in (("rate", rate), ("rate_err", rate_err), ("days", days)):
                out[field][rows[before][own]] = values[own]
            self._limits(out, alerts, name, rows, mjd, band, mag, limit, kind, end, sign)
        return pd.DataFrame(out, index=alerts.index)

    def _limits(self, out, alerts, name, rows, mjd, band, mag, limit, kind, end, sign) -> None:  # type: ignore[no-untyped-def]
        """Bounds from an upper limit that directly precedes the detection."""
        if not len(rows):
            return
        mine = (alerts["band"].to_numpy() == name) & (end >= 0)
        before = np.flatnonzero((band == name) & mine[rows] & (kind != "forced"))
        before = before[mjd[before] <= mjd[end[rows[before]]] - self.min_days]
        before = before[np.lexsort((mjd[before], rows[before]))]
        last = before[np.append(np.diff(rows[before]) > 0, True)] if len(before) else before
        last = last[(kind[last] == "limit") & np.isfinite(limit[last]) & (mjd[last] >= mjd[end[rows[last]]] - self.max_days)]
        last = last[(sign[end[rows[last]]] > 0) & (limit[last] > mag[end[rows[last]]])]
        out["limit_rate"][rows[last]] = (mag[end[rows[last]]] - limit[last]) / (mjd[end[rows[last]]] - mjd[last])
