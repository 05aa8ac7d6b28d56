"""Runs stamp_class on real alerts and counts: python -m science_modules.stamp_class.evaluate PATH… [--survey lsst] [--models FOLDER] [--simulated FILE].

Truth is what stands in the packets: a known asteroid (`ssnamenr` within 5 arcsec), a type that a cross-match put beside it (`cdsxmatch`, `tnsclass`), and
for the rest only the survey's own real-bogus scores. None was used for training. With the arrays that `train --cache` keeps, simple rules learned on the
simulation, as the model is, are counted beside it. The survey's own score says nothing of truth; what is found of alerts that it calls bad or good stands in
rows of its own. Of LSST alerts truth is a known asteroid or SIMBAD's type (see `_lsst`).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker.model import roc_auc
from fink_broker.settings import data_folder
from science_modules._baseline import cuts, regression, shares
from science_modules._lsst import report
from science_modules._real import known_asteroid, packets, score
from science_modules.stamp_class import CLASSES
from science_modules.stamp_class.stamps import stamps
from science_modules.stamp_class.train import row, simple

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


def left_out(numbers: NDArray[np.float64], known: NDArray[Any], things: NDArray[Any]) -> NDArray[Any]:
    """What cuts say of the alerts of each object when they were learned on all others."""
    found = np.empty(len(known), object)
    for thing in np.unique(things):
        mine = things == thing
        found[mine] = cuts(numbers[~mine], known[~mine]).predict(numbers[mine])
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--survey", default="ztf", choices=("ztf", "lsst"))
    parser.add_argument("--models", default="", help="folder of another model.onnx")
    parser.add_argument("--simulated", type=Path, help="file of arrays that train kept with --cache")
    options = parser.parse_args()
    from fink_broker.science import Registry

    module = Registry.load(data_folder("science_modules")).get("stamp_class")(models=options.models)
    if options.survey == "lsst":
        print("\n".join(report(module, options.paths, {name: name for name in CLASSES})))
        return
    found = list(complete(options.paths))
    alerts = pd.DataFrame([row("ztf", packet) for packet in found])
    module.setup()
    made = module.process(alerts[list(module.inputs)])
    known = np.array([truth(packet) for packet in found], object)
    print(f"{len(found)} real alerts with cutouts, {sum(one is not None for one in known)} with truth\n")
    print("| truth \\ found | alerts | " + " | ".join(CLASSES) + " | mean `real` |")
    print("|" + "---|" * (len(CLASSES) + 3))
    drb = np.array([score(packet["candidate"], "drb") for packet in found])
    own = known != "asteroid"
    parts = {kind: known == kind for kind in CLASSES[1:]} | {f"drb at most {BOGUS}, no asteroid": own & (drb <= BOGUS), f"drb at least {REAL}": drb >= REAL}
    for kind, chosen in parts.items():
        mine = made[chosen]
        found_as = " | ".join(f"{(mine['class'] == name).mean():.2f}" for name in CLASSES)
        print(f"| {kind} | {len(mine)} | {found_as} | {mine['real'].mean():.2f} |")
    some = np.array([one is not None for one in known])
    right, things = known[some], np.array([packet["objectId"] for packet in found], object)[some]
    numbers = simple(alerts[some])
    rules = {f"stamp_class {module.version}": made["class"].to_numpy(object)[some]}
    if options.simulated:
        learned = dict(np.load(options.simulated))
        ztf, names = learned["ztf"], np.array(CLASSES, object)
        words = names[learned["label"][ztf]]
        beside = regression(learned["about"][ztf], words)
        rules["logistic regression on what stands beside, learned on the simulation"] = beside.predict(stamps(alerts[some])[1])
        rules["cuts in brightness and distance to the nearest source, learned on the simulation"] = cuts(learned["simple"][ztf], words).predict(numbers)
    rules["the same cuts, learned on the other real objects"] = left_out(numbers, right, things)
    rules["the same cuts, learned on these very alerts"] = cuts(numbers, right).predict(numbers)
    rules["always the most frequent class"] = np.full(len(right), pd.Series(right).mode()[0], object)
    print(f"\n| right of {len(right)} alerts, {len(np.unique(things))} objects | alerts | objects | mean of the classes |\n|---|---|---|---|")
    for name, guess in rules.items():
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in shares(guess, right, things)) + " |")
    print()
    for name in ("drb", "rb"):
        values = np.array([np.nan if packet["candidate"].get(name) is None else packet["candidate"][name] for packet in found])
        sure = (values >= REAL) | (values <= BOGUS)
        print(f"{name}: {(values >= REAL).sum()} at {REAL} or above, {(values <= BOGUS).sum()} at {BOGUS} or below; area under the curve of `real` on these "
              f"{roc_auc(values[sure] >= REAL, made['real'].to_numpy(float)[sure]):.3f}; rank correlation over all "
              f"{pd.Series(values).corr(made['real'], method='spearman'):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
