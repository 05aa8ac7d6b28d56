"""Made-up inputs of science modules as pandas columns, without Spark: for notebooks and tests of module authors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import past, sky
from fink_broker.errors import ConfigError
from fink_broker.science_module import COLUMNS

ZERO_POINT = 31.4  # AB magnitude of 1 nJy
POGSON = 2.5 / np.log(10)


def sample(inputs: Sequence[str], number: int = 60, seed: int = 1, survey: str = "ztf") -> pd.DataFrame:
    """Columns as `process` gets them, of transients, variables and single detections; the same seed gives the same alerts.

    Columns of `packet` are numbers between 0 and 2, half of them null; cutouts are null; what other modules compute is not made.
    """
    rng = np.random.default_rng(seed)
    curves = [_curve(rng, int(rng.choice([1, 2, 5, 20, 60]))) for _ in range(number)]
    found: dict[str, Any] = {f"lightcurve.{name}": _ragged([curve[name] for curve in curves]) for name in curves[0]} if curves else {}
    last = pd.DataFrame([{name: values[-1] for name, values in curve.items()} for curve in curves])
    some = rng.random(number) < 0.5
    found |= {name: last[name].to_numpy() for name in ("mjd", "band", "flux", "flux_err", "mag", "mag_err")} if curves else {}
    found["ra"], found["dec"] = rng.uniform(0, 360, number), np.degrees(np.arcsin(rng.uniform(-1, 1, number)))
    found["healpix"] = sky.healpix(found["ra"], found["dec"]) if number else np.empty(0, np.int64)
    found["alert_id"] = np.array([str(10**15 + index) for index in range(number)], object)
    found["object_id"] = np.array([f"made{index:05d}" for index in range(number)], object)
    found["ss_object_id"] = np.array([str(1000 + index) if one else None for index, one in enumerate(some)], object)
    found["ss_distance_arcsec"] = np.where(some, rng.uniform(0, 20, number), np.nan)
    found["neighbour_distance_arcsec"] = np.where(rng.random(number) < 0.7, rng.exponential(4, number), np.nan)
    found["neighbour_star_score"] = np.where(np.isnan(found["neighbour_distance_arcsec"]), np.nan, rng.random(number))
    found["template_flux"] = np.where(rng.random(number) < 0.7, 100 * 10 ** rng.uniform(-1, 3, number), np.nan)
    found["reliability"], found["public"] = rng.random(number), np.full(number, True)
    found["quality"] = _ragged([np.array([], object) if good else np.array(["low_reliability"], object) for good in some])
    found["survey"], found["schema"] = np.full(number, survey, object), np.full(number, f"{survey}/1.0", object)
    if curves:
        found["snr"] = found["flux"] / found["flux_err"]
        found["first_mjd"] = np.array([curve["mjd"][0] for curve in curves])
        found["n_detections"] = np.array([int((curve["kind"] == "detection").sum()) for curve in curves])
        found["night"] = sky.night(found["mjd"], -117.0)
    columns = {}
    for name in inputs:
        if name.startswith("packet."):
            columns[name] = np.where(rng.random(number) < 0.5, rng.uniform(0, 2, number), np.nan)
        elif name in past.HISTORY:
            columns[name] = found.get(name.replace("history", "lightcurve"), np.full(number, None, object))
        elif name in COLUMNS:
            columns[name] = found.get(name, np.full(number, None, object))
        else:
            raise ConfigError(f"no made-up values for '{name}'; add that column yourself, or read one of {', '.join(COLUMNS)}")
    return pd.DataFrame(columns, index=range(number))


def _curve(rng: np.random.Generator, number: int) -> dict[str, NDArray[Any]]:
    """Points in time order; the last is a detection, the alert's own."""
    mjd = 61000 + np.sort(rng.uniform(0, 60, number))
    kind = np.array(rng.choice(["detection", "limit", "forced"], number, p=[0.7, 0.2, 0.1]), object)
    kind[-1] = "detection"
    peak, width = rng.uniform(61000, 61060), rng.uniform(3, 30)
    mag = rng.uniform(15, 19) + ((mjd - peak) / width) ** 2 / 5 + rng.normal(0, 0.05, number)
    sign = rng.choice([1, -1], p=[0.8, 0.2])
    flux = sign * 10 ** ((ZERO_POINT - mag) / 2.5)
    mag_err = rng.uniform(0.01, 0.2, number)
    known = kind != "limit"
    return {
        "mjd": mjd,
        "band": rng.choice(np.array(["g", "r", "i"], object), number),
        "flux": np.where(known, flux, np.nan),
        "flux_err": np.where(known, np.abs(flux) * mag_err / POGSON, np.nan),
        "mag": np.where(known, mag, np.nan),
        "mag_err": np.where(known, mag_err, np.nan),
        "limit_mag": rng.uniform(19.5, 21, number),
        "kind": kind,
    }


def _ragged(values: list[NDArray[Any]]) -> pd.Series:
    return pd.Series(values, dtype=object)
