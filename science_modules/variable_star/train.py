"""Trains variable_star on the simulated sky: python -m science_modules.variable_star.train [--things N] [--seed N] [--out FOLDER]."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from fink_broker import curve
from fink_broker.model import Onnx, sha256
from fink_broker.past import points_of, with_past
from fink_broker.skysim import light_curves
from fink_broker.skysim.population import KINDS
from science_modules._baseline import cuts, regression, simple
from science_modules.variable_star import CLASSES, CONTEXT, OF_PERIOD, VariableStar, folded, proposals
from science_modules.variable_star.cadence import cut
from science_modules.variable_star.periods import Fold, joined
from science_modules.variable_star.trees import onnx_file

FOLDER = Path(__file__).parent
MIX = {"rr_lyrae": 3, "cepheid": 2, "eclipsing_binary": 3, "long_period_variable": 3, "AGN": 2, "other": 2, "bogus": 1, "dwarf nova": 0.7, "SN Ia": 0.4,
       "SN II": 0.4, "TDE": 0.3, "flare": 0.3, "microlensing": 0.5}  # fmt: skip
NAMES = {"rr_lyrae": "RR Lyrae", "cepheid": "Cepheid", "eclipsing_binary": "eclipsing binary", "long_period_variable": "long-period variable"}
ROUNDS, PERIOD_ROUNDS = 300, 200  # of boosting
PARTS = 3  # of the training alerts: the chances that the trees of periods see are of trees that did not
CUT, LESS = 0.3, ", cut"  # of the training alerts, if enough is left; what `how` says then: a public survey's cadence is not the only one
BEGUN = 0.3  # of the training alerts of what lasts: the simulated ZTF has seen it for years, and trees would call nothing periodic that is new
CHECKED = 300
BATCH = 2000  # things whose alerts are joined to their past at once
SKIES = {  # where an equal number of things each come from: ZTF's alert alone, ZTF's with all earlier alerts of the object, LSST's, ZTF's of dense programmes
    "ztf random": ("ztf", "random", 0.0), "ztf all": ("ztf", "all", 0.0), "lsst random": ("lsst", "random", 0.0), "ztf dense": ("ztf", "random", 1.0),
}  # fmt: skip


def sample(things: int, seed: int, of: Sequence[str] = tuple(SKIES)) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """One alert of each thing with its history, part by part of SKIES, or of some; a part is the same whichever others there are."""
    for place, (how, (survey, at, dense)) in enumerate(SKIES.items()):
        if how not in of:
            continue
        left, first, share = things // len(SKIES), 0, BATCH if at == "random" else BATCH // 2
        while left > 0:
            frame, truth = light_curves(
                min(left, share), survey, seed + place, first=first, at=at, forced=first % 4 > 0, mix=MIX, models="built-in", dense_share=dense
            )
            left, first = left - share, first + share // 1000
            store = points_of(frame) if at == "all" else None
            chosen = ~truth["thing"].duplicated(keep="last").to_numpy()
            frame, truth = frame[chosen].reset_index(drop=True), truth[chosen].reset_index(drop=True)
            alerts = pd.concat([frame, with_past(frame, store)], axis=1)[[*curve.HISTORY_INPUTS, *CONTEXT, "ss_object_id"]]
            many = (alerts["n_detections"] >= 10) & alerts["ss_object_id"].isna()
            truth = truth.assign(how=how, wanted=truth["kind"].map(NAMES).fillna("not periodic"))
            yield alerts[many].reset_index(drop=True), truth[many].reset_index(drop=True)


def begun(alerts: pd.DataFrame, chosen: NDArray[np.bool_]) -> pd.DataFrame:
    """The same with some stars as of a survey that had just begun: their first detection is the first of the history."""
    first = [mjd[0] for mjd in alerts["history.mjd"]]
    number = [max(int((kind == "detection").sum()), 10) for kind in alerts["history.kind"]]
    return alerts.assign(first_mjd=np.where(chosen, first, alerts["first_mjd"]), n_detections=np.where(chosen, number, alerts["n_detections"]))


def with_cut(
    alerts: pd.DataFrame, truth: pd.DataFrame, held: NDArray[np.bool_], new: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame, NDArray[np.bool_]]:
    """Alerts for training, of which CUT lose points and the `new` have just begun, and those `held`, whole and once more with points lost; truth; held."""
    fewer, shorter = cut(alerts, held | (rng.random(len(alerts)) < CUT), rng)
    stay = held | ~shorter
    row = np.concatenate([np.flatnonzero(stay), np.flatnonzero(shorter)])
    less = np.arange(len(row)) >= stay.sum()
    how = truth["how"].to_numpy(object)[row]
    young = new[row] | (less & (truth["how"] == "lsst random").to_numpy()[row])  # what LSST did not see was before it began: its points are all there are
    both = pd.concat([alerts[stay], fewer[shorter]], ignore_index=True)
    return begun(both, young), truth.iloc[row].reset_index(drop=True).assign(how=np.where(less, how + LESS, how)), held[row]


def recovered(found: Fold, truth: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether periods are within 2 % of the true one, of its half for an eclipsing binary, within 10 % for a long-period variable; columns."""
    period, kind = truth["period_days"].to_numpy(float), truth["kind"].to_numpy()
    ratio = 1 / found.frequency / np.where(kind == "eclipsing_binary", period / 2, period)[:, None]
    right: NDArray[np.bool_] = np.abs(ratio - 1) < np.where(kind == "long_period_variable", 0.1, 0.02)[:, None]
    return right & np.isin(kind, list(NAMES))[:, None]


