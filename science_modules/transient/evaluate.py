"""Runs transient on alerts and counts: python -m science_modules.transient.evaluate [PATH…] [--survey lsst] [--simulated] [--plots FOLDER] [--elasticc FOLDER].

PATH: real alerts. Truth is what stands in ZTF's packets: a known asteroid (`ssnamenr` within 5 arcsec), the type that a cross-match put beside it
(`cdsxmatch`), and for the rest only the survey's own real-bogus scores. None was used for training. Alerts whose neighbours were put in by hand are left out.
Of LSST alerts truth is a known asteroid or SIMBAD's type (see `_lsst`).
--simulated: a sky of a seed that no model was trained on, by days since the first detection, magnitude and redshift, and plots of it. The rules beside
the model learned on a third sky. --elasticc: alerts of type Ia and II as early_snia.evaluate takes them, with and without their host galaxy.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import curve
from fink_broker.model import Onnx, roc_auc
from fink_broker.settings import data_folder
from science_modules import _lsst
from science_modules._baseline import simple
from science_modules._real import as_sent, known_asteroid, packets, row, score
from science_modules.transient import CLASSES, TOGETHER
from science_modules.transient.series import DAYS as SEEN_DAYS
from science_modules.transient.series import series
from science_modules.transient.tables import baselines, plots, report

# Types of SIMBAD, whose class is meant.
TYPES = {
    "quasar": ("AGN", re.compile(r"QSO")),
    "Seyfert galaxy": ("AGN", re.compile(r"Seyfert.*")),
    "RR Lyrae": ("periodic variable", re.compile(r"RRLyr.*")),
    "eclipsing binary": ("periodic variable", re.compile(r"EB\*.*|EclBin.*")),
    "long-period variable": ("periodic variable", re.compile(r"LPV\*.*|LongPeriodV\*.*|Mira.*")),
}
GOOD, SURE, BAD = 0.65, 0.9, 0.1  # above, of the real-bogus score; above and below, of the deep one
SHOWN = ("bogus", "kilonova", "flare")


def groups(found: list[dict[str, Any]]) -> dict[str, tuple[str, NDArray[np.bool_]]]:
    """Which alerts are counted together, and the class that is meant ("" where none is)."""
    asteroid = np.array([known_asteroid(packet) for packet in found], bool)
    kind = [packet.get("cdsxmatch") or "" for packet in found]
    made = {"known asteroid": ("asteroid", asteroid)}
    for name, (meant, fits) in TYPES.items():
        made[name] = meant, ~asteroid & np.array([fits.fullmatch(one) is not None for one in kind], bool)
    deep, plain = (np.array([score(packet["candidate"], name) for packet in found]) for name in ("drb", "rb"))
    first = np.array([packet["candidate"]["ndethist"] <= 1 for packet in found], bool)
    good = (plain > GOOD) & ~asteroid
    return made | {
        f"rb above {GOOD}": ("", good), f"… and drb above {SURE}": ("", good & (deep > SURE)), "… and no drb": ("", good & np.isnan(deep)),
        f"first alert, rb above {GOOD}": ("", good & first), f"… and drb above {SURE}, or none": ("", good & first & ~(deep <= SURE)),
        f"drb below {BAD}": ("bogus", (deep < BAD) & ~asteroid),
    }  # fmt: skip


def arrays(frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """What the rules of `tables.baselines` take of real ZTF alerts."""
    _, _, about, _ = series(frame)
    days = (frame["mjd"] - frame["first_mjd"]).fillna(0).to_numpy(float)
    return {"about": about, "simple": simple(curve.points(frame, SEEN_DAYS), len(frame)), "days": days,
            "survey": np.ones(len(frame), bool), "label": np.zeros(len(frame), np.int64)}  # fmt: skip


def chances(model: Onnx, data: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Of arrays as `train.sample` makes them (alert, class)."""
    found = []
    for start in range(0, len(data["label"]), TOGETHER):
        k = slice(start, start + TOGETHER)
        found.append(model(data["points"][k].astype(np.float32), data["mask"][k].astype(np.float32), data["about"][k])[0])
    return np.concatenate(found).astype(float)


def drawn(things: int, seed: int, cache: Path | None) -> dict[str, NDArray[Any]]:
    """Arrays of a simulated sky; those with no visit are left out."""
    from science_modules.transient.train import sample

    file = cache / f"sky_{seed}_{things}.npz" if cache else None
    data = dict(np.load(file)) if file and file.is_file() else sample(things, seed)
    if file and not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **data)
    return {name: values[data["some"]] for name, values in data.items()}


