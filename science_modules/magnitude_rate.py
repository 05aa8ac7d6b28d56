"""How fast an object brightens or fades: rates from its detections, the same at every run."""

import numpy as np
import pandas as pd

from fink_broker.science import ScienceModule, flat

BANDS = ("u", "g", "r", "i", "z", "y")
PER_BAND = ("rate", "rate_err", "rise", "fade")


class MagnitudeRate(ScienceModule):
    """Change of magnitude per day [mag/d]: negative while it brightens, null where it cannot be told.

    `rate` is of this alert's band, between its last detection and the one before, which is `days` older (at least `min_days`,
    at most `max_days`) and of the same sign of flux; `rate_<band>` the same of each band; errors follow from the magnitudes'.
    `fit_rate` is the slope of a weighted straight line through this band's detections of the last `fit_days`, three at least.
    `rise_<band>` is the mean rate from the first positive detection to the brightest, `fade_<band>` from there to the last.
    If the point before this alert is an upper limit, `limit_rate` is an upper bound of the rate: it brightened at least so
    fast. `age_days` counts from the first detection that the survey knows.
    """

    name = "magnitude_rate"
    version = "1.1"
    inputs = ("mjd", "band", "first_mjd", "lightcurve.mjd", "lightcurve.band", "lightcurve.mag", "lightcurve.mag_err",
              "lightcurve.flux", "lightcurve.limit_mag", "lightcurve.kind")  # fmt: skip
    outputs = {"rate": "double", "rate_err": "double", "days": "double", "fit_rate": "double", "fit_rate_err": "double",
               "limit_rate": "double", "age_days": "double", **{f"{what}_{band}": "double" for what in PER_BAND for band in BANDS}}  # fmt: skip
    min_days: float = 0.02  # points closer in time say nothing of a rate
    max_days: float = 30.0
    fit_days: float = 10.0

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Detections of one object and band stand together after one sort; the rest is arithmetic on some of each."""
        now, own = alerts["mjd"].to_numpy(float), _codes(alerts["band"].to_numpy(object))
        rows, (mjd, band, mag, err, flux, limit, kind) = flat(*(alerts[column] for column in self.inputs[3:]))
        mjd, mag, err, flux, limit = (values.astype(float) for values in (mjd, mag, err, flux, limit))
        code = _codes(band)
        past = (code >= 0) & (mjd <= now[rows] + 1e-9)
        chosen = np.flatnonzero(past & (kind == "detection") & np.isfinite(mag))
        chosen = chosen[np.lexsort((mjd[chosen], rows[chosen] * len(BANDS) + code[chosen]))]
        curves = Curves(rows[chosen] * len(BANDS) + code[chosen], mjd[chosen], mag[chosen], err[chosen], np.sign(flux[chosen]), self.min_days)
        found = {name: np.full(len(alerts) * len(BANDS), np.nan) for name in ("days", "fit_rate", "fit_rate_err", "mjd", "mag", "sign", *PER_BAND)}
        for name, values in curves.values(self.max_days, self.fit_days).items():
            found[name][curves.key] = values
        this = np.arange(len(alerts)) * len(BANDS) + np.maximum(own, 0)
        mine = {name: np.where(own >= 0, values[this], np.nan) for name, values in found.items()}

        before = np.flatnonzero(past & (kind != "forced") & (code == own[rows]) & (mine["mjd"][rows] - mjd >= self.min_days))
        before = before[np.lexsort((mjd[before], rows[before]))]
        before = before[np.diff(rows[before], append=-1) != 0]
        row, days = rows[before], mine["mjd"][rows[before]] - mjd[before]
        bound = (kind[before] == "limit") & (days <= self.max_days) & (mine["mag"][row] < limit[before]) & (mine["sign"][row] > 0)
        mine["limit_rate"] = np.full(len(alerts), np.nan)
        mine["limit_rate"][row[bound]] = ((mine["mag"][row] - limit[before]) / days)[bound]
        mine["age_days"] = now - alerts["first_mjd"].to_numpy(float)
        bands = {f"{what}_{name}": found[what][place :: len(BANDS)] for what in PER_BAND for place, name in enumerate(BANDS)}
        return pd.DataFrame({name: (mine | bands)[name] for name in self.outputs}, index=alerts.index)


class Curves:
    """Detections of several objects and bands, sorted by `key` (one for each object and band) and time."""

    def __init__(self, key, mjd, mag, err, sign, min_days: float) -> None:
        self.mjd, self.mag, self.err, self.sign, self.min_days = mjd, mag, err, sign, min_days
        self.first = np.flatnonzero(np.diff(key, prepend=-1))
        self.last = np.append(self.first[1:], len(key))[: len(self.first)] - 1
        self.curve = np.repeat(np.arange(len(self.first)), self.last - self.first + 1)  # of each point
        self.key = key[self.first]
        self.age = mjd[self.last][self.curve] - mjd  # [d] before the curve's last detection
        self.alike = sign == sign[self.last][self.curve]
        self.positive = self.alike & (sign > 0)

    def values(self, max_days: float, fit_days: float) -> dict[str, np.ndarray]:
        """Rates of each curve."""
        before = self._end(self.alike & (self.age >= self.min_days) & (self.age <= max_days), latest=True)
        days = np.where(before >= 0, self.age[before], np.nan)
        brightest = np.minimum.reduceat(np.where(self.positive, self.mag, np.inf), self.first) if len(self.first) else np.empty(0)
        peak = self._end(self.positive & (self.mag == brightest[self.curve]), latest=False)
        slope, slope_err = self._fit(self.alike & (self.age <= fit_days) & (self.err > 0))
        return {
            "mjd": self.mjd[self.last], "mag": self.mag[self.last], "sign": self.sign[self.last], "days": days, "rate": self._rate(before, self.last),
            "rate_err": np.hypot(self.err[self.last], self.err[before]) / days, "fit_rate": slope, "fit_rate_err": slope_err,
            "rise": self._rate(self._end(self.positive, latest=False), peak), "fade": self._rate(peak, self.last),
        }  # fmt: skip

    def _end(self, chosen: np.ndarray, latest: bool) -> np.ndarray:
        """The first or last chosen point of each curve; −1 where there is none."""
        place = np.where(chosen, np.arange(len(chosen)), -1 if latest else len(chosen))
        if not len(self.first):
            return np.empty(0, int)
        found = (np.maximum if latest else np.minimum).reduceat(place, self.first)
        return np.where(found < len(chosen), found, -1)

    def _rate(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Change of magnitude per day between two points of each curve."""
        days = self.mjd[other] - self.mjd[one]
        good = (one >= 0) & (other >= 0) & (days >= self.min_days)
        return np.where(good, (self.mag[other] - self.mag[one]) / np.where(good, days, 1), np.nan)

    def _fit(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slope of the weighted least-squares line through the chosen points of each curve, and its error."""
        weight = np.where(chosen, self.err, np.inf) ** -2.0
        number, total, x, y = (self._sum(part) for part in (chosen, weight, -weight * self.age, weight * np.where(chosen, self.mag, 0)))
        with np.errstate(invalid="ignore", divide="ignore"):
            dx, dy = -self.age - (x / total)[self.curve], self.mag - (y / total)[self.curve]
            spread = self._sum(np.where(chosen, weight * dx**2, 0))
            good = (number >= 3) & (spread > total * self.min_days**2 / 4)
            return tuple(np.where(good, values, np.nan) for values in (self._sum(np.where(chosen, weight * dx * dy, 0)) / spread, spread**-0.5))

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.curve, values, len(self.first))


def _codes(bands: np.ndarray) -> np.ndarray:
    """The place of each band in BANDS; −1 for others."""
    found = np.full(len(bands), -1)
    for place, name in enumerate(BANDS):
        found[bands == name] = place
    return found
