"""Trains transient on the simulated sky: python -m science_modules.transient.train [--things N] [--epochs N] [--seed N] [--cache FILE] [--out FOLDER]."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import curve
from fink_broker.model import sha256
from fink_broker.skysim import Sky, light_curves
from science_modules._baseline import simple
from science_modules._graph import Jax, OnnxGraph, asked, fit, probabilities, sharpness, simulated
from science_modules.transient import CLASSES
from science_modules.transient.network import INPUTS, network, weights
from science_modules.transient.series import CONTEXT_INPUTS, CURVE_INPUTS, odds, series
from science_modules.transient.series import DAYS as SEEN_DAYS
from science_modules.transient.tables import baselines, report

FOLDER = Path(__file__).parent
# Survey, alert of each thing, with forced photometry, of dense programmes, share: as they come, and the first alerts once more.
SAMPLES = (("lsst", "random", True, False, 1 / 4), ("ztf", "random", True, False, 3 / 16), ("ztf", "random", False, False, 3 / 16),
           ("ztf", "random", False, True, 1 / 8), ("lsst", "first", True, False, 1 / 8), ("ztf", "first", True, False, 1 / 16),
           ("ztf", "first", False, False, 1 / 16))  # fmt: skip
# All classes alike but four. Kilonovae: each is a new single point, and alike they would take all that is new, single and hostless on the real sky.
# Supernovae II and Ib/c: few points tell them apart badly, then the likelier is named; in the sky it is II, by more than two to one.
# Active nuclei: a quasar that brightens for weeks is like a disruption or a slow supernova, of which the sky has one for a thousand of them.
MIX = dict.fromkeys(CLASSES.values(), 1.0) | {"kilonova": 0.3, "SN II": 1.5, "SN Ib/c": 0.75, "AGN": 1.5}
CHECKED = 300
# What stands beside, by column, is hidden so often while training: not every survey has it.
HIDDEN_SHARE = (((10, 11), 0.3), ((3, 4, 5, 6), 0.2), ((7, 8, 9), 0.05), ((24, 25, 26), 0.2))
# ZTF's alerts that have the score of before the deep one, which parts less: from LOW to LOW + MORE, give or take.
SHALLOW_SHARE, LOW, MORE, SCATTER = 0.35, 0.3, 0.45, 0.13
DEEP_SHARE = 0.15  # of LSST's things are in deep fields, from where most alerts come
BEGUN_SHARE, BEGUN_DAYS = 0.35, (8.0, 120.0)  # of LSST, whose history is long: as if the survey had begun so many days ago, as in its first months
YOUNG_SHARE = 0.25  # come as if the survey had begun later
CUT_SHARE, ONE_BAND = 0.25, 0.5  # lose points of their light curve: so many of them other bands, the others nights
NOON = 0.3  # [d] MJD and this has its new day between the nights of either site


def sample(things: int, seed: int) -> dict[str, NDArray[Any]]:
    """Arrays of simulated alerts, one of each thing."""
    names = list(CLASSES.values())
    parts: dict[str, list[Any]] = {}
    for place, (survey, at, forced, dense, share) in enumerate(SAMPLES):
        whole = int(things * share)
        for first in range(0, whole, 5000):
            number = min(5000, whole - first)
            frame, truth = light_curves(
                number, survey, seed + place, first=first // 1000, at=at, forced=forced, mix=MIX, dense_share=float(dense), deep_share=DEEP_SHARE
            )
            rng = np.random.default_rng([seed, place, first])
            cut = rng.random(number) < CUT_SHARE
            frame = scarcer(frame, cut, rng)
            if survey == "lsst":
                frame = begun(frame, rng.random(number) < BEGUN_SHARE, rng)
            points, mask, about, some = series(frame)
            days = (frame["mjd"] - frame["first_mjd"]).to_numpy(float)
            made = {"points": points.astype(np.float16), "mask": mask.astype(np.int8), "about": about, "some": some, "days": days,
                    "label": truth["label"].map(names.index).to_numpy(), "survey": np.full(number, survey == "ztf"),
                    "dense": np.full(number, dense), "cut": cut, "redshift": truth["redshift"].to_numpy(float),
                    "mag": frame["mag"].to_numpy(float), "simple": simple(curve.points(frame, SEEN_DAYS), number)}  # fmt: skip
            for name, values in made.items():
                parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def scarcer(frame: pd.DataFrame, chosen: NDArray[np.bool_], rng: np.random.Generator) -> pd.DataFrame:
    """The same with points of the `chosen` light curves left out, as a programme in one band, or worse weather, would have told them; the own visit stays."""
    bands, now, kept = frame["band"].to_numpy(), frame["mjd"].to_numpy(float), {}
    for row in np.flatnonzero(chosen):
        mjd, band = (frame[f"lightcurve.{name}"].iloc[row] for name in ("mjd", "band"))
        _, night = np.unique(np.floor(mjd + NOON), return_inverse=True)
        clear = rng.random(night.max() + 1) < rng.random()
        kept[row] = (band == bands[row] if rng.random() < ONE_BAND else clear[night]) | (mjd >= now[row] - curve.SAME_SECONDS / 86400)
    return _left(frame, kept)


def begun(frame: pd.DataFrame, chosen: NDArray[np.bool_], rng: np.random.Generator) -> pd.DataFrame:
    """The same as if the survey had begun a short while ago: no point of the `chosen` is older, and their first detection is the first of those left."""
    now, first, number = (frame[name].to_numpy().copy() for name in ("mjd", "first_mjd", "n_detections"))
    kept = {}
    for row in np.flatnonzero(chosen):
        mjd, kind = (frame[f"lightcurve.{name}"].iloc[row] for name in ("mjd", "kind"))
        found = (kind == "detection") & (mjd >= now[row] - np.exp(rng.uniform(*np.log(BEGUN_DAYS))))
        first[row], number[row] = mjd[found].min(), found.sum()
        kept[row] = mjd >= first[row]
    return _left(frame.assign(first_mjd=first, n_detections=number), kept)


def _left(frame: pd.DataFrame, kept: dict[Any, NDArray[np.bool_]]) -> pd.DataFrame:
    """The same with only those points of some light curves, by row, that are kept."""
    columns = {}
    for name in curve.INPUTS:
        if name.startswith("lightcurve."):
            cells = frame[name].to_numpy(object).copy()
            for row, points in kept.items():
                cells[row] = cells[row][points]
            columns[name] = pd.Series(cells, index=frame.index, dtype=object)
    return frame.assign(**columns)


def varied(about: NDArray[np.float32], ztf: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """What stands beside, as packets of other surveys and years tell it: less of it, with ZTF's first real-bogus score, with a shorter past."""
    about, number = about.copy(), len(about)
    shallow = ztf & (rng.random(number) < SHALLOW_SHARE)
    plain = LOW + MORE / (1 + np.exp(-4 * about[:, 10])) + SCATTER * rng.normal(size=number)
    about[:, 10] = np.where(shallow, odds(plain), about[:, 10]) * about[:, 11]
    kept = np.where(rng.random(number) < YOUNG_SHARE, rng.random(number) ** 2, 1.0)  # of what is older than the light curve
    for told, held in (((12, 4), (16, 3)), ((13, 4), (21, 4))):  # detections and days, their columns and scales
        whole, least = (np.expm1(about[:, column] * scale) for column, scale in (told, held))
        about[:, told[0]] = np.log1p(np.minimum(whole, least + kept * np.maximum(whole - least, 0))) / told[1]
    for columns, share in HIDDEN_SHARE:
        about[np.ix_(rng.random(number) < share, columns)] = 0
    return about


