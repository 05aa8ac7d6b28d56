"""Runs variable_star on real ZTF alerts and counts: python -m science_modules.variable_star.evaluate PATH… [--models FOLDER].

Truth is the type that a cross-match put into the packets (`cdsxmatch`); none was used for training. The history is the alert's own 30 days.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd

from fink_broker.model import Onnx
from fink_broker.settings import data_folder
from science_modules._real import packets, row
from science_modules.variable_star import CLASSES, folded

TYPES = (
    ("RR Lyrae", re.compile(r"RRLyr.*")),
    ("Cepheid", re.compile(r".*Cep.*")),
    ("eclipsing binary", re.compile(r"EB\*.*|EclBin.*")),
    ("long-period variable", re.compile(r"LPV\*.*|LongPeriodV\*.*|Mira.*|OH/IR\*")),
    ("not periodic", re.compile(r"QSO|AGN.*|Seyfert.*|BLLac|Blazar.*|Supernova.*|SN.*|CataclyV\*.*|TTauri.*|YSO.*|Kilonova.*|TDE")),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--models", default="", help="folder of other models")
    options = parser.parse_args()
    from fink_broker.science import Registry

    rows, truth = [], []
    for packet in packets(options.paths):
        kind = [name for name, fits in TYPES if fits.fullmatch(packet.get("cdsxmatch") or "")]
        if kind and (packet["candidate"].get("ndethist") or 0) >= 10:
            rows.append(row(packet, "history"))
            truth.append(kind[0])
    alerts = pd.DataFrame(rows)
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
