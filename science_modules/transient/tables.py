"""How good the classes are on simulated alerts, beside three simple rules: tables and plots for the card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from science_modules._baseline import cuts, regression
from science_modules._graph import calibration_error
from science_modules.transient import CLASSES

DAYS = ((0, 0.5), (0.5, 3), (3, 10), (10, 30), (30, 100), (100, 10000))  # since the first detection
EARLY = 3.0  # [d]
BINS = {"mag": (0, 18, 19, 20, 21, 22, 23, 30), "redshift": (0, 0.05, 0.1, 0.2, 0.4, 0.8, 3)}
CUTS_DEPTH = 6  # of 4 to 20, where the trees are right most often on alerts kept apart
FEW = 20_000  # alerts that the regression learns from
RULES = ("logistic regression", "cuts", "most frequent class")
Arrays = dict[str, NDArray[Any]]
Rule = Callable[[Arrays], NDArray[np.int64]]  # arrays as `train.sample` makes them -> classes


def baselines(data: Arrays, rows: NDArray[np.int64]) -> dict[str, Rule]:
    """Rules that learned from some rows, each survey by itself: cuts in colour and magnitude for each span of days, and a regression on simple numbers."""
    trees: dict[tuple[bool, int], Any] = {}
    lines: dict[bool, Any] = {}
    for ztf in (True, False):
        mine = rows[data["survey"][rows] == ztf]
        if not len(mine):
            continue
        few = mine[:FEW]
        lines[ztf] = regression(_numbers(data)[few], data["label"][few])
        for place in range(len(DAYS)):
            some = mine[_span(data)[mine] == place]
            some = some if len(some) else mine
            trees[ztf, place] = cuts(data["simple"][some], data["label"][some], CUTS_DEPTH)

    def line(other: Arrays) -> NDArray[np.int64]:
        found = np.zeros(len(other["label"]), np.int64)
        for ztf, model in lines.items():
            if (k := other["survey"] == ztf).any():
                found[k] = model.predict(_numbers(other)[k])
        return found

    def cut(other: Arrays) -> NDArray[np.int64]:
        found = np.zeros(len(other["label"]), np.int64)
        for (ztf, place), tree in trees.items():
            if (k := (other["survey"] == ztf) & (_span(other) == place)).any():
                found[k] = tree.predict(other["simple"][k, :2])
        return found

    return {"logistic regression": line, "cuts": cut}


def _numbers(data: Arrays) -> NDArray[np.float64]:
    return np.column_stack([data["simple"], data["about"]])


def _span(data: Arrays) -> NDArray[np.int64]:
    """Place in DAYS."""
    return np.searchsorted([low for low, _ in DAYS[1:]], data["days"], side="right")


def parts(data: Arrays) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Survey, what the alerts have in common, and which they are: all, by days since the first detection, by magnitude, by redshift."""
    for survey, mine in (("ZTF", data["survey"]), ("LSST", ~data["survey"])):
        yield survey, "all", mine
        for low, high in DAYS:
            yield survey, f"days {low:g}–{high:g}", mine & (data["days"] >= low) & (data["days"] < high)
        for what, edges in BINS.items():
            for low, high in pairwise(edges):
                yield survey, f"{what} {low:g}–{high:g}", mine & (data[what] >= low) & (data[what] < high)


def measures(chances: NDArray[np.float64], label: NDArray[np.int64], others: dict[str, NDArray[np.int64]]) -> dict[str, float]:
    """Of some alerts: accuracy, macro F1 of the classes among them, calibration error, accuracy of each of RULES, and the gain over the best of these.

    The most frequent class is that of these very alerts, which no rule could know.
    """
    from sklearn.metrics import f1_score

    guess = chances.argmax(axis=1)
    found = {"accuracy": float((guess == label).mean()), "macro F1": float(f1_score(label, guess, labels=np.unique(label), average="macro", zero_division=0)),
             "calibration error": calibration_error(chances, label)}  # fmt: skip
    rules = {name: float((given == label).mean()) for name, given in others.items()} | {RULES[-1]: float(np.bincount(label).max() / len(label))}
    return found | rules | {"gain": found["accuracy"] - max(rules.values())}


def report(rules: dict[str, Rule], data: Arrays, chances: NDArray[np.float64], rows: NDArray[np.int64]) -> list[str]:
    """The tables of the card: by survey against days, magnitude and redshift, and what is taken for what early and late."""
    some = {name: values[rows] for name, values in data.items()}
    others = {name: rule(some) for name, rule in rules.items()}
    lines: list[str] = []
    for survey, what, k in parts(some):
        if k.any():
            found = measures(chances[k], some["label"][k], {name: given[k] for name, given in others.items()})
            if not lines:
                lines = [f"| survey | alerts of | number | {' | '.join(found)} |", "|" + "---|" * (3 + len(found))]
            lines.append(f"| {survey} | {what} | {k.sum()} | {' | '.join(f'{value:.3f}' for value in found.values())} |")
    for title, table in confusions(some, chances).items():
        lines += ["", f"{title}:", "", "| true \\ found | " + " | ".join(CLASSES.values()) + " |", "|" + "---|" * (1 + len(CLASSES))]
        lines += [f"| {name} | {' | '.join(f'{value:.2f}' for value in row)} |" for name, row in zip(CLASSES.values(), table, strict=True)]
    return lines


