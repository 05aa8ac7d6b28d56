"""Compares early_snia with Fink's scores on the same alerts: python -m science_modules.early_snia.evaluate FOLDER [--plot FILE] [--models FOLDER].

FOLDER holds ELAsTiCC alerts with classes and Fink's columns, as Parquet in folders classId=111 (SN Ia) and classId=113 (SN II). None was used for training.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker.model import roc_auc
from fink_broker.settings import data_folder

TYPE_IA = 111
PURITIES = (0.5, 0.8, 0.95)
FINK = {"Fink's random forest": "rf_snia_vs_nonia", "Fink's SuperNNova": "snn_snia_vs_nonia"}
DETECTIONS = ((1, 1), (2, 3), (4, 6), (7, 15), (16, 999))
DRAWS = 300  # of the objects, for standard errors


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What modules take of each alert, as `schemas/elasticc/survey.toml` has it, and truth: is_ia, object, detections, Fink's scores."""
    import pyarrow.dataset as ds

    columns = ["diaSource", "prvDiaSources", "prvDiaForcedSources", "diaObject", "classId", *FINK.values()]
    table = ds.dataset(folder, partitioning="hive").to_table(columns=columns)
    rows, truth = [], []
    for packet in table.to_pylist():
        this = packet["diaSource"]
        known = [(point, "detection") for point in [*(packet["prvDiaSources"] or []), this]]
        known += [(point, "forced") for point in packet["prvDiaForcedSources"] or []]
        known.sort(key=lambda pair: pair[0]["midPointTai"])
        rows.append(_about(packet, known) | _row(this["midPointTai"], known))
        truth.append((packet["classId"] == TYPE_IA, this["diaObjectId"], len(packet["prvDiaSources"] or []) + 1, *(packet[name] for name in FINK.values())))
    return pd.DataFrame(rows), pd.DataFrame(truth, columns=["is_ia", "object", "detections", *FINK.values()])


def _about(packet: dict[str, Any], known: list[tuple[dict[str, Any], str]]) -> dict[str, Any]:
    this, host = packet["diaSource"], packet["diaObject"]["hostgal_snsep"]
    seen = [point["midPointTai"] for point, kind in known if kind == "detection"]
    return {
        "ra": this["ra"], "dec": this["decl"], "flux": this["psFlux"], "snr": this["snr"], "first_mjd": min(seen), "n_detections": len(seen),
        "reliability": np.nan, "ss_object_id": None, "ss_distance_arcsec": np.nan, "neighbour_distance_arcsec": host if host >= 0 else np.nan,
        "neighbour_star_score": np.nan,
        "template_flux": np.nan,
    }  # fmt: skip


def _row(now: float, known: list[tuple[dict[str, Any], str]]) -> dict[str, Any]:
    row: dict[str, Any] = {"mjd": now}
    for name, key in (("mjd", "midPointTai"), ("flux", "psFlux"), ("flux_err", "psFluxErr")):
        row[f"lightcurve.{name}"] = np.array([point[key] for point, _ in known], float)
    row["lightcurve.band"] = np.array([point["filterName"].lower() for point, _ in known], object)
    row["lightcurve.kind"] = np.array([kind for _, kind in known], object)
    row["lightcurve.limit_mag"] = np.full(len(known), np.nan)
    return row


def efficiency(truth: NDArray[np.bool_], score: NDArray[np.float64], purity: float) -> float:
    """Largest share of the true ones that a threshold keeps at that purity or better; 0 where no threshold reaches it."""
    order = np.argsort(-score, kind="stable")
    good = np.cumsum(truth[order])
    pure = good / np.arange(1, len(order) + 1)
    ends = np.append(np.diff(score[order]) != 0, True)  # a threshold cannot part equal scores
    reached = ends & (pure >= purity)
    return float((good[reached] / truth.sum()).max()) if reached.any() else 0.0


