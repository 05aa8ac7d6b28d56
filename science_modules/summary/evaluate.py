"""Lays what all modules say beside the summary: python -m science_modules.summary.evaluate SURVEY [PATH…] [--number N] [--seed N] [--catalogs FOLDER].

Without PATH on alerts of the simulated sky, each label as often, at any time of their objects' lives; with PATH on real alerts of these files, whose truth is
one of four groups and known of some only. Every module that names a class is an opinion; one that the summary does not share is overruled.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import curve
from fink_broker.question import EXTRAGALACTIC, STAMPS
from fink_broker.science import Chain, Registry
from fink_broker.settings import data_folder
from fink_broker.skysim.kind import LABELS
from science_modules._alerts import Alert, answers, real, simulated
from science_modules._baseline import simple
from science_modules._graph import calibration_error
from science_modules._lsst import GROUPS, groups, learned
from science_modules._lsst import truth as lsst_truth
from science_modules._real import as_sent
from science_modules.stamp_class.evaluate import truth as ztf_truth
from science_modules.summary import CLASSES, LEAST, STARS, Summary, catalogued

MODULES = ("solar_system", "xmatch", "early_snia", "variable_star", "stamp_class", "transient", "extragalactic", "summary")
NAMES = {*CLASSES.values(), *STARS, "unclear"}  # all that the summary may say
SEED = 8_650_000
Opinion = frozenset[str]  # labels of the simulated sky that an answer allows; none: no opinion
NONE: Opinion = frozenset()


def label(name: Any) -> Opinion:
    """The label of a class of the summary or of a catalogue; kinds of periodic variables are one label."""
    found = "periodic variable" if name in STARS else name
    return frozenset([found]) if found in LABELS else NONE


def opinions(out: pd.DataFrame) -> dict[str, list[Opinion]]:
    """What each module's answers allow, alert by alert; `summary` among them."""
    asteroid, snia, extragalactic = frozenset(["asteroid"]), frozenset(["SN Ia"]), frozenset(EXTRAGALACTIC)
    sure = pd.to_numeric(out["variable_star.false_alarm_probability"]) < Summary.max_false_alarm
    some = pd.to_numeric(out["early_snia.n_detections"]) >= LEAST
    out = out.assign(read_star=out["variable_star.class"].where(sure.fillna(False)), read_snia=out["early_snia.probability"].where(some.fillna(False)))
    stamps = {name: frozenset(labels) for name, labels in STAMPS.items()}
    asked: dict[str, tuple[str, Callable[[Any], Opinion]]] = {
        "solar_system: known": ("solar_system.known", lambda value: asteroid if value else NONE),
        "solar_system: candidate": ("solar_system.candidate", lambda value: asteroid if value else NONE),
        "xmatch": ("xmatch.class", lambda value: label(catalogued(value))),
        "transient": ("transient.class", label),
        "variable_star": ("variable_star.class", lambda value: label(value) if value in STARS else NONE),
        "… where the period is no chance": ("read_star", lambda value: label(value) if value in STARS else NONE),
        "stamp_class": ("stamp_class.class", lambda value: stamps.get(value, NONE)),
        "early_snia at 0.5": ("early_snia.probability", lambda value: snia if value >= 0.5 else NONE),
        f"… from {LEAST} detections on": ("read_snia", lambda value: snia if value >= 0.5 else NONE),
        "extragalactic: passes": ("extragalactic.passes", lambda value: extragalactic if value else NONE),
        "summary": ("summary.class", label),
    }
    return {name: [NONE if pd.isna(value) else told(value) for value in out[column]] for name, (column, told) in asked.items()}


