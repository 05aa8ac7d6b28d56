"""Trains early_snia on the simulated sky: python -m science_modules.early_snia.train [--things N] [--seed N] [--labelled FILE] [--out FOLDER].

FILE holds alerts that somebody has labelled, in Parquet: the columns `mjd` and `lightcurve.…` that the module takes, and `is_ia`.
With --learning no model is kept: what labels are worth that are asked for by entropy and at random is printed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from fink_broker import curve
from fink_broker.errors import ConfigError
from fink_broker.model import roc_auc, sha256
from fink_broker.skysim import Sky, light_curves
from science_modules._baseline import cuts, regression, simple
from science_modules.early_snia import learning
from science_modules.early_snia.evaluate import PURITIES, efficiency
from science_modules.early_snia.rise import DAYS, MISSING, NAMES, features

FOLDER = Path(__file__).parent
# Half are type Ia; the others as they are taken for it.
MIX = {"SN Ia": 10, "SN II": 4.5, "SN Ib/c": 3, "SLSN": 0.5, "TDE": 0.5, "AGN": 0.5, "dwarf nova": 0.4, "periodic variable": 0.2, "microlensing": 0.2,
       "flare": 0.1, "kilonova": 0.1, "other": 0.1}  # fmt: skip
SURVEYS = ("lsst", "ztf", "ztf")  # the second time ZTF without forced photometry, as before schema 4.01
TREES, LEAVES, LEAST = 100, 500, 4
WEIGHT = 10.0  # of a labelled alert
CHECKED = 400  # alerts in the shipped check set


def sample(things: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Young alerts, one of each thing, at random times, of each survey in turn."""
    frames, truths = [], []
    for place, survey in enumerate(SURVEYS):
        sky = Sky(survey, seed + place, mix=MIX)
        frame, truth = light_curves(things // len(SURVEYS), survey, seed + place, sky_model=sky, forced=place < 2)
        frames.append(frame)
        truths.append(truth.assign(survey=survey, thing=place * 10**9 + truth["thing"]))
    alerts, truth = pd.concat(frames, ignore_index=True), pd.concat(truths, ignore_index=True)
    young = (alerts["flux"] > 0) & (alerts["mjd"] - alerts["first_mjd"] < 100) & alerts["ss_object_id"].isna()
    return alerts[young].reset_index(drop=True), truth[young].reset_index(drop=True)


def table(alerts: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """What the forest sees, which alerts have a detection, and what the baselines see."""
    points = curve.points(alerts, DAYS)
    found = features(points.row, points.age, points.band, points.flux, points.err, len(alerts))
    enough = np.bincount(points.row[points.flux >= 5 * points.err], minlength=len(alerts)) >= 1
    return np.where(np.isfinite(found), found, MISSING), enough, simple(points, len(alerts))


def grown(values: NDArray[np.float64], good: NDArray[np.bool_], seed: int, weight: NDArray[np.float64] | None = None) -> RandomForestClassifier:
    """The forest that learned from rows of `table`, each as heavy as `weight` says."""
    forest = RandomForestClassifier(TREES, max_leaf_nodes=LEAVES, min_samples_leaf=LEAST, max_features=0.25, random_state=seed, n_jobs=2)
    return forest.fit(values, good, weight)


def labelled(file: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What the forest sees of alerts that have a detection, and whether each is of type Ia; ConfigError where a column is not there."""
    alerts = pd.read_parquet(file)
    if missing := [name for name in (*curve.INPUTS, "is_ia") if name not in alerts]:
        raise ConfigError(f"{file} has no {', '.join(missing)}; expected the columns {', '.join(curve.INPUTS)}, is_ia")
    values, enough, _ = table(alerts)
    return values[enough], alerts["is_ia"].to_numpy(bool)[enough]


def efficiencies(good: NDArray[np.bool_], score: NDArray[np.float64]) -> str:
    """Of the model, at each purity [%]."""
    return ", ".join(f"{100 * efficiency(good, score, purity):.1f}" for purity in PURITIES)


def main() -> None:
    """Train, test on other things of the same sky, write the model and its check set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--things", type=int, default=180_000, help="simulated objects")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--labelled", type=Path, help="Parquet of labelled alerts that are learned beside the simulated ones")
    parser.add_argument("--weight", type=float, default=WEIGHT, help="of a labelled alert; a simulated one has 1")
    parser.add_argument("--learning", action="store_true", help="only: the worth of labels asked for by entropy and at random, on the things simulated")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    from skl2onnx import to_onnx

    started = time.time()
    alerts, truth = sample(options.things, options.seed)
    values, enough, plain = table(alerts)
    good = (truth["label"] == "SN Ia").to_numpy()
    test = np.random.default_rng(options.seed).random(len(alerts)) < 0.2
    if options.learning:
        print("\n".join(learning.table(grown, values[enough], good[enough], np.random.default_rng(options.seed).random(int(enough.sum())) < 0.3, range(20))))
        return
    seen, told, weight = values[enough & ~test], good[enough & ~test], None
    if options.labelled:
        more, answers = labelled(options.labelled)
        weight = np.repeat([1.0, options.weight], [len(seen), len(more)])
        seen, told = np.vstack([seen, more]), np.concatenate([told, answers])
        print(f"{len(more)} labelled alerts, {answers.sum()} of type Ia, each as heavy as {options.weight:g} simulated ones")
    forest = grown(seen, told, options.seed, weight)
    model = to_onnx(forest, values[:1].astype(np.float32), options={id(forest): {"zipmap": False}}, target_opset=17)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "model.onnx").write_bytes(model.SerializeToString())

    found = forest.predict_proba(values)[:, 1]
    known = enough & ~test
    cut = cuts(plain[known], good[known]).predict_proba(plain[:, :2])[:, 1]
    line = regression(plain[known], good[known]).predict_proba(plain)[:, 1]
    print(f"{known.sum()} alerts for training; ROC AUC of the model, of cuts in colour and magnitude, of a logistic regression (the most frequent class: 0.5); "
          "share of type Ia; efficiency of the model [%] at 50, 80 and 95 % purity")  # fmt: skip
    for survey in dict.fromkeys(SURVEYS):
        for low, high in ((1, 1), (2, 2), (3, 4), (5, 9), (10, 19), (20, 999)):
            detected = values[:, NAMES.index("detected")]
            chosen = test & enough & (truth["survey"] == survey).to_numpy() & (detected >= low) & (detected <= high)
            if not chosen.any():
                continue
            print(f"{survey:<6}{low:>3} to {high:>3} detections: {chosen.sum():>6} alerts, ROC AUC "
                  + ", ".join(f"{roc_auc(good[chosen], score[chosen]):.3f}" for score in (found, cut, line))
                  + f"; {good[chosen].mean():.3f}; " + efficiencies(good[chosen], found[chosen]))  # fmt: skip
        chosen = test & enough & (truth["survey"] == survey).to_numpy()
        print(f"{survey:<6}all: {chosen.sum():>6} alerts; {good[chosen].mean():.3f}; " + efficiencies(good[chosen], found[chosen]))
    chosen = np.flatnonzero(test & enough)[:CHECKED]
    columns = [*curve.INPUTS]
    check = alerts.iloc[chosen][columns].reset_index(drop=True).assign(truth=good[chosen])
    check.to_parquet(options.out / "check.parquet", compression="zstd")
    aucs = ", ".join(f"{roc_auc(good[test & enough], score[test & enough]):.4f}" for score in (found, cut, line))
    print(f"all {int((test & enough).sum())} held apart: {aucs}")
    print(f"score on the check set: roc_auc {roc_auc(good[chosen], found[chosen]):.4f}; sha256 {sha256([options.out / 'model.onnx'])}")
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
