"""Runs variable_star on real ZTF alerts and counts: python -m science_modules.variable_star.evaluate PATH… [--models FOLDER].

Truth is the type that a cross-match put into the packets (`cdsxmatch`); none was used for training. The history is the alert's own 30 days.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fink_broker import sky
from fink_broker.model import Onnx
from fink_broker.settings import data_folder
from fink_broker.skysim.realism import real
from science_modules.variable_star import CLASSES, folded

TYPES = (
    ("RR Lyrae", re.compile(r"RRLyr.*")),
    ("Cepheid", re.compile(r".*Cep.*")),
    ("eclipsing binary", re.compile(r"EB\*.*|EclBin.*")),
    ("long-period variable", re.compile(r"LPV\*.*|LongPeriodV\*.*|Mira.*|OH/IR\*")),
    ("not periodic", re.compile(r"QSO|AGN.*|Seyfert.*|BLLac|Blazar.*|Supernova.*|SN.*|CataclyV\*.*|TTauri.*|YSO.*|Kilonova.*|TDE")),
)
BANDS = {1: "g", 2: "r", 3: "i"}


def points(packet: dict[str, Any]) -> dict[str, Any]:
    """The alert's light curve in neutral columns of a history [nJy]."""
    rows = []
    earlier, forced = (packet[name] if packet.get(name) is not None else [] for name in ("prv_candidates", "fp_hists"))
    for one in (*earlier, packet["candidate"]):
        mjd, band, mag = float(sky.mjd_tai(one["jd"])), BANDS.get(one["fid"]), one.get("magpsf")
        if mag is not None and np.isfinite(mag):
            flux = 10 ** ((31.4 - mag) / 2.5)
            rows.append((mjd, band, flux if one.get("isdiffpos") in ("t", "1") else -flux, flux * one["sigmapsf"] / 1.0857, np.nan, "detection"))
        elif one.get("diffmaglim"):
            rows.append((mjd, band, np.nan, np.nan, one["diffmaglim"], "limit"))
    for one in forced:
        if one.get("magzpsci") and one.get("forcediffimflux") is not None and one["forcediffimflux"] > -9e4:
            unit = 10 ** ((31.4 - one["magzpsci"]) / 2.5)
            rows.append(
                (float(sky.mjd_tai(one["jd"])), BANDS.get(one["fid"]), one["forcediffimflux"] * unit, one["forcediffimfluxunc"] * unit, np.nan, "forced")
            )
    columns = zip(*sorted((row for row in rows if row[1]), key=lambda row: row[0]), strict=True)
    names = ("mjd", "band", "flux", "flux_err", "limit_mag", "kind")
    return {f"history.{name}": np.array(values, object if name in ("band", "kind") else float) for name, values in zip(names, columns, strict=True)}


def row(packet: dict[str, Any]) -> dict[str, Any]:
    """An alert as the module gets it."""
    own = packet["candidate"]
    near = {name: own[key] if (own.get(key) or 0) >= 0 else np.nan for name, key in (("distance_arcsec", "distpsnr1"), ("star_score", "sgscore1"))}
    mjd, first = sky.mjd_tai([own["jd"], own["jdstarthist"] or own["jd"]])
    about = {"mjd": mjd, "ra": own["ra"], "dec": own["dec"], "n_detections": own["ndethist"], "first_mjd": first}
    return about | {f"neighbour_{name}": value for name, value in near.items()} | points(packet)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--models", default="", help="folder of other models")
    options = parser.parse_args()
    from fink_broker.science import Registry

    packets, truth = {}, []
    for file in [file for path in options.paths for file in (sorted(path.rglob("*.parquet")) or [path])]:
        for packet in real([file], "ztf"):
            kind = [name for name, fits in TYPES if fits.fullmatch(packet.get("cdsxmatch") or "")]
            who = packet["candidate"].get("candid") or packet.get("candid")
            if kind and who not in packets and (packet["candidate"].get("ndethist") or 0) >= 10:
                packets[who] = row(packet)
                truth.append(kind[0])
    alerts = pd.DataFrame(list(packets.values()))
    module = Registry.load(data_folder("science_modules")).get("variable_star")(models=options.models)
    module.setup()
    found = module.process(alerts[list(module.inputs)])
    told = found["class"].notna().to_numpy()
    print(f"{len(alerts)} real alerts of 10 detections or more with a type, {told.sum()} of them with enough points\n")
    print("| type \\ found | alerts | " + " | ".join(CLASSES) + " |")
    print("|" + "---|" * (len(CLASSES) + 2))
    for kind in CLASSES:
        mine = found[told & (np.array(truth) == kind)]
        print(f"| {kind} | {len(mine)} | " + " | ".join(str((mine["class"] == name).sum()) for name in CLASSES) + " |")
    fold, table = folded(alerts, module.min_points)
    (chances,) = Onnx(module.model_paths()[0])(table.astype(np.float32))
    of_truth = chances[np.arange(len(table)), [CLASSES.index(truth[row]) for row in fold.row]]
    right = (found["class"] == np.array(truth))[told]
    print(f"\naccuracy {right.mean():.3f} ({right.sum()}); mean log-likelihood of the true class {np.log(np.maximum(of_truth, 1e-9)).mean():.2f}")


if __name__ == "__main__":
    main()
