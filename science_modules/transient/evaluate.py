"""Runs transient on real alerts and counts: python -m science_modules.transient.evaluate PATH… [--survey lsst] [--models FOLDER].

Truth is what stands in the packets: a known asteroid (`ssnamenr` within 5 arcsec), the type that a cross-match put beside it (`cdsxmatch`), and for the
rest only the survey's own real-bogus scores. None was used for training. Alerts whose neighbours were put in by hand are left out. Of LSST alerts truth is a
known asteroid or SIMBAD's type (see `_lsst`).
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker.settings import data_folder
from science_modules._lsst import GROUPS, report
from science_modules._real import as_sent, known_asteroid, packets, row, score
from science_modules.transient import CLASSES

# Types of SIMBAD, whose class is meant.
TYPES = {
    "quasar": ("AGN", re.compile(r"QSO")),
    "Seyfert galaxy": ("AGN", re.compile(r"Seyfert.*")),
    "RR Lyrae": ("periodic variable", re.compile(r"RRLyr.*")),
    "eclipsing binary": ("periodic variable", re.compile(r"EB\*.*|EclBin.*")),
    "long-period variable": ("periodic variable", re.compile(r"LPV\*.*|LongPeriodV\*.*|Mira.*")),
}
GOOD, SURE, BAD = 0.65, 0.9, 0.1  # above, of the real-bogus score; above and below, of the deep one
SHOWN = ("bogus", "kilonova", "flare")


def groups(found: list[dict[str, Any]]) -> dict[str, tuple[str, NDArray[np.bool_]]]:
    """Which alerts are counted together, and the class that is meant ("" where none is)."""
    asteroid = np.array([known_asteroid(packet) for packet in found], bool)
    kind = [packet.get("cdsxmatch") or "" for packet in found]
    made = {"known asteroid": ("asteroid", asteroid)}
    for name, (meant, fits) in TYPES.items():
        made[name] = meant, ~asteroid & np.array([fits.fullmatch(one) is not None for one in kind], bool)
    deep, plain = (np.array([score(packet["candidate"], name) for packet in found]) for name in ("drb", "rb"))
    first = np.array([packet["candidate"]["ndethist"] <= 1 for packet in found], bool)
    good = (plain > GOOD) & ~asteroid
    return made | {
        f"rb above {GOOD}": ("", good), f"… and drb above {SURE}": ("", good & (deep > SURE)), "… and no drb": ("", good & np.isnan(deep)),
        f"first alert, rb above {GOOD}": ("", good & first), f"… and drb above {SURE}, or none": ("", good & first & ~(deep <= SURE)),
        f"drb below {BAD}": ("bogus", (deep < BAD) & ~asteroid),
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--survey", default="ztf", choices=("ztf", "lsst"))
    parser.add_argument("--models", default="", help="folder of another model.onnx")
    options = parser.parse_args()
    from fink_broker.science import Registry

    module = Registry.load(data_folder("science_modules")).get("transient")(models=options.models)
    if options.survey == "lsst":
        print("\n".join(report(module, options.paths, {label: GROUPS.get(label, "transient") for label in CLASSES.values()})))
        return
    found = [packet for packet in packets(options.paths) if as_sent(packet)]
    module.setup()
    given = module.process(pd.DataFrame([row(packet) for packet in found])[list(module.inputs)])["class"].to_numpy()
    print(f"{len(found)} real alerts\n\n| alerts | number | right | {' | '.join(SHOWN)} | others |\n|{'---|' * (len(SHOWN) + 4)}")
    for name, (meant, mine) in groups(found).items():
        counts = Counter(given[mine])
        right = counts[meant] if meant else "–"
        rest = ", ".join(f"{what} {number}" for what, number in counts.most_common() if what not in (*SHOWN, meant))
        print(f"| {name} | {mine.sum()} | {right} | {' | '.join(str(counts[what]) for what in SHOWN)} | {rest} |")


if __name__ == "__main__":
    main()
