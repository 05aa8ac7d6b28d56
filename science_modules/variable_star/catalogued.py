"""Runs variable_star on real stars whose periods stand in catalogues: python -m science_modules.variable_star.catalogued [--models FOLDER].

`catalogued.parquet` has a row a star: name, catalogue, class, type and period [d] as catalogued, position [deg] where it could be had, and what was
measured of it: MJD, band, AB magnitude, its error. None was used for training, nor looked at before version 2.2 was trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from fink_broker.curve import ZERO_POINT
from fink_broker.science import Registry
from fink_broker.settings import data_folder

FILE = Path(__file__).with_name("catalogued.parquet")
MOST = 10_000  # points of a star


def alerts(stars: pd.DataFrame, most: int = MOST, bands: int = 9) -> pd.DataFrame:
    """Each star's last alert with its history: the first `most` points of the `bands` that have most points; fluxes in nJy, above none as of a survey's first template."""
    rows = []
    for star in stars.itertuples():
        number = pd.Series(star.bands).value_counts()
        kept = np.flatnonzero(np.isin(star.bands, number.index[:bands]))
        kept = kept[np.argsort(star.mjds[kept], kind="stable")][:most]
        flux = 10 ** (0.4 * (ZERO_POINT - star.mags[kept]))
        rows.append({
            "mjd": star.mjds[kept[-1]], "ra": star.ra, "dec": star.dec, "neighbour_distance_arcsec": np.nan, "neighbour_star_score": np.nan,
            "n_detections": len(kept), "first_mjd": star.mjds[kept[0]], "history.mjd": star.mjds[kept], "history.band": star.bands[kept],
            "history.flux": flux, "history.flux_err": flux * star.errors[kept] * 0.4 * np.log(10), "history.limit_mag": np.full(len(kept), np.nan),
            "history.kind": np.full(len(kept), "detection", object),
        })  # fmt: skip
    return pd.DataFrame(rows, index=stars.index)


def recovered(stars: pd.DataFrame, found: pd.DataFrame) -> pd.Series:
    """Whether the period is within 2 % of the catalogued one, 10 % for a long-period variable."""
    return (found["period_days"] / stars["period_days"] - 1).abs() < np.where(stars["class"] == "long-period variable", 0.1, 0.02)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="", help="folder of other models")
    options = parser.parse_args()
    module = Registry.load(data_folder("science_modules")).get("variable_star")(models=options.models)
    module.setup()
    stars = pd.read_parquet(FILE)
    found = module.process(alerts(stars)[list(module.inputs)])
    print("| star | catalogue | type | points | period [d] | found [d] | its probability | class found | its probability |\n|" + "---|" * 9)
    for star, one in zip(stars.itertuples(), found.itertuples(), strict=True):
        print(f"| {star.name} | {star.catalogue} | {star.type} | {len(star.mjds)} | {star.period_days:.6g} | {one.period_days:.6g} | {one.period_probability:.2f} "
              f"| {one[1]} | {one.probability:.2f} |")  # fmt: skip
    kinds = list(dict.fromkeys(stars["class"]))
    print("\n| recovered, class right | " + " | ".join(f"{kind} ({(stars['class'] == kind).sum()})" for kind in kinds) + " |\n|" + "---|" * (len(kinds) + 1))
    for title, most, bands in (("all points", MOST, 9), ("one band", MOST, 1), ("first 60 points", 60, 9), ("first 30 points", 30, 9)):
        found = module.process(alerts(stars, most, bands)[list(module.inputs)])
        period, right = recovered(stars, found), found["class"] == stars["class"]
        print(f"| {title} | " + " | ".join(f"{period[stars['class'] == kind].sum()}, {right[stars['class'] == kind].sum()}" for kind in kinds) + " |")


if __name__ == "__main__":
    main()