def real_table(found: list[dict[str, Any]], module: Any, rules: dict[str, Any]) -> list[str]:
    """The table of real alerts: how many are right by the model and by each rule, what the others are called, and accuracies."""
    frame = pd.DataFrame([row(packet) for packet in found])
    given = module.process(frame[list(module.inputs)])["class"].to_numpy()
    names = np.array(list(CLASSES.values()), object)
    others = {name: names[rule(arrays(frame))] for name, rule in rules.items()}
    lines = [
        f"| alerts | number | right | {''.join(f'{name} | ' for name in others)}{' | '.join(SHOWN)} | others |",
        f"|{'---|' * (len(SHOWN) + len(others) + 4)}",
    ]
    truth = np.full(len(found), "", object)
    for title, (meant, mine) in groups(found).items():
        counts = Counter(given[mine])
        rest = ", ".join(f"{what} {number}" for what, number in counts.most_common() if what not in (*SHOWN, meant))
        right = [str((one[mine] == meant).sum()) if meant else "–" for one in (given, *others.values())]
        lines.append(f"| {title} | {mine.sum()} | {' | '.join(right)} | {' | '.join(str(counts[what]) for what in SHOWN)} | {rest} |")
        if meant:
            truth[mine & (truth == "")] = meant
    known = truth != ""
    if known.any():
        shares = {"transient": given, **others, f"always {Counter(truth[known]).most_common(1)[0][0]}": Counter(truth[known]).most_common(1)[0][0]}
        lines += ["", f"accuracy of the {known.sum()} with a class: " + ", ".join(f"{name} {(one == truth)[known].mean():.3f}" for name, one in shares.items())]
    return lines


def host_table(folder: Path, module: Any) -> list[str]:
    """SN Ia among the supernovae of labelled ELAsTiCC alerts, without what the packet says of the host, with its distance, and with a galaxy's score, too."""
    from science_modules.early_snia.evaluate import read, spread

    alerts, truth = read(folder)
    good, things, near = truth["is_ia"].to_numpy(), truth["object"].to_numpy(), alerts["neighbour_distance_arcsec"]
    lines = [
        "| host | ROC AUC, SN Ia among supernovae | called a supernova | right (SN Ia or SN II) | log-likelihood of the true class |",
        "|---|---|---|---|---|",
    ]
    before: list[NDArray[np.float64]] = []
    for title, distance, star in (
        ("unknown", near * np.nan, near * np.nan),
        ("its distance", near, near * np.nan),
        ("its distance, star score 0", near, near * 0),
    ):
        found = module.process(alerts.assign(neighbour_distance_arcsec=distance, neighbour_star_score=star)[list(module.inputs)])
        share = (found["sn_ia"] / found[["sn_ia", "sn_ibc", "sn_ii", "slsn"]].sum(axis=1)).to_numpy()
        told = np.where(good, found["class"] == "SN Ia", found["class"] == "SN II")
        likely = np.log(np.maximum(np.where(good, found["sn_ia"], found["sn_ii"]), 1e-9))
        named = found["class"].isin(["SN Ia", "SN Ib/c", "SN II", "SLSN"]).mean()
        lines.append(f"| {title} | {roc_auc(good, share):.4f} | {named:.3f} | {told.mean():.3f} | {likely.mean():.3f} |")
        before.append(share)
        if len(before) > 1:
            error = spread(things, lambda k, s=share: roc_auc(good[k], s[k]) - roc_auc(good[k], before[0][k]))
            lines[-1] = lines[-1].replace(
                f"{roc_auc(good, share):.4f}", f"{roc_auc(good, share):.4f} ({roc_auc(good, share) - roc_auc(good, before[0]):+.4f} ± {error:.4f})"
            )
    return lines


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--survey", default="ztf", choices=("ztf", "lsst"))
    parser.add_argument("--models", default="", help="folder of another model.onnx")
    parser.add_argument("--simulated", action="store_true", help="tables of a simulated sky of another seed than the training's")
    parser.add_argument("--things", type=int, default=36_000, help="simulated things of it")
    parser.add_argument("--seed", type=int, default=8131, help="its seed; the rules learn on a sky of the next thousand")
    parser.add_argument("--plots", type=Path, help="folder of days.png, reliability.png and confusion.png, with --simulated")
    parser.add_argument("--cache", type=Path, help="folder of simulated arrays, made if they are not there")
    parser.add_argument("--elasticc", type=Path, help="folder of labelled ELAsTiCC alerts")
    options = parser.parse_args()
    from fink_broker.science import Registry

    module = Registry.load(data_folder("science_modules")).get("transient")(models=options.models)
    if options.survey == "lsst":
        print("\n".join(_lsst.report(module, options.paths, {label: _lsst.GROUPS[label] for label in CLASSES.values()})))
        return
    module.setup()
    if options.elasticc:
        print("\n".join(host_table(options.elasticc, module)))
    if not (options.paths or options.simulated):
        return
    learned = drawn(options.things * 4 // 3, options.seed + 1000, options.cache)
    rules = baselines(learned, np.random.default_rng(options.seed).permutation(len(learned["label"])))
    if options.simulated:
        data = drawn(options.things, options.seed, options.cache)
        found = chances(Onnx(module.model_paths()[0]), data)
        print("\n".join(report(rules, data, found, np.arange(len(found)))))
        if options.plots:
            plots(rules, data, found, options.plots)
    if options.paths:
        sent = [packet for packet in packets(options.paths) if as_sent(packet)]
        print(f"{len(sent)} real alerts\n\n" + "\n".join(real_table(sent, module, rules)))


if __name__ == "__main__":
    main()
