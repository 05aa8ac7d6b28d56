"""Trains early_snia on the simulated sky: python -m science_modules.early_snia.train [--things N] [--seed N] [--out FOLDER]."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from fink_broker import curve
from fink_broker.model import roc_auc, sha256
from fink_broker.skysim import Sky, light_curves
from science_modules._baseline import cuts, regression, simple
from science_modules.early_snia.rise import DAYS, MISSING, NAMES, features

FOLDER = Path(__file__).parent
# Half are type Ia; the others as they are taken for it.
MIX = {"SN Ia": 10, "SN II": 4.5, "SN Ib/c": 3, "SLSN": 0.5, "TDE": 0.5, "AGN": 0.5, "dwarf nova": 0.4, "periodic variable": 0.2, "microlensing": 0.2,
       "flare": 0.1, "kilonova": 0.1, "other": 0.1}  # fmt: skip
SURVEYS = ("lsst", "ztf", "ztf")  # the second time ZTF without forced photometry, as before schema 4.01
TREES, LEAVES, LEAST = 100, 500, 4
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


def main() -> None:
    """Train, test on other things of the same sky, write the model and its check set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--things", type=int, default=180_000, help="simulated objects")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    from skl2onnx import to_onnx

    alerts, truth = sample(options.things, options.seed)
    values, enough, plain = table(alerts)
    good = (truth["label"] == "SN Ia").to_numpy()
    test = np.random.default_rng(options.seed).random(len(alerts)) < 0.2
    forest = RandomForestClassifier(TREES, max_leaf_nodes=LEAVES, min_samples_leaf=LEAST, max_features=0.25, random_state=options.seed, n_jobs=2)
    forest.fit(values[enough & ~test], good[enough & ~test])
    model = to_onnx(forest, values[:1].astype(np.float32), options={id(forest): {"zipmap": False}}, target_opset=17)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "model.onnx").write_bytes(model.SerializeToString())

    found = forest.predict_proba(values)[:, 1]
    known = enough & ~test
    cut = cuts(plain[known], good[known]).predict_proba(plain[:, :2])[:, 1]
    line = regression(plain[known], good[known]).predict_proba(plain)[:, 1]
    print(f"{known.sum()} alerts for training; ROC AUC of the model, of cuts in colour and magnitude, of a logistic regression (the most frequent class: 0.5)")
    for survey in dict.fromkeys(SURVEYS):
        for low, high in ((1, 1), (2, 2), (3, 4), (5, 9), (10, 19), (20, 999)):
            detected = values[:, NAMES.index("detected")]
            chosen = test & enough & (truth["survey"] == survey).to_numpy() & (detected >= low) & (detected <= high)
            print(f"{survey:<6}{low:>3} to {high:>3} detections: {chosen.sum():>6} alerts, ROC AUC "
                  + ", ".join(f"{roc_auc(good[chosen], score[chosen]):.3f}" for score in (found, cut, line)))  # fmt: skip
    chosen = np.flatnonzero(test & enough)[:CHECKED]
    columns = [*curve.INPUTS]
    check = alerts.iloc[chosen][columns].reset_index(drop=True).assign(truth=good[chosen])
    check.to_parquet(options.out / "check.parquet", compression="zstd")
    aucs = ", ".join(f"{roc_auc(good[test & enough], score[test & enough]):.4f}" for score in (found, cut, line))
    print(f"all {int((test & enough).sum())} held apart: {aucs}")
    print(f"score on the check set: roc_auc {roc_auc(good[chosen], found[chosen]):.4f}; sha256 {sha256([options.out / 'model.onnx'])}")


if __name__ == "__main__":
    main()
