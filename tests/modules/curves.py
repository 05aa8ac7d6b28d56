"""Light curves for tests of science modules, as modules get them: one numpy array a row."""

from typing import Any

import numpy as np
import pandas as pd

NAMES = ("mjd", "band", "flux", "flux_err", "mag", "mag_err", "limit_mag", "kind")


def alerts(*curves: list[dict[str, Any]], **columns: list[Any]) -> pd.DataFrame:
    """One row a light curve, given as points; the last detection is the alert itself."""
    frame = pd.DataFrame(index=range(len(curves)))
    for name in NAMES:
        kind = object if name in ("band", "kind") else float
        frame[f"lightcurve.{name}"] = pd.Series([np.array([point.get(name) for point in curve], kind) for curve in curves], dtype=object)
    for name in ("mjd", "band", "flux"):
        frame[name] = [curve[-1].get(name) if curve else None for curve in curves]
    frame["first_mjd"] = [curve[0]["mjd"] if curve else np.nan for curve in curves]
    for name, values in columns.items():
        frame[name] = values
    return frame


def point(
    mjd: float, mag: float | None = 18.0, band: str = "r", err: float = 0.05, kind: str = "detection", sign: int = 1, limit: float = 20.5
) -> dict[str, Any]:
    """One point; a limit has no magnitude."""
    if kind == "limit":
        return {"mjd": mjd, "band": band, "limit_mag": limit, "kind": kind}
    flux = sign * 10 ** ((31.4 - float(mag or 0)) / 2.5)
    return {"mjd": mjd, "band": band, "mag": mag, "mag_err": err, "flux": flux, "flux_err": abs(flux) * err / 1.0857, "limit_mag": limit, "kind": kind}