def baselines(alerts: pd.DataFrame, truth: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """A constant, a cut on colour, and a logistic regression on magnitudes and colours (learned from these alerts, five folds by object)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    simple = np.array([_brightest(row) for row in alerts.to_dict("records")])
    colour = np.where(np.isfinite(simple[:, 1] - simple[:, 3]), -(simple[:, 1] - simple[:, 3]), -9)
    filled = np.where(np.isfinite(simple), simple, np.nanmedian(simple, axis=0))
    colours = np.column_stack([filled, filled[:, :-1] - filled[:, 1:], np.isfinite(simple)])
    good, found = truth["is_ia"].to_numpy(), np.zeros(len(truth))
    for train, test in GroupKFold(5).split(colours, good, truth["object"]):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(colours[train], good[train])
        found[test] = model.predict_proba(colours[test])[:, 1]
    return {"always the same": np.zeros(len(truth)), "colour g − i of the brightest points": -colour, "logistic regression on magnitudes": found}


def _brightest(row: dict[str, Any]) -> list[float]:
    values = []
    for name in "ugrizy":
        mine = (row["lightcurve.band"] == name) & (row["lightcurve.flux"] > 3 * row["lightcurve.flux_err"])
        values.append(31.4 - 2.5 * np.log10(row["lightcurve.flux"][mine].max()) if mine.any() else np.nan)
    return values


def line(name: str, truth: NDArray[np.bool_], score: NDArray[np.float64]) -> str:
    """A row of the table."""
    return f"| {name} | {roc_auc(truth, score):.3f} | " + " | ".join(f"{100 * efficiency(truth, score, purity):.1f}" for purity in PURITIES) + " |"


def parts(truth: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Which alerts have a table of their own: all, by number of detections, and those on which each of Fink's scores was computed."""
    detections = truth["detections"]
    made = {"all alerts": detections > 0}
    for low, high in DETECTIONS:
        made[f"{low} to {high} detections" if high > low else "a single detection"] = detections.between(low, high)
    made["alerts with a score of Fink's forest"], made["alerts with a score of SuperNNova"] = (truth[column] > 0 for column in FINK.values())
    return {name: chosen.to_numpy() for name, chosen in made.items()}


def behind(truth: pd.DataFrame, scores: dict[str, NDArray[np.float64]]) -> list[str]:
    """A sentence for each part and purity at which one of Fink's scores keeps more of the true ones than ours, with the standard error of the difference."""
    ours, found = scores["early_snia"], []
    for title, mine in parts(truth).items():
        good, things = truth["is_ia"].to_numpy()[mine], truth["object"].to_numpy()[mine]
        for name in FINK:
            for purity in PURITIES:
                values = [efficiency(good, score[mine], purity) for score in (ours, scores[name])]
                if values[0] < values[1]:
                    error = spread(
                        things, lambda k, s=scores[name][mine], o=ours[mine], g=good, p=purity: efficiency(g[k], o[k], p) - efficiency(g[k], s[k], p)
                    )
                    found.append(f"{title}, {100 * purity:.0f} % purity: early_snia {100 * values[0]:.1f} %, {name} {100 * values[1]:.1f} %; "
                                 f"difference {100 * (values[0] - values[1]):.2f} ± {100 * error:.2f}")  # fmt: skip
    return found


def spread(things: NDArray[np.int64], measure: Callable[[NDArray[np.int64]], float]) -> float:
    """Standard error of what is measured on some alerts, by drawing their objects again."""
    rng = np.random.default_rng(1)
    of = pd.Series(np.arange(len(things))).groupby(things).apply(np.asarray).tolist()
    return float(np.std([measure(np.concatenate([of[k] for k in rng.integers(0, len(of), len(of))])) for _ in range(DRAWS)]))


def plot(truth: pd.DataFrame, scores: dict[str, NDArray[np.float64]], file: Path) -> None:
    """Receiver's curves of ours and Fink's two scores: all alerts, and by number of detections."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.metrics import roc_curve

    shown = list(parts(truth).items())[: 1 + len(DETECTIONS)]
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6.6), layout="constrained", sharex=True, sharey=True)
    for axis, (title, mine) in zip(axes.flat, shown, strict=True):
        good = truth["is_ia"].to_numpy()[mine]
        for name in ("early_snia", *FINK):
            false, true, _ = roc_curve(good, scores[name][mine])
            axis.plot(false, true, label=f"{name}: {roc_auc(good, scores[name][mine]):.3f}")
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
        axis.set_title(f"{title}: {len(good)}, {good.sum()} of type Ia", fontsize=9)
        axis.legend(fontsize=7, loc="lower right", title="area under the curve", title_fontsize=7)
    figure.supxlabel("share of SN II kept")
    figure.supylabel("share of SN Ia kept")
    figure.savefig(file, dpi=80)
    plt.close(figure)


def learned(alerts: pd.DataFrame, truth: pd.DataFrame, beside: int) -> list[str]:
    """The table of `learning`: labels of these alerts, tested on those of two fifths of the objects, which are never asked for.

    Each label is learned beside the alerts of so many simulated things, with the weight that training gives it; 0: alone.
    """
    from science_modules.early_snia import learning, train

    values, enough, _ = train.table(alerts)
    good = truth["is_ia"].to_numpy()[enough]
    _, number = np.unique(truth["object"].to_numpy()[enough], return_inverse=True)
    apart = np.random.default_rng(11).random(number.max() + 1)[number] < 0.4
    if not beside:
        return learning.table(train.grown, values[enough], good, apart, range(10))
    sky, about = train.sample(beside, 5021)
    base, seen, _ = train.table(sky)
    base, told = base[seen], (about["label"] == "SN Ia").to_numpy()[seen]

    def grow(rows: NDArray[np.float64], answers: NDArray[np.bool_], seed: int) -> Any:
        weight = np.repeat([1.0, train.WEIGHT], [len(base), len(rows)])
        return train.grown(np.vstack([base, rows]), np.concatenate([told, answers]), seed, weight)

    none = roc_auc(good[apart], train.grown(base, told, 0).predict_proba(values[enough][apart])[:, 1])
    return [f"{len(base)} simulated alerts, no label: {none:.4f}", "", *learning.table(grow, values[enough], good, apart, range(5))]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default="", help="folder of another model.onnx")
    parser.add_argument("--plot", type=Path, help="file of the receiver's curves (.png)")
    parser.add_argument("--learning", action="store_true", help="only: the worth of labels asked for by entropy and at random, of these alerts")
    options = parser.parse_args()
    from fink_broker.science import Registry

    alerts, truth = read(options.folder)
    if options.learning:
        print("\n".join([*learned(alerts, truth, 0), "", *learned(alerts, truth, 6000)]))
        return
    module = Registry.load(data_folder("science_modules")).get("early_snia")(models=options.models)
    module.setup()
    ours = module.process(alerts[list(module.inputs)])["probability"].fillna(0).to_numpy(float)
    scores = {"early_snia": ours, **{name: truth[column].to_numpy(float) for name, column in FINK.items()}, **baselines(alerts, truth)}
    for title, mine in parts(truth).items():
        good = truth["is_ia"].to_numpy()[mine]
        print(
            f"\n{title}: {len(good)}, {good.sum()} of type Ia\n\n| score | ROC AUC | "
            + " | ".join(f"efficiency at {100 * p:.0f} % purity [%]" for p in PURITIES)
            + " |\n|---|---|---|---|---|"
        )
        for name, score in scores.items():
            print(line(name, good, score[mine]))
    print(f"\nwhere one of Fink's scores keeps more (standard error: objects drawn again {DRAWS} times):")
    print("\n".join(behind(truth, scores)))
    if options.plot:
        plot(truth, scores, options.plot)


if __name__ == "__main__":
    main()
