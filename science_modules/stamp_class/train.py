"""Trains stamp_class on packets of the simulated sky: python -m science_modules.stamp_class.train [--alerts N] [--epochs N] [--seed N] [--out FOLDER]."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker.model import sha256
from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.observation import START_MJD
from fink_broker.testing.stamps import fits
from science_modules._baseline import cuts, regression
from science_modules._graph import Jax, OnnxGraph, Weights, asked, calibration_error, fit, probabilities, sharpness, simulated
from science_modules.stamp_class import CLASSES
from science_modules.stamp_class.stamps import CONTEXT, NAMES, SIDE, Floats, image, stamps

FOLDER = Path(__file__).parent
KINDS = {"bogus": "bogus", "asteroid": "asteroid", "AGN": "agn", "dwarf nova": "variable_star", "flare": "variable_star", "microlensing": "variable_star",
         "periodic variable": "variable_star", "other": "variable_star"}  # the rest are transients  # fmt: skip
# Classes about alike, but stars twice as often as active nuclei: far from the Milky Way, where the two are confused, real ones are.
MIX = {"bogus": 5.6, "asteroid": 3.6, "AGN": 4, "SN Ia": 2.3, "SN II": 1.8, "SN Ib/c": 1.2, "SLSN": 0.4, "TDE": 1.4, "kilonova": 0.3, "dwarf nova": 1,
       "flare": 0.9, "microlensing": 0.4, "rr_lyrae": 2.2, "cepheid": 0.3, "eclipsing_binary": 2, "long_period_variable": 0.8, "other": 0.7}  # fmt: skip
SURVEYS = ("ztf", "lsst")
NIGHTS = 12  # apart by GAP_DAYS, each with things of its own
GAP_DAYS = 29
MOST = 2  # alerts of one thing
BATCH = 128
INPUTS: dict[str, tuple[int, ...]] = {"images": (len(NAMES), SIDE, SIDE), "about": (CONTEXT,)}
CHECKED = 20
ROUNDED = 1 / 16  # of its noise: what pixels of the check set are rounded to, since noise does not compress
BRIGHTER, LEAST = 0.5, float(np.log(5.5))  # share of the alerts that are seen under a brighter sky, and the logarithm of the signal-to-noise ratio they keep
UNKNOWN, CATALOGUE = 0.1, [4, 5, 6, 7, 8]  # share whose nearest source is not told, and where it stands
BESIDE = [9, 11, 12]  # what else goes on in science and difference
CUT = [1, 5]  # of what stands beside: signal-to-noise ratio and distance to the nearest source


def row(survey: str, packet: dict[str, Any]) -> dict[str, Any]:
    """The module's inputs out of a made-up packet."""
    if survey == "ztf":
        this = packet["candidate"]
        flux = 10 ** (0.4 * (31.4 - this["magpsf"])) * (1 if this["isdiffpos"] in ("t", "1") else -1)
        near, star = ((this[name] if this.get(name) is not None and this[name] >= 0 else np.nan) for name in ("distpsnr1", "sgscore1"))
        cutouts = {name: packet[f"cutout{name[7:].capitalize()}"]["stampData"] for name in NAMES}
        return {"ra": this["ra"], "dec": this["dec"], "flux": flux, "snr": 1.0857 / this["sigmapsf"], "neighbour_distance_arcsec": near,
                "neighbour_star_score": star, **cutouts}  # fmt: skip
    this = packet["diaSource"]
    cutouts = {name: packet[f"cutout{name[7:].capitalize()}"] for name in NAMES}
    return {"ra": this["ra"], "dec": this["dec"], "flux": this["psfFlux"], "snr": this["snr"], "neighbour_distance_arcsec": np.nan,
            "neighbour_star_score": np.nan, **cutouts}  # fmt: skip


