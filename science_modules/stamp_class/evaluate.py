"""Runs stamp_class on real ZTF alerts and counts: python -m science_modules.stamp_class.evaluate PATH… [--models FOLDER].

Truth is what stands in the packets: a known asteroid (`ssnamenr` within 5 arcsec), a type that a cross-match put beside it (`cdsxmatch`, `tnsclass`), and
for the rest only the survey's own real-bogus scores. None was used for training.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fink_broker.model import roc_auc
from fink_broker.settings import data_folder
from science_modules._baseline import cuts
from science_modules._real import known_asteroid, packets
from science_modules.stamp_class import CLASSES
from science_modules.stamp_class.train import row

# Types of SIMBAD and TNS, and our classes; candidates count as stars only, since they are stars whatever they are candidates for.
TYPES = (
    ("transient", re.compile(r"SN .*|SN|Supernova|TDE")),
    ("agn", re.compile(r"QSO|AGN|Seyfert.*|BLLac|Blazar|LINER")),
    ("variable_star", re.compile(r"(?!.*(Galaxy|Cl\*|GinPair|Cluster)).*(\*|RRLyrae|EclBin|Cep|YSO|YellowSG|BlueSG|WhiteDwarf|HotSubdwarf|XBin).*")),
)  # fmt: skip
DISRUPTION = "ZTF20abfcszi"  # known as a tidal disruption event, which no cross-match in its packets says
REAL, BOGUS = 0.9, 0.1  # of the survey's deep real-bogus score


def truth(packet: dict[str, Any]) -> str | None:
    """The class of an alert as its packet tells, if it does."""
    if known_asteroid(packet):
        return "asteroid"
    if packet["objectId"] == DISRUPTION:
        return "transient"
    for name in (packet.get("tnsclass"), packet.get("cdsxmatch")):
        if name and not name.startswith("("):  # in brackets: put in for a test
            for kind, fits in TYPES:
                if fits.fullmatch(name):
                    return kind
    return None


def complete(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Each alert that has its three cutouts."""
    for packet in packets(paths):
        cutouts = [packet.get(f"cutout{name}") for name in ("Science", "Template", "Difference")]
        if all(one and one.get("stampData") for one in cutouts):
            yield packet


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--models", default="", help="folder of another model.onnx")
    options = parser.parse_args()
    from fink_broker.science import Registry

    found = list(complete(options.paths))
    alerts = pd.DataFrame([row("ztf", packet) for packet in found])
    module = Registry.load(data_folder("science_modules")).get("stamp_class")(models=options.models)
    module.setup()
    made = module.process(alerts[list(module.inputs)])
    known = np.array([truth(packet) for packet in found], object)
    print(f"{len(found)} real alerts with cutouts, {sum(one is not None for one in known)} with truth\n")
    print("| truth \\ found | alerts | " + " | ".join(CLASSES) + " | mean `real` |")
    print("|" + "---|" * (len(CLASSES) + 3))
    for kind in CLASSES[1:]:
        mine = made[known == kind]
        shares = " | ".join(f"{(mine['class'] == name).mean():.2f}" for name in CLASSES)
        print(f"| {kind} | {len(mine)} | {shares} | {mine['real'].mean():.2f} |")
    some = np.array([one is not None for one in known])
    often = pd.Series(known[some]).value_counts(normalize=True).max()
    numbers = alerts[["flux", "neighbour_distance_arcsec"]].abs().fillna(-1).to_numpy(float)[some]
    cut = cuts(numbers, known[some]).predict(numbers)
    print(f"\naccuracy {(made['class'][some] == known[some]).mean():.3f}; always the most frequent class {often:.3f}; "
          f"cuts in brightness and distance to the nearest source, learned on these very alerts {(cut == known[some]).mean():.3f}")  # fmt: skip
    for name in ("drb", "rb"):
        score = np.array([np.nan if packet["candidate"].get(name) is None else packet["candidate"][name] for packet in found])
        sure = (score >= REAL) | (score <= BOGUS)
        print(f"{name}: {(score >= REAL).sum()} at {REAL} or above, {(score <= BOGUS).sum()} at {BOGUS} or below; area under the curve of `real` on these "
              f"{roc_auc(score[sure] >= REAL, made['real'].to_numpy(float)[sure]):.3f}; rank correlation over all "
              f"{pd.Series(score).corr(made['real'], method='spearman'):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
