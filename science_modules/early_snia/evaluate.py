"""Compares early_snia with Fink's scores on the same alerts: python -m science_modules.early_snia.evaluate FOLDER [--models FOLDER].

FOLDER holds ELAsTiCC alerts with classes and Fink's columns, as Parquet in folders classId=111 (SN Ia) and classId=113 (SN II). None was used for training.
"""

from __future__ import annotations

import argparse
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


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The module's inputs, and truth: is_ia, object, detections, Fink's scores."""
    import pyarrow.dataset as ds

    table = ds.dataset(folder, partitioning="hive").to_table(columns=["diaSource", "prvDiaSources", "prvDiaForcedSources", "classId", *FINK.values()])
    rows, truth = [], []
    for packet in table.to_pylist():
        this = packet["diaSource"]
        known = [(point, "detection") for point in [*(packet["prvDiaSources"] or []), this]]
        known += [(point, "forced") for point in packet["prvDiaForcedSources"] or []]
        known.sort(key=lambda pair: pair[0]["midPointTai"])
        rows.append(_row(this["midPointTai"], known))
        truth.append((packet["classId"] == TYPE_IA, this["diaObjectId"], len(packet["prvDiaSources"] or []) + 1, *(packet[name] for name in FINK.values())))
    return pd.DataFrame(rows), pd.DataFrame(truth, columns=["is_ia", "object", "detections", *FINK.values()])


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


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default="", help="folder of another model.onnx")
    options = parser.parse_args()
    from fink_broker.science import Registry

    alerts, truth = read(options.folder)
    module = Registry.load(data_folder("science_modules")).get("early_snia")(models=options.models)
    module.setup()
    ours = module.process(alerts[list(module.inputs)])["probability"].fillna(0).to_numpy(float)
    scores = {"early_snia": ours, **{name: truth[column].to_numpy(float) for name, column in FINK.items()}, **baselines(alerts, truth)}
    parts = {"all alerts": truth["detections"] > 0, **{f"{low} to {high} detections": truth["detections"].between(low, high) for low, high in
                                                      ((2, 3), (4, 6), (7, 15), (16, 999))},
             "alerts with a score of Fink's forest": truth[FINK["Fink's random forest"]] > 0}  # fmt: skip
    for title, chosen in parts.items():
        mine = chosen.to_numpy()
        good = truth["is_ia"].to_numpy()[mine]
        print(
            f"\n{title}: {len(good)}, {good.sum()} of type Ia\n\n| score | ROC AUC | "
            + " | ".join(f"efficiency at {100 * p:.0f} % purity [%]" for p in PURITIES)
        )
        print("|---|---|---|---|---|")
        for name, score in scores.items():
            print(line(name, good, score[mine]))


if __name__ == "__main__":
    main()