def simple(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Brightness [nJy] and distance to the nearest source [arcsec], for cuts; nan where none is told."""
    return frame[["flux", "neighbour_distance_arcsec"]].abs().to_numpy(float)


def alerts(survey: str, number: int, seed: int) -> tuple[pd.DataFrame, NDArray[Any], NDArray[Any]]:
    """Inputs, labels and objects of simulated alerts."""
    rows, labels, things = [], [], []
    for night in range(NIGHTS):
        campaign = Campaign(survey, -(-number // NIGHTS), seed + 1000 * night, START_MJD + GAP_DAYS * night, 1, MIX)
        for made in campaign.alerts():
            rows.append(row(survey, made.packet))
            labels.append(CLASSES.index(KINDS.get(made.truth["label"], "transient")))
            things.append(f"{night} {made.object_id}")
    return pd.DataFrame(rows), np.array(labels), np.array(things, object)


def sample(number: int, seed: int) -> dict[str, NDArray[Any]]:
    """Arrays of simulated alerts of both surveys."""
    parts: dict[str, list[Any]] = {}
    for place, survey in enumerate(SURVEYS):
        frame, label, things = alerts(survey, number // 2, seed + place)
        images, about, some = stamps(frame)
        often = pd.Series(things).groupby(things).cumcount().to_numpy()
        kept = some & (often < MOST)
        made = {"images": images.astype(np.float16), "about": about, "label": label, "ztf": np.full(len(label), survey == "ztf"),
                "simple": simple(frame), "thing": pd.factorize(things)[0] + place * 10**9}  # fmt: skip
        for name, values in made.items():
            parts.setdefault(name, []).append(values[kept])
    return {name: np.concatenate(values) for name, values in parts.items()}


def weights(rng: np.random.Generator) -> Weights:
    """Random weights to begin with (He et al. 2015)."""
    shapes: dict[str, tuple[int, ...]] = {
        "c1": (16, 3, 3, 3),
        "c2": (32, 16, 3, 3),
        "c3": (48, 32, 3, 3),
        "h": (48 * 9 + CONTEXT, 96),
        "out": (96, len(CLASSES)),
    }
    made: Weights = {}
    for name, shape in shapes.items():
        inputs = np.prod(shape[1:]) if name.startswith("c") else shape[0]
        made[name] = (rng.normal(size=shape) * np.sqrt(2 / inputs) * (0.1 if name == "out" else 1)).astype(np.float32)
        made[f"{name}_b"] = np.zeros((1, shape[0], 1, 1) if name.startswith("c") else shape[1], np.float32)
    return made


def network(f: Any, w: Weights, images: Any, about: Any, factor: float = 1.0) -> Any:
    """Logits: three convolutions with halving, one dense layer with what stands beside."""
    x = images
    for name in ("c1", "c2", "c3"):
        x = f.shrink(f.relu(f.add(f.convolve(x, w[name]), w[f"{name}_b"])))
    x = f.concat(f.reshape(x, (-1, 48 * 9)), about)
    x = f.relu(f.add(f.matmul(x, w["h"]), w["h_b"]))
    return f.multiply(f.add(f.matmul(x, w["out"]), w["out_b"]), np.float32(factor))


def varied(images: Floats, about: Floats, ztf: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The same sky on another night: turned, mirrored, a pixel beside, some under a brighter sky, some without a catalogue's word."""
    images = np.rot90(images.astype(np.float32), rng.integers(4), (2, 3)).copy()
    about = about.copy()
    mirrored = rng.random(len(images)) < 0.5
    images[mirrored] = images[mirrored, :, :, ::-1]
    right, up = rng.integers(-1, 2, 2)
    images = np.roll(images, (right, up), (2, 3))
    brighter = np.flatnonzero((rng.random(len(images)) < BRIGHTER) & (about[:, 1] * 3 > LEAST))
    log_snr = about[brighter, 1] * 3
    loss = np.minimum(0.5 * np.log1p((rng.normal(0, 1, len(brighter)) * np.exp(rng.normal(0, 1, len(brighter)))) ** 2), log_snr - LEAST).astype(np.float32)
    noise = rng.standard_normal((len(brighter), 1, SIDE, SIDE), dtype=np.float32) * np.sqrt(np.exp(2 * loss) - 1)[:, None, None, None]
    sign = np.where(ztf[brighter], about[brighter, 0], 1).astype(np.float32)[:, None, None, None]  # ZTF's negative differences are turned over
    both = np.concatenate([noise, noise * sign], axis=1)
    images[brighter[:, None], [0, 2]] = np.arcsinh((np.sinh(images[brighter[:, None], [0, 2]]) + both) * np.exp(-loss)[:, None, None, None])
    about[brighter, 1] = (log_snr - loss) / 3
    for place in BESIDE:
        about[brighter, place] = np.arcsinh(np.sinh(about[brighter, place] * 5) * np.exp(-loss)) / 5
    about[np.ix_(rng.random(len(images)) < UNKNOWN, CATALOGUE)] = 0
    return images, about


def lighter(cutout: bytes) -> bytes:
    """The image of a cutout in steps of ROUNDED of its noise or less, gzipped if it was; without variance and PSF, which the module does not read."""
    if (found := image(cutout)) is None:
        return cutout
    noise = 1.4826 * np.nanmedian(np.abs(found - np.nanmedian(found)))
    step = 2.0 ** np.floor(np.log2(ROUNDED * noise + 1e-9))  # a power of two, so that the last bits of a float32 are zeros
    made = fits(("", (np.round(found / step) * step).astype(np.float32)))
    return gzip.compress(made, 9, mtime=0) if cutout[:2] == b"\x1f\x8b" else made


def main() -> None:
    """Simulate, train, calibrate, test on other things of the same sky, write the model and its check set."""
    started = time.time()
    options = asked(__doc__, "alerts", 48_000, 43, FOLDER)
    data = simulated(options, sample)
    if options.only_simulate:
        return
    import jax
    from sklearn.metrics import confusion_matrix, f1_score

    rng = np.random.default_rng(options.seed)
    part = rng.random(int((data["thing"] % 10**9).max()) + 1)[data["thing"] % 10**9]  # all alerts of a thing on one side
    train, tuned, test = np.flatnonzero(part > 0.2), np.flatnonzero(part < 0.05), np.flatnonzero((part >= 0.05) & (part <= 0.2))
    f = Jax()

    def batch(rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        return varied(data["images"][rows], data["about"][rows], data["ztf"][rows], rng)

    w = fit(f, network, weights(rng), batch, data["label"], train, options.epochs, rng, BATCH)
    ask = jax.jit(lambda *inputs: network(f, w, *inputs))

    def logits(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        parts = [rows[start : start + 500] for start in range(0, len(rows), 500)]
        return np.concatenate([np.asarray(ask(data["images"][k].astype(np.float32), data["about"][k])) for k in parts])

    factor = sharpness(logits(tuned), data["label"][tuned])
    chances, label = probabilities(factor * logits(test)), data["label"][test]
    options.out.mkdir(parents=True, exist_ok=True)
    graph = OnnxGraph()
    (options.out / "model.onnx").write_bytes(graph.model(network(graph, w, *INPUTS, factor), INPUTS))
    guess = chances.argmax(axis=1)
    plain = regression(data["about"][train], data["label"][train]).predict(data["about"][test])
    cut = cuts(data["about"][train][:, CUT], data["label"][train]).predict(data["about"][test][:, CUT])
    print(f"{len(train)} alerts for training, {len(test)} for the test; sharpness {factor:.3f}")
    for name, mine in (("ZTF", data["ztf"][test]), ("LSST", ~data["ztf"][test])):
        often = np.bincount(label[mine]).max() / mine.sum()
        print(f"| {name} | {mine.sum()} | {(guess[mine] == label[mine]).mean():.3f} | {f1_score(label[mine], guess[mine], average='macro'):.3f} "
              f"| {calibration_error(chances[mine], label[mine]):.3f} | {(plain[mine] == label[mine]).mean():.3f} "
              f"| {(cut[mine] == label[mine]).mean():.3f} | {often:.3f} |")  # fmt: skip
        for kind, values in zip(CLASSES, confusion_matrix(label[mine], guess[mine], normalize="true", labels=range(len(CLASSES))), strict=True):
            print(f"| {kind} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    frames = []
    for place, survey in enumerate(SURVEYS):
        frame, truth, _ = alerts(survey, CHECKED, options.seed + 900 + place)
        cutouts = {name: frame[name].map(lighter) for name in NAMES}
        frames.append(frame.assign(**cutouts, truth=np.array(CLASSES, object)[truth]))
    pd.concat(frames, ignore_index=True).to_parquet(options.out / "check.parquet", compression="zstd")
    print("sha256", sha256([options.out / "model.onnx"]), "; the score on the check set: fink model verify stamp_class")
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
