"""For evaluations: a module's classes of real LSST alerts beside what their packets tell, and beside simple rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import curve
from fink_broker.question import STAMPS
from fink_broker.science_module import ScienceModule
from science_modules._alerts import columns, real, simulated
from science_modules._baseline import cuts, shares, simple

# Types of SIMBAD as LSST alerts that Fink sent have them, in brief; candidates (with a question mark) are none.
TYPES = (
    ("transient", re.compile(r"SN\*?|SN .*|TDE")),
    ("agn", re.compile(r"QSO|AGN|Sy[12G]|BLL|Bla|LIN")),
    ("variable_star", re.compile(r"(V|RR|Ce|cC|WV|RV|dS|bC|gD|a2|Pu|LP|Mi|Ir|Or|RI|Er|Fl|Ro|RS|BY|El|EB|CV|No|TT|LM)\*|Y\*O|EclBin")),
)  # fmt: skip
GROUPS = {label: group for group, labels in STAMPS.items() for label in labels}  # of the simulated sky's labels
LEARNED, SEED = 2000, 8_650_001  # simulated alerts from which cuts are learned, no module's own


def truth(record: dict[str, Any]) -> str | None:
    """The group of an alert as its packet tells: a known asteroid, else the type that a cross-match put beside it (`xm`), if that is a class."""
    if (record["diaSource"].get("ssObjectId") or 0) > 0:
        return "asteroid"
    matched = record.get("xm") or {}
    for name in (matched.get("tns_type"), matched.get("simbad_otype")):
        if name:
            for group, fits in TYPES:
                if fits.fullmatch(name):
                    return group
    return None


def thing(record: dict[str, Any]) -> str:
    """The object that an alert is of."""
    own = record["diaSource"]
    return f"{own.get('diaObjectId') or ''}/{own.get('ssObjectId') or ''}"


def learned(survey: str, number: int = LEARNED, seed: int = SEED) -> tuple[Any, Any]:
    """Cuts in magnitude and colour, learned on the simulated sky: of labels, and of groups, each alike; `.predict` of the first two of `_baseline.simple`."""
    alerts = list(simulated(survey, number, seed))
    frame = columns(survey, [packet for _, packet in alerts], curve.INPUTS)
    labels = np.array([alerts[place][0]["label"] for place in frame.index], object)
    numbers = simple(curve.points(frame), len(frame))
    return cuts(numbers, labels), cuts(numbers, groups(labels), alike=True)


def groups(labels: Iterable[str]) -> NDArray[Any]:
    """Groups of labels of the simulated sky."""
    return np.array([GROUPS[label] for label in labels], object)


def report(module: ScienceModule, paths: Sequence[Path], group: Mapping[str, str]) -> list[str]:
    """Lines of two tables: what the module says of alerts of each group, and how often it is right beside simple rules; `group` is of its classes."""
    module.setup()
    found = real(paths, "lsst")
    given = columns("lsst", [packet for _, packet in found], dict.fromkeys((*module.inputs, *curve.INPUTS)))
    records = [found[place][0] for place in given.index]
    made = module.process(given[list(module.inputs)].reset_index(drop=True))["class"].to_numpy(object)
    known = np.array([truth(record) for record in records], object)
    told = [name for name in dict.fromkeys(group) if (made == name).any()]
    lines = [f"{len(records)} real LSST alerts, {sum(one is not None for one in known)} with truth", ""]
    lines += [f"| truth \\ found | alerts | {' | '.join(told)} | none |", "|" + "---|" * (len(told) + 3)]
    for name in (*dict.fromkeys(GROUPS.values()), None):
        mine = known == name if name else np.array([one is None for one in known])
        if mine.any():
            counts = [(made[mine] == one).sum() for one in told]
            lines.append(f"| {name or 'not told'} | {mine.sum()} | {' | '.join(map(str, counts))} | {mine.sum() - sum(counts)} |")
    some = np.array([one is not None for one in known])
    right, things = known[some], np.array([thing(record) for record in records], object)[some]
    numbers = simple(curve.points(given), len(given))[some, :2]
    by_label, by_group = learned("lsst")
    rules = {
        f"{module.name} {module.version}": np.array([group.get(one, "") if isinstance(one, str) else "" for one in made[some]], object),
        "cuts in magnitude and colour, learned on the simulation": groups(by_label.predict(numbers)),
        "the same of groups, each alike": by_group.predict(numbers),
        "always the most frequent group": np.full(len(right), pd.Series(right).mode()[0], object),
    }
    lines += ["", f"| right of {len(right)} alerts, {len(np.unique(things))} objects | alerts | objects | mean of the groups |", "|---|---|---|---|"]
    return lines + [f"| {name} | " + " | ".join(f"{value:.3f}" for value in shares(guess, right, things)) + " |" for name, guess in rules.items()]