def agreement(said: dict[str, list[Opinion]], truth: list[Opinion]) -> list[str]:
    """Lines of the table; an alert without truth has an empty one. Right is an opinion that shares a label with the truth."""
    lines = [
        "| module | gives an opinion | shared by the summary | overruled | of these with truth | the module was right | the summary was right | neither |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, mine in said.items():
        if name != "summary":
            rows = [(one, other, true) for one, other, true in zip(mine, said["summary"], truth, strict=True) if one]
            over = [row for row in rows if not row[0] & row[1]]
            sure = [row for row in over if row[2]]
            module, summary = sum(bool(one & true) for one, _, true in sure), sum(bool(other & true) for _, other, true in sure)
            neither = sum(not one & true and not other & true for one, other, true in sure)
            share = f"{len(rows) - len(over)} ({100 * (1 - len(over) / len(rows)):.1f} %)" if rows else "–"
            lines.append(f"| {name} | {len(rows)} | {share} | {len(over)} | {len(sure)} | {module} | {summary} | {neither} |")
    return lines


def classes(out: pd.DataFrame) -> str:
    """One line: how many alerts have one class, none by rule, and an answer that the rules do not allow."""
    name = out["summary.class"]
    known, listed = out["solar_system.known"].fillna(False).to_numpy(bool), np.array([catalogued(value) is not None for value in out["xmatch.class"]], bool)
    nothing = out["transient.class"].isna().to_numpy() & ~known & ~listed
    wrong = int((name.isna() != nothing).sum() + (name.notna() & ~name.isin(sorted(NAMES))).sum() + (name.notna() != out["summary.probability"].notna()).sum())
    errors = int(out[[f"{module}.error" for module in MODULES]].notna().to_numpy().sum())
    return (f"{len(out)} alerts: {name.notna().sum()} with one class (of them {(name == 'unclear').sum()} \"unclear\"), {name.isna().sum()} with none since "
            f"no module says anything; {wrong} against the rules, {errors} errors")  # fmt: skip


def scores(guess: NDArray[Any], right: NDArray[Any], probability: NDArray[np.float64] | None = None) -> str:
    """Accuracy, macro F1 over the true classes, and calibration error, as cells of a table."""
    from sklearn.metrics import f1_score

    f1 = f1_score(right, guess, average="macro", labels=np.unique(right), zero_division=0)
    good = guess == right
    told = "–" if probability is None else f"{calibration_error(np.nan_to_num(probability)[:, None], (~good).astype(np.int64)):.3f}"
    return f"{good.mean():.3f} | {f1:.3f} | {told}"


def compared(out: pd.DataFrame, right: NDArray[Any], rules: dict[str, NDArray[Any]], named: Callable[[Iterable[str]], NDArray[Any]]) -> list[str]:
    """Lines of the table of scores on alerts with truth; `named` turns labels into what truth is told in, "" stays, and `rules` guess in it."""

    def told(column: str) -> NDArray[Any]:
        found = ["".join(label(None if pd.isna(value) else value)) for value in out[column]]
        return np.array([str(one) if name else "" for one, name in zip(named(found), found, strict=True)], object)

    often = pd.Series(right).mode()[0]
    return [
        f"| {len(right)} alerts with truth | accuracy | macro F1 | calibration error |",
        "|---|---|---|---|",
        f"| summary | {scores(told('summary.class'), right, out['summary.probability'].to_numpy(float, na_value=np.nan))} |",
        f"| transient alone | {scores(told('transient.class'), right, out['transient.probability'].to_numpy(float, na_value=np.nan))} |",
        *(f"| {name} | {scores(guess, right)} |" for name, guess in rules.items()),
        f"| always the most frequent ({often}) | {scores(np.full(len(right), often, object), right)} |",
    ]


def found_as(out: pd.DataFrame, right: NDArray[Any]) -> list[str]:
    """Lines of a table: which classes the summary gives to each truth."""
    lines = ["| truth | alerts | the summary's classes |", "|---|---|---|"]
    for name in dict.fromkeys([*sorted({one for one in right if one}), *([""] if (right == "").any() else [])]):
        counts = Counter(out["summary.class"][right == name].fillna("none"))
        lines.append(f"| {name or 'not told'} | {(right == name).sum()} | {', '.join(f'{kind} {number}' for kind, number in counts.most_common())} |")
    return lines


def alerts_of(survey: str, paths: list[Path], number: int, seed: int, mix: str) -> Iterable[Alert]:
    """Real alerts of the paths, without those of which something was put in by hand, or simulated ones."""
    if not paths:
        return simulated(survey, number, seed, mix=mix)
    return [alert for alert in real(paths, survey) if survey != "ztf" or as_sent(alert[0])]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("survey", choices=("ztf", "lsst"))
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders of real alerts; none: simulated")
    parser.add_argument("--number", type=int, default=4000, help="simulated alerts")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--mix", default="even", choices=("even", "natural"), help="how common the simulated labels are")
    parser.add_argument("--catalogs", default="", help="folder of imported catalogues for xmatch")
    options = parser.parse_args()

    chain = Chain(Registry.load(data_folder("science_modules")), MODULES, {"xmatch": {"folder": options.catalogs}}, options.survey, 600, "fail")
    given = alerts_of(options.survey, options.paths, options.number, options.seed, options.mix)
    known, out = answers(chain, options.survey, given, curve.INPUTS)
    print(f"{classes(out)}\n")
    said, (by_label, by_group) = opinions(out), learned(options.survey, seed=options.seed + 1)
    numbers = simple(curve.points(out), len(out))[:, :2]
    if options.paths:
        tell = ztf_truth if options.survey == "ztf" else lsst_truth
        right = np.array([tell(record) or "" for record in known], object)
        meant = {group: frozenset(name for name in LABELS if GROUPS[name] == group) for group in set(right) - {""}}
        truth = [meant.get(one, NONE) for one in right]
        named: Callable[[Iterable[str]], NDArray[Any]] = groups
    else:
        right = np.array([record["label"] for record in known], object)
        truth = [frozenset([one]) for one in right]

        def named(labels: Iterable[str]) -> NDArray[Any]:
            return np.array(list(labels), object)

    print("\n".join(agreement(said, truth)) + "\n")
    some = right != ""
    rules = {"cuts in magnitude and colour, learned on other simulated alerts": named(by_label.predict(numbers[some]))}
    if options.paths:
        rules["the same of groups, each alike"] = by_group.predict(numbers[some])
    print("\n".join(compared(out[some].reset_index(drop=True), right[some], rules, named)) + "\n")
    print("\n".join(found_as(out, right)))


if __name__ == "__main__":
    main()
