"""Real stars whose periods stand in catalogues, for tests and `evaluate`; none was trained on, nor looked at before version 2.2 was trained.

`catalogued.parquet` has a row a star: name, catalogue, class, type and period [d] as catalogued, position [deg] where it could be had, and what was
measured of it: `mjd`, `band`, `mag`, `mag_err`. Magnitudes are AB, but OGLE's: their I stands as i, a factor that no result depends on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker.curve import ZERO_POINT

FILE = Path(__file__).with_name("catalogued.parquet")
WITHIN, WITHIN_LONG = 0.02, 0.1  # of the catalogued period; of a long-period variable, whose cycles differ


def stars() -> pd.DataFrame:
    """All of them, in the file's order."""
    return pd.read_parquet(FILE)


def alerts(of: pd.DataFrame, most: int = 10_000, one_band: bool = False) -> pd.DataFrame:
    """Each star's last alert with its history: the first `most` points [d, nJy], or those of the band that has most; no catalogue names a neighbour."""
    rows = []
    for star in of.to_dict("records"):
        kept = np.flatnonzero(star["band"] == pd.Series(star["band"]).mode()[0]) if one_band else np.arange(len(star["mjd"]))
        kept = kept[np.argsort(star["mjd"][kept], kind="stable")][:most]
        mjd, flux = star["mjd"][kept], 10 ** (0.4 * (ZERO_POINT - star["mag"][kept]))
        rows.append({
            "mjd": mjd[-1], "ra": star["ra"], "dec": star["dec"], "neighbour_distance_arcsec": np.nan, "neighbour_star_score": np.nan,
            "n_detections": len(kept), "first_mjd": mjd[0], "history.mjd": mjd, "history.band": star["band"][kept], "history.flux": flux,
            "history.flux_err": flux * star["mag_err"][kept] * 0.4 * np.log(10), "history.limit_mag": np.full(len(kept), np.nan),
            "history.kind": np.full(len(kept), "detection", object),
        })  # fmt: skip
    return pd.DataFrame(rows)


def recovered(of: pd.DataFrame, period_days: pd.Series) -> NDArray[np.bool_]:
    """Whether periods are the catalogued ones, within WITHIN."""
    off = np.abs(period_days.to_numpy(float) / of["period_days"].to_numpy() - 1)
    near: NDArray[np.bool_] = off < np.where(of["class"] == "long-period variable", WITHIN_LONG, WITHIN)
    return near