def confusions(data: Arrays, chances: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Shares of the true class by survey, early and late."""
    from sklearn.metrics import confusion_matrix

    made = {}
    for survey, mine in (("ZTF", data["survey"]), ("LSST", ~data["survey"])):
        for when, k in ((f"first {EARLY:g} days", data["days"] < EARLY), ("later", data["days"] >= EARLY)):
            if (mine & k).any():
                label, guess = data["label"][mine & k], chances.argmax(axis=1)[mine & k]
                made[f"{survey}, {when} ({len(label)} alerts)"] = confusion_matrix(label, guess, labels=range(len(CLASSES)), normalize="true")
    return made


def plots(rules: dict[str, Rule], data: Arrays, chances: NDArray[np.float64], folder: Path) -> list[Path]:
    """Write days.png (accuracy and calibration error against days), reliability.png and confusion.png."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.png" for name in ("days", "reliability", "confusion")]
    _days(rules, data, chances, files[0])
    _reliability(data, chances, files[1])
    _confusion(data, chances, files[2])
    return files


def _days(rules: dict[str, Rule], data: Arrays, chances: NDArray[np.float64], file: Path) -> None:
    import matplotlib.pyplot as plt

    others = {name: rule(data) for name, rule in rules.items()}
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained", sharex=True, sharey="row")
    names = [f"{low:g}–{high:g}" for low, high in DAYS]
    for column, survey in enumerate(("ZTF", "LSST")):
        found = {what[5:]: measures(chances[k], data["label"][k], {name: given[k] for name, given in others.items()})
                 for of, what, k in parts(data) if of == survey and what.startswith("days") and k.any()}  # fmt: skip
        for name, text in (("accuracy", "transient"), *((rule, rule) for rule in RULES)):
            axes[0, column].plot(list(found), [one[name] for one in found.values()], marker="o", linewidth=2 if name == "accuracy" else 1, label=text)
        axes[1, column].plot(list(found), [one["calibration error"] for one in found.values()], marker="o", linewidth=2)
        axes[0, column].set_title(survey)
        axes[1, column].set_xticks(range(len(names)), names)
    axes[0, 0].set_ylabel("accuracy")
    axes[0, 0].legend(fontsize=8)
    axes[0, 0].set_ylim(0, 1)
    axes[1, 0].set_ylabel("calibration error of transient")
    axes[1, 0].set_ylim(0)
    figure.supxlabel("days since the first detection")
    figure.savefig(file, dpi=80)
    plt.close(figure)


def _reliability(data: Arrays, chances: NDArray[np.float64], file: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 6), layout="constrained")
    top, good = chances.max(axis=1), chances.argmax(axis=1) == data["label"]
    place = np.minimum((top * 10).astype(int), 9)
    for survey, mine in (("ZTF", data["survey"]), ("LSST", ~data["survey"])):
        for when, late, style in ((f"first {EARLY:g} days", False, "--"), ("later", True, "-")):
            k = mine & ((data["days"] >= EARLY) == late)
            bins = [k & (place == number) for number in range(10) if (k & (place == number)).sum() >= 20]
            share = np.array([good[one].mean() for one in bins])
            error = np.sqrt(share * (1 - share) / np.array([one.sum() for one in bins]))
            axis.errorbar([top[one].mean() for one in bins], share, error, marker="o", markersize=4, linestyle=style, label=f"{survey}, {when}")
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axis.set_xlabel("probability of the likeliest class")
    axis.set_ylabel("share of alerts that are of it")
    axis.legend()
    figure.savefig(file, dpi=80)
    plt.close(figure)


def _confusion(data: Arrays, chances: NDArray[np.float64], file: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(12, 11), layout="constrained")
    names = list(CLASSES.values())
    for axis, (title, table) in zip(axes.flat, confusions(data, chances).items(), strict=False):
        axis.imshow(table, vmin=0, vmax=1, cmap="viridis")
        for (row, column), value in np.ndenumerate(table):
            if value >= 0.005:
                axis.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color="white" if value < 0.6 else "black")
        axis.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
        axis.set_yticks(range(len(names)), names, fontsize=7)
        axis.set_title(f"{title}: % of the true class (row)", fontsize=9)
    figure.savefig(file, dpi=66)
    plt.close(figure)
