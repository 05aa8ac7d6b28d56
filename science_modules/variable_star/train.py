"""Trains variable_star on the simulated sky: python -m science_modules.variable_star.train [--things N] [--seed N] [--out FOLDER]."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from fink_broker import curve
from fink_broker.model import sha256
from fink_broker.past import points_of, with_past
from fink_broker.skysim import light_curves
from science_modules._baseline import cuts, regression, simple
from science_modules.variable_star import CLASSES, CONTEXT, features
from science_modules.variable_star.periods import Fold, fold

FOLDER = Path(__file__).parent
MIX = {"rr_lyrae": 3, "cepheid": 2, "eclipsing_binary": 3, "long_period_variable": 3, "AGN": 2, "other": 2, "bogus": 1, "dwarf nova": 0.7, "SN Ia": 0.4,
       "SN II": 0.4, "TDE": 0.3, "flare": 0.3, "microlensing": 0.5}  # fmt: skip
NAMES = {"rr_lyrae": "RR Lyrae", "cepheid": "Cepheid", "eclipsing_binary": "eclipsing binary", "long_period_variable": "long-period variable"}
TREES, LEAVES, LEAST = 100, 400, 3
CHECKED = 300
BATCH = 2000  # things whose alerts are joined to their past at once


def sample(things: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One alert of each thing with its history: ZTF's alert alone, ZTF's with all earlier alerts of the object, LSST's, each a third."""
    frames, truths = [], []
    for place, (survey, at) in enumerate((("ztf", "random"), ("ztf", "all"), ("lsst", "random"))):
        left, first, share = things // 3, 0, BATCH if at == "random" else BATCH // 2
        while left > 0:
            frame, truth = light_curves(min(left, share), survey, seed + place, first=first, at=at, forced=first % 4 > 0, mix=MIX)
            left, first = left - share, first + share // 1000
            store = points_of(frame) if at == "all" else None
            chosen = ~truth["thing"].duplicated(keep="last").to_numpy()
            frame, truth = frame[chosen].reset_index(drop=True), truth[chosen].reset_index(drop=True)
            frames.append(pd.concat([frame, with_past(frame, store)], axis=1)[[*curve.HISTORY_INPUTS, *CONTEXT, "ss_object_id"]])
            truths.append(truth[["thing", "kind", "label", "period_days"]].assign(thing=place * 10**9 + truth["thing"], how=f"{survey} {at}"))
    alerts, truth = pd.concat(frames, ignore_index=True), pd.concat(truths, ignore_index=True)
    many = (alerts["n_detections"] >= 10) & alerts["ss_object_id"].isna()
    truth["wanted"] = truth["kind"].map(NAMES).fillna("not periodic")
    return alerts[many].reset_index(drop=True), truth[many].reset_index(drop=True)


def recovered(found: Fold, truth: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the period is within 2 % of the true one, of its half for an eclipsing binary, within 10 % for a long-period variable."""
    period, kind = truth["period_days"].to_numpy(float), truth["kind"].to_numpy()
    ratio = 1 / found.frequency / np.where(kind == "eclipsing_binary", period / 2, period)
    return np.abs(ratio - 1) < np.where(kind == "long_period_variable", 0.1, 0.02)


def main() -> None:
    """Train, test on other things of the same sky, write the model and its check set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--things", type=int, default=72_000, help="simulated objects")
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    from skl2onnx import to_onnx

    alerts, truth = sample(options.things, options.seed)
    points = curve.points(alerts, prefix="history")
    found, used, value = fold(points, 12)
    plain = simple(points, len(alerts))[found.row]
    table = features(found, used, value, alerts)
    truth = truth.iloc[found.row].reset_index(drop=True)
    wanted = truth["wanted"].map(CLASSES.index).to_numpy()
    test = np.random.default_rng(options.seed).random(len(table)) < 0.25
    forest = RandomForestClassifier(TREES, max_leaf_nodes=LEAVES, min_samples_leaf=LEAST, random_state=options.seed, n_jobs=2)
    forest.fit(table[~test], wanted[~test])
    options.out.mkdir(parents=True, exist_ok=True)
    model = to_onnx(forest, table[:1].astype(np.float32), options={id(forest): {"zipmap": False}}, target_opset=17)
    (options.out / "model.onnx").write_bytes(model.SerializeToString())

    guess = forest.predict(table)
    line, cut = regression(table[~test], wanted[~test]).predict(table), cuts(plain[~test], wanted[~test]).predict(plain[:, :2])
    say = print
    say(f"{(~test).sum()} alerts for training")
    for how in dict.fromkeys(truth["how"]):
        mine = test & (truth["how"] == how).to_numpy()
        often = np.bincount(wanted[mine]).max() / mine.sum()
        right = {"model": guess, "cuts in colour and magnitude": cut, "logistic regression on the same numbers": line}
        told = ", ".join(f"{name} {accuracy_score(wanted[mine], one[mine]):.3f}" for name, one in right.items())
        f1 = f1_score(wanted[mine], guess[mine], average="macro")
        say(f"{how}: {mine.sum()} alerts, accuracy: {told}, always the most frequent class {often:.3f}; macro F1 {f1:.3f}")
        good = recovered(found, truth)
        for kind, name in NAMES.items():
            those = mine & (truth["kind"] == kind).to_numpy()
            sure = those & (found.false_alarm < 1e-3)
            say(f"   {name}: {those.sum()}, period recovered {100 * good[those].mean():.0f} %, "
                f"of {sure.sum()} with false alarm < 0.001 {100 * good[sure].mean():.0f} %")  # fmt: skip
    say("confusion (rows true):", *CLASSES, "\n", confusion_matrix(wanted[test], guess[test], normalize="true").round(2))
    chosen = np.flatnonzero(test)[:CHECKED]
    check = alerts.iloc[found.row[chosen]][[*curve.HISTORY_INPUTS, *CONTEXT]].reset_index(drop=True).assign(truth=truth["wanted"].to_numpy()[chosen])
    check.to_parquet(options.out / "check.parquet", compression="zstd")
    say(f"score on the check set: accuracy {accuracy_score(wanted[chosen], guess[chosen]):.4f}; sha256 {sha256([options.out / 'model.onnx'])}")


if __name__ == "__main__":
    main()