def main() -> None:
    """Simulate, train, calibrate, test on other things of the same sky, write the model and its check set."""
    started = time.time()
    options = asked(__doc__, "things", 400_000, 31, FOLDER)
    print("spectra of supernovae:", Sky("ztf", options.seed).models)  # with built-in ones it does not learn to tell their types
    data = simulated(options, sample)
    if options.only_simulate:
        return
    rng = np.random.default_rng(options.seed)
    some = rng.permutation(np.flatnonzero(data["some"]))
    cut = len(some) // 10
    test, tuned, train = some[:cut], some[cut : cut + cut // 2], some[cut + cut // 2 :]
    f = Jax()

    def batch(rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        return data["points"][rows].astype(np.float32), data["mask"][rows].astype(np.float32), data["about"][rows]

    def hidden(rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        points, mask, about = batch(rows)
        return points, mask, varied(about, data["survey"][rows], rng)

    w = fit(f, network, weights(rng, len(CLASSES)), hidden, data["label"], train, options.epochs, rng)

    def logits(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        parts = [rows[start : start + 2000] for start in range(0, len(rows), 2000)]
        return np.concatenate([network(f, w, *batch(k)) for k in parts])

    factor = sharpness(logits(tuned), data["label"][tuned])
    chances = probabilities(factor * logits(test))
    options.out.mkdir(parents=True, exist_ok=True)
    graph = OnnxGraph()
    (options.out / "model.onnx").write_bytes(graph.model(network(graph, w, *INPUTS, factor), INPUTS))
    print(f"{len(train)} alerts for training, {len(test)} for the test; sharpness {factor:.3f}")
    print("\n".join(report(baselines(data, train), data, chances, test)))
    frames = [light_curves(CHECKED // 3, survey, options.seed + 900, at="random", forced=forced) for survey, _, forced, *_ in SAMPLES[:3]]
    check = pd.concat([frame[[*CURVE_INPUTS, *CONTEXT_INPUTS]] for frame, _ in frames], ignore_index=True)
    check["truth"] = pd.concat([truth["label"] for _, truth in frames], ignore_index=True)
    check.to_parquet(options.out / "check.parquet", compression="zstd")
    print("sha256", sha256([options.out / "model.onnx"]), "; the score on the check set: fink model verify transient")
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