def trees(rounds: int, seed: int, falling: Sequence[int] = ()) -> HistGradientBoostingClassifier:
    """Boosted trees of 31 leaves; chances fall, or stay, while the `falling` columns grow."""
    return HistGradientBoostingClassifier(
        max_iter=rounds, learning_rate=0.08, max_leaf_nodes=31, l2_regularization=1.0, min_samples_leaf=20, early_stopping=False, random_state=seed,
        monotonic_cst=[-int(place in falling) for place in range(len(OF_PERIOD))] if falling else None,
    )  # fmt: skip


def export(model: HistGradientBoostingClassifier, table: NDArray[np.float32], file: Path) -> Onnx:
    """The same trees as they are shipped."""
    file.write_bytes(onnx_file(model, table.shape[1]))
    return Onnx(file)


def main() -> None:
    """Train, test on other things of the same sky, write the models and their check set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--things", type=int, default=192_000, help="simulated objects")
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    say, started = print, time.time()

    rng, dice = np.random.default_rng(options.seed), np.random.default_rng([options.seed, 1])
    folds, tables, truths, plains, tests, checked = [], [], [], [], [], []
    for alerts, truth in sample(options.things, options.seed):
        held = rng.random(len(alerts)) < 0.25
        lasting = truth["kind"].map({name: kind.lasting for name, kind in KINDS.items()}).to_numpy(bool)
        new = ~held & lasting & (rng.random(len(alerts)) < BEGUN)
        alerts, truth, held = with_cut(alerts, truth, held, new, dice)
        one, numbers = folded(alerts, 12)
        mine = held[one.row]
        folds.append(one)
        tables.append(numbers.astype(np.float32))
        truths.append(truth.iloc[one.row])
        plains.append(simple(curve.points(alerts, prefix="history"), len(alerts))[one.row])
        tests.append(mine)
        mine = mine & ~truth["how"].str.endswith(LESS).to_numpy()[one.row]
        kept = alerts.iloc[one.row[mine]][[*curve.HISTORY_INPUTS, *CONTEXT]].assign(truth=truth["wanted"].to_numpy()[one.row[mine]])
        checked.append(kept.iloc[: CHECKED * BATCH * 3 // options.things + 1])
    found, truth = joined(folds), pd.concat(truths, ignore_index=True)
    table, plain, test = (np.concatenate(parts) for parts in (tables, plains, tests))
    wanted, good = truth["wanted"].map(CLASSES.index).to_numpy(), recovered(found, truth)
    less = truth["how"].str.endswith(LESS).to_numpy()
    say(f"{(~test).sum()} alerts for training, {(~test & less).sum()} of them cut; {(test & ~less).sum()} for the test, {(test & less).sum()} also cut")

    model = export(trees(ROUNDS, options.seed).fit(table[~test], wanted[~test]), table, options.out / "model.onnx")
    (chances,) = model(table)
    part = np.where(test, -1, rng.integers(0, PARTS, len(table)))
    unseen = np.zeros_like(chances)
    for one in range(PARTS):
        others = (part >= 0) & (part != one)
        unseen[part == one] = trees(ROUNDS, options.seed).fit(table[others], wanted[others]).predict_proba(table[part == one])
    offered = proposals(found, table, np.where(test[:, None], chances, unseen)).astype(np.float32)
    periodic = ~test & (truth["wanted"] != "not periodic").to_numpy()
    falling = [place for place, name in enumerate(OF_PERIOD) if name.startswith("behind_")]  # no period is likelier for a worse fit
    chooser = trees(PERIOD_ROUNDS, options.seed, falling).fit(offered[periodic].reshape(-1, len(OF_PERIOD)), good[periodic].ravel().astype(int))
    period = export(chooser, offered[0], options.out / "period.onnx")
    likely = period(offered.reshape(-1, len(OF_PERIOD)))[0].reshape(good.shape) * (1 - chances[:, [CLASSES.index("not periodic")]])
    chosen = likely.argmax(axis=1)
    right, sure = good[np.arange(len(good)), chosen], likely.max(axis=1)

    guess = chances.argmax(axis=1)
    line, rule = regression(table[~test], wanted[~test]).predict(table), cuts(plain[~test], wanted[~test]).predict(plain[:, :2])
    for how in dict.fromkeys(truth["how"]):
        mine = test & (truth["how"] == how).to_numpy()
        often = np.bincount(wanted[mine]).max() / mine.sum()
        answers = {"model": guess, "cuts in colour and magnitude": rule, "logistic regression on the same numbers": line}
        told = ", ".join(f"{name} {accuracy_score(wanted[mine], one[mine]):.3f}" for name, one in answers.items())
        f1 = f1_score(wanted[mine], guess[mine], average="macro")
        say(f"{how}: {mine.sum()} alerts, accuracy: {told}, always the most frequent class {often:.3f}; macro F1 {f1:.3f}")
        for kind, name in NAMES.items():
            those = mine & (truth["kind"] == kind).to_numpy()
            likelier = those & (sure > 0.5)
            shares = [100 * one.sum() / max(len(one), 1) for one in (right[those], good[those, 0], good[those].any(axis=1), right[likelier])]
            say(f"   {name}: {those.sum()}, period recovered {shares[0]:.0f} % (best wave {shares[1]:.0f} %, among the proposed {shares[2]:.0f} %), "
                f"of {likelier.sum()} with a probability above 0.5 {shares[3]:.0f} %")  # fmt: skip
    for low in np.arange(0, 1, 0.2):
        those = test & ~less & (sure >= low) & (sure < low + 0.2)
        say(f"period_probability {low:.1f} to {low + 0.2:.1f}: {those.sum()}, on average {sure[those].mean():.2f}, right {right[those].mean():.2f}")
    whole = test & ~less
    say("confusion (rows true):", *CLASSES, "\n", confusion_matrix(wanted[whole], guess[whole], normalize="true").round(2))
    some = pd.concat(checked, ignore_index=True)
    check = some.sample(min(CHECKED, len(some)), random_state=options.seed, ignore_index=True)
    check.to_parquet(options.out / "check.parquet", compression="zstd")
    module = VariableStar(models=str(options.out))
    module.setup()
    score = accuracy_score(check["truth"], module.process(check[list(module.inputs)])["class"])
    say(f"score on the check set: accuracy {score:.4f}; sha256 {sha256([options.out / name for name in VariableStar.model_files])}")
    say(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
