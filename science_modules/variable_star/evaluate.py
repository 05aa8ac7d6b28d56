"""Runs variable_star on real stars and counts: python -m science_modules.variable_star.evaluate [PATH…] [--models FOLDER] [--plot PNG].

First on the stars of catalogued.py, whose periods are known. Then on the real ZTF alerts of PATH…: truth is the type that a cross-match put into the
packets (`cdsxmatch`), the history is the alert's own 30 days. None was used for training.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import curve
from fink_broker.model import Onnx
from fink_broker.science import Registry, ScienceModule
from fink_broker.settings import data_folder
from science_modules._baseline import cuts, regression, simple
from science_modules._real import packets, row
from science_modules.variable_star import CLASSES, catalogued, folded

LEARNED, SEED = 32_000, 6021  # simulated things, half of which the simple rules learn from

TYPES = (
    ("RR Lyrae", re.compile(r"RRLyr.*")),
    ("Cepheid", re.compile(r".*Cep.*")),
    ("eclipsing binary", re.compile(r"EB\*.*|EclBin.*")),
    ("long-period variable", re.compile(r"LPV\*.*|LongPeriodV\*.*|Mira.*|OH/IR\*")),
    ("not periodic", re.compile(r"QSO|AGN.*|Seyfert.*|BLLac|Blazar.*|Supernova.*|SN.*|CataclyV\*.*|TTauri.*|YSO.*|Kilonova.*|TDE")),
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--models", default="", help="folder of other models")
    parser.add_argument("--plot", type=Path, help="picture of the catalogued stars, folded with the periods found")
    options = parser.parse_args()
    module = Registry.load(data_folder("science_modules")).get("variable_star")(models=options.models)
    module.setup()
    of_catalogues(module, options.plot)
    if options.paths:
        of_alerts(module, options.paths)


def of_catalogues(module: ScienceModule, plot: Path | None) -> None:
    """Periods of stars that have one in a catalogue, whole and with less of their light curves."""
    known = catalogued.stars()
    found = module.process(catalogued.alerts(known)[list(module.inputs)])
    print("| star | type | points | period [d] | found [d] | its probability | class found | its probability |\n|" + "---|" * 8)
    for star, one in zip(known.to_dict("records"), found.to_dict("records"), strict=True):
        period = f"{star['period_days']:.6g} | {one['period_days']:.6g} | {one['period_probability']:.2f}"
        print(f"| {star['name']} | {star['type']} | {len(star['mjd'])} | {period} | {one['class']} | {one['probability']:.2f} |")
    if plot:
        folded_picture(known, found, plot)
    kinds = {kind: (known["class"] == kind).to_numpy() for kind in known["class"].unique()}
    print("\n| period, class right | " + " | ".join(f"{kind} ({mine.sum()})" for kind, mine in kinds.items()) + " |\n|" + "---|" * (len(kinds) + 1))
    for title, most, one_band in (
        ("all points", 10_000, False),
        ("one band", 10_000, True),
        ("its first 60 points", 60, False),
        ("its first 30 points", 30, False),
    ):
        alerts = catalogued.alerts(known, most, one_band)
        found = module.process(alerts[list(module.inputs)])
        near, right = catalogued.recovered(known, found["period_days"]), (found["class"] == known["class"]).to_numpy()
        print(f"| {title} | " + " | ".join(f"{near[mine].sum()}, {right[mine].sum()}" for mine in kinds.values()) + " |")
        highest = np.where(known["class"] == "eclipsing binary", 2, 1) * pd.Series([best_wave(alert) for alert in alerts.to_dict("records")])
        print(f"| {title}: the highest peak | " + " | ".join(f"{catalogued.recovered(known, highest)[mine].sum()}, -" for mine in kinds.values()) + " |")


def folded_picture(known: pd.DataFrame, found: pd.DataFrame, file: Path) -> None:
    """Each star's band with most points, from brightest to faintest, over two turns of the period found."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    right = catalogued.recovered(known, found["period_days"])
    figure, panels = plt.subplots(-(-len(known) // 6), 6, figsize=(13, 1.5 * -(-len(known) // 6)), constrained_layout=True)
    for panel in panels.flat:
        panel.axis("off")
    for panel, star, one, good in zip(panels.flat, known.to_dict("records"), found.to_dict("records"), right, strict=False):
        mine = star["band"] == pd.Series(star["band"]).mode()[0]
        phase, mag = star["mjd"][mine] / one["period_days"] % 1, star["mag"][mine]
        panel.plot(np.append(phase, phase + 1), np.append(mag, mag), ".", ms=2, color="tab:blue" if good else "tab:red")
        panel.invert_yaxis()
        panel.set_title(f"{star['name']}\n{star['period_days']:.5g} d, found {one['period_days']:.5g} d", fontsize=6)
    figure.savefig(file, dpi=75)


def best_wave(alert: dict[str, Any]) -> float:
    """Period [d] of the highest peak of astropy's multi-band periodogram from 0.1 d to the length of the light curve; a binary's is half of its orbit."""
    from astropy.timeseries import LombScargleMultiband

    time, flux = alert["history.mjd"], alert["history.flux"]
    if len(time) < 12:
        return np.nan
    length = np.ptp(time)
    frequency = np.arange(1 / length, 10, 1 / (5 * length))
    bands = np.unique(alert["history.band"], return_inverse=True)[1]
    power = LombScargleMultiband(time, flux, bands, alert["history.flux_err"]).power(frequency, method="fast", sb_method="fast")
    return float(1 / frequency[np.argmax(power)])


def of_alerts(module: ScienceModule, paths: list[Path]) -> None:
    """Classes of real alerts, beside those of simple rules that learned from simulated ones."""
    rows, truth = [], []
    for packet in packets(paths):
        kind = [name for name, fits in TYPES if fits.fullmatch(packet.get("cdsxmatch") or "")]
        if kind and (packet["candidate"].get("ndethist") or 0) >= 10:
            rows.append(row(packet, "history"))
            truth.append(kind[0])
    alerts = pd.DataFrame(rows)
    found = module.process(alerts[list(module.inputs)])
    told = found["class"].notna().to_numpy()
    print(f"\n{len(alerts)} real alerts of 10 detections or more with a type, {told.sum()} of them with enough points\n")
    print("| type \\ found | alerts | " + " | ".join(CLASSES) + " |")
    print("|" + "---|" * (len(CLASSES) + 2))
    for kind in CLASSES:
        mine = found[told & (np.array(truth) == kind)]
        print(f"| {kind} | {len(mine)} | " + " | ".join(str((mine["class"] == name).sum()) for name in CLASSES) + " |")
    fold, table = folded(alerts, module.min_points)  # type: ignore[attr-defined]
    wanted = np.array([CLASSES.index(truth[place]) for place in fold.row])
    (chances,) = Onnx(module.model_paths()[0])(table.astype(np.float32))
    likelihood = np.log(np.maximum(chances[np.arange(len(table)), wanted], 1e-9)).mean()
    right = (found["class"] == np.array(truth))[told]
    print(f"\naccuracy {right.mean():.3f} ({right.sum()}); mean log-likelihood of the true class {likelihood:.2f}")
    plain = simple(curve.points(alerts, prefix="history"), len(alerts))[fold.row]
    for name, answers in learned(table, plain).items():
        print(f"{name}: accuracy {(answers == wanted).mean():.3f} ({(answers == wanted).sum()})")
    print(f"always the most frequent class: accuracy {np.bincount(wanted).max() / len(wanted):.3f} ({np.bincount(wanted).max()})")


def learned(table: NDArray[np.float64], plain: NDArray[np.float64]) -> dict[str, NDArray[np.int64]]:
    """What a logistic regression and cuts in colour and magnitude answer that learned from ZTF's simulated alerts with 30 days."""
    from science_modules.variable_star.train import sample

    tables, plains, kinds = [], [], []
    for alerts, truth in sample(LEARNED, SEED, ("ztf random", "ztf dense")):
        fold, numbers = folded(alerts, 12)
        tables.append(numbers)
        plains.append(simple(curve.points(alerts, prefix="history"), len(alerts))[fold.row])
        kinds.append(truth["wanted"].map(CLASSES.index).to_numpy()[fold.row])
    wanted = np.concatenate(kinds)
    rule, line = cuts(np.concatenate(plains), wanted), regression(np.concatenate(tables), wanted)
    return {"logistic regression on the same numbers": line.predict(table), "cuts in colour and magnitude": rule.predict(plain[:, :2])}


if __name__ == "__main__":
    main()
