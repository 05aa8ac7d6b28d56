"""Simulated beside real alerts: `python -m fink_broker.skysim.realism PATH… [--survey ztf]` compares their distributions and tells them apart if it can."""

from __future__ import annotations

import argparse
import gzip
import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fink_broker import sky
from fink_broker.errors import ConfigError
from fink_broker.replay import Reader, dig
from fink_broker.settings import data_folder
from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.cosmos import Floats
from fink_broker.skysim.observatory import observatory
from fink_broker.skysim.population import mix_of
from fink_broker.skysim.visits import visited

MISSING = -900.0  # or less: a survey's own way to say "none"
ABSENT = -99.0  # the same to the forest, which takes no nulls; far from all numbers here
BRIGHT = 5.0  # times the noise
LARGEST = 1e30  # damaged cutouts hold numbers that a forest refuses
ROUNDED = 3  # digits; a simulation must not be known by its digits


def features(survey: str, packet: dict[str, Any]) -> dict[str, float]:
    """Numbers of one alert that can be compared, whoever made it."""
    return (_ztf if survey == "ztf" else _lsst)(packet)


def _clean(values: dict[str, Any]) -> dict[str, float]:
    found = {}
    for name, value in values.items():
        number = np.nan if value is None else float(value)
        found[name] = np.nan if not np.isfinite(number) or number <= MISSING else float(f"{number:.{ROUNDED}g}")
    return found


def _series(times: Floats, detected: Floats, bands: list[Any], mags: Floats) -> dict[str, float]:
    """History: how long, how dense, how many detections, and the colour of the first two bands within a night."""
    order = np.argsort(times)
    times, detected, mags = times[order], detected[order], mags[order]
    band = np.array(bands)[order]
    gaps = np.diff(times)
    colours = [mags[band == name][np.isfinite(mags[band == name])] for name in ("g", "r")]
    return {
        "history": len(times) - 1, "history_detections": detected.sum() - 1, "history_days": times[-1] - times[0] if len(times) > 1 else np.nan,
        "gap_median_days": np.median(gaps) if len(gaps) else np.nan, "nights": len(np.unique(np.floor(times))),
        "g_minus_r": np.median(colours[0]) - np.median(colours[1]) if all(len(part) for part in colours) else np.nan,
        "mag_scatter": np.nanstd(mags) if np.isfinite(mags).sum() > 2 else np.nan,
    }  # fmt: skip


def _ztf(packet: dict[str, Any]) -> dict[str, float]:
    own = packet["candidate"]
    before = packet.get("prv_candidates")
    points = [own, *(before if before is not None else ())]
    mags = np.array([np.nan if point["magpsf"] is None else point["magpsf"] for point in points], float)
    letters = ["_gri"[int(point["fid"])] for point in points]
    history = _series(np.array([point["jd"] for point in points]), np.isfinite(mags).astype(float), letters, mags)
    names = ("magpsf", "sigmapsf", "diffmaglim", "rb", "drb", "distnr", "magnr", "distpsnr1", "sgscore1", "srmag1", "ndethist", "ncovhist", "fwhm", "elong",
             "classtar", "magdiff", "chipsf", "sumrat", "seeratio", "nneg", "neargaia", "ssdistnr", "scorr", "magzpsci", "sky")  # fmt: skip
    values = {name: own.get(name) for name in names} | history
    values |= {"age_days": own["jd"] - own["jdstarthist"] if own.get("jdstarthist") else None, "negative": own["isdiffpos"] in ("f", "0")}
    values["galactic_latitude"] = abs(float(sky.galactic_latitude(own["ra"], own["dec"])))
    values["ecliptic_latitude"] = abs(float(sky.ecliptic_latitude(own["ra"], own["dec"])))
    stamps: dict[str, float] = {}
    for name in ("Science", "Template", "Difference"):
        found = packet.get(f"cutout{name}")
        if found is not None and found.get("stampData"):
            stamps |= _stamp(name.lower(), _image(gzip.decompress(found["stampData"])))
    return _clean(values | stamps)


def _lsst(packet: dict[str, Any]) -> dict[str, float]:
    own = packet["diaSource"]
    before = packet.get("prvDiaSources")
    points = [own, *(before if before is not None else ())]
    flux = np.array([point["psfFlux"] for point in points], float)
    mags = 31.4 - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    history = _series(np.array([point["midpointMjdTai"] for point in points]), np.ones(len(points)), [point["band"] for point in points], mags)
    names = ("psfFluxErr", "snr", "reliability", "extendedness", "trailLength", "psfChi2", "templateFluxErr", "scienceFluxErr", "raErr", "ixxPSF", "bboxSize",
             "apFluxErr")  # fmt: skip
    values = {name: own.get(name) for name in names} | history
    forced, science = packet.get("prvDiaForcedSources"), own.get("scienceFlux") or 0.0
    values |= {"science_mag": 31.4 - 2.5 * np.log10(science) if science > 0 else None}
    values |= {"log_flux": np.log10(abs(own["psfFlux"])), "negative": own["psfFlux"] < 0, "forced": 0 if forced is None else len(forced)}
    for name in ("Science", "Template", "Difference"):
        if packet.get(f"cutout{name}"):
            values |= _stamp(name.lower(), _image(packet[f"cutout{name}"]))
    return _clean(values)


def _image(value: bytes) -> Floats:
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ZTF's header cards are not quite as the standard has them
        hdus = fits.open(io.BytesIO(value))
        return np.asarray(next(hdu.data for hdu in hdus if hdu.data is not None), float)


def _stamp(name: str, image: Floats) -> dict[str, float]:
    """Level, noise, what stands out in the middle and anywhere, upwards and downwards, how wide it is, and the share without data."""
    good = image[np.isfinite(image)]
    if not len(good):
        return {}
    level = float(np.median(good))
    noise = 1.4826 * float(np.median(np.abs(good - level))) or np.nan
    middle = image[image.shape[0] // 2 - 3 : image.shape[0] // 2 + 4, image.shape[1] // 2 - 3 : image.shape[1] // 2 + 4]
    inner = middle[np.isfinite(middle)]
    corner = image[:12, :12] - level
    pairs = corner[:, 1:] * corner[:, :-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = float(np.nanmean(pairs) / np.nanmean(corner**2)) if np.isfinite(pairs).any() else np.nan
    return {f"{name}_noise": noise, f"{name}_peak": float(np.abs(inner - level).max()) / noise if len(inner) else np.nan,
            f"{name}_most": float(np.abs(good - level).max()) / noise, f"{name}_level": level, f"{name}_neighbours_alike": alike,
            f"{name}_lowest": float((inner - level).min()) / noise if len(inner) else np.nan, f"{name}_blank": 1 - len(good) / image.size,
            f"{name}_width": _width((middle - level) / noise), f"{name}_bright": float((np.abs(good - level) > BRIGHT * noise).mean())}  # fmt: skip


def _width(middle: Floats) -> float:
    """Full width at half of the peak [pixels] of what stands out, from the pixels above the half; nan where nothing does."""
    filled = np.nan_to_num(middle)
    peak = filled[2:5, 2:5].max()
    return float(2 * np.sqrt((filled > peak / 2).sum() / np.pi)) if peak > 3 * BRIGHT else np.nan


def real(paths: Iterable[Path], survey: str) -> Iterator[dict[str, Any]]:
    """Packets of Avro files, and rows of Parquet files that have the survey's columns."""
    for path in paths:
        if path.suffix == ".parquet" or (path.is_dir() and any(path.glob("*.parquet"))):
            frame = pd.read_parquet(path)
            if ("candidate" if survey == "ztf" else "diaSource") in frame:
                yield from ({str(name): value for name, value in row.items()} for row in frame.to_dict("records"))
        else:
            reader = Reader(data_folder("schemas"), say=lambda text: None, keep=True)
            yield from (packet.display for packet in reader.read([path], [survey]) if dig(packet.display, reader.surveys[survey].paths["time"]))


def compare(simulated: pd.DataFrame, true: pd.DataFrame) -> pd.DataFrame:
    """Quartiles side by side and the two-sample Kolmogorov-Smirnov distance of every number."""
    from scipy.stats import ks_2samp

    rows = []
    for name in simulated.columns.intersection(true.columns):
        one, other = simulated[name].dropna(), true[name].dropna()
        if len(one) > 20 and len(other) > 20:
            quartiles = {f"{who} {share:.0%}": values.quantile(share) for who, values in (("sim", one), ("real", other)) for share in (0.25, 0.5, 0.75)}
            rows.append({"feature": name, **quartiles, "KS": ks_2samp(one, other).statistic, "n real": len(other)})
    return pd.DataFrame(rows).set_index("feature").sort_values("KS") if rows else pd.DataFrame()


def tell_apart(simulated: pd.DataFrame, true: pd.DataFrame, seed: int = 1) -> tuple[float, pd.Series]:
    """Area under the ROC curve of a random forest told to find the simulated ones (cross-validated), and what it looked at most."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    number = min(len(simulated), len(true))
    both = pd.concat([simulated.sample(number, random_state=seed), true.sample(number, random_state=seed)])[simulated.columns.intersection(true.columns)]
    labels = np.repeat([1, 0], number)
    model = RandomForestClassifier(300, min_samples_leaf=3, random_state=seed, n_jobs=1)
    filled = both.fillna(ABSENT).clip(-LARGEST, LARGEST).to_numpy()
    score = cross_val_score(model, filled, labels, cv=StratifiedKFold(5, shuffle=True, random_state=seed), scoring="roc_auc").mean()
    return float(score), pd.Series(model.fit(filled, labels).feature_importances_, both.columns).sort_values(ascending=False)


def plots(simulated: pd.DataFrame, true: pd.DataFrame, file: Path) -> None:
    """Distributions side by side (PNG)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in simulated.columns.intersection(true.columns) if true[name].notna().sum() > 20 and true[name].nunique() > 1]
    rows = -(-len(names) // 6)
    figure, axes = plt.subplots(rows, 6, figsize=(15, 1.9 * rows))
    for axis in axes.ravel()[len(names) :]:
        axis.axis("off")
    for axis, name in zip(axes.ravel(), names, strict=False):
        low, high = true[name].quantile([0.01, 0.99])
        bins = np.linspace(low, high if high > low else low + 1, 25)
        for values, colour, label in ((true[name], "black", "real"), (simulated[name], "tab:red", "simulated")):
            axis.hist(values.dropna().clip(bins[0], bins[-1]), bins, density=True, histtype="step", color=colour, label=label)
        axis.set_title(name, fontsize=8)
        axis.tick_params(labelsize=6, labelleft=False)
    axes.ravel()[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=70)


def main() -> None:
    """Print the table, the score and the most telling features."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("paths", nargs="+", type=Path)
    asked.add_argument("--survey", default="ztf")
    asked.add_argument("--number", type=int, default=1500)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--cut", default="", help="pandas query that both must pass, such as 'rb > 0.55'")
    asked.add_argument("--drop", default="", help="features that are left out, separated by commas")
    asked.add_argument("--only", default="", help="only features whose names begin so, separated by commas, such as 'science,template,difference'")
    asked.add_argument("--deep", type=float, default=0.05, help="share of things in LSST's deep fields")
    asked.add_argument("--mix", default="natural", help="kinds of the simulated sky: natural, even, or weights such as 'asteroid=16,AGN=30'")
    asked.add_argument("--like", action="store_true", help="simulate the very nights of the real alerts: where and when their packets say that was looked")
    asked.add_argument("--plot", type=Path)
    given = asked.parse_args()
    packets = list(real(given.paths, given.survey))
    true = pd.DataFrame(features(given.survey, packet) for packet in packets)
    try:
        plan = visited(observatory(given.survey), packets, given.seed) if given.like else None
        campaign = Campaign(given.survey, given.number, given.seed, mix=mix_of(given.mix), deep_share=given.deep, plan=plan)
    except ConfigError as error:
        asked.error(str(error))
    simulated = pd.DataFrame(features(given.survey, made.packet) for made in campaign.alerts())
    if given.cut:
        true, simulated = true.query(given.cut), simulated.query(given.cut)
    left = [name for name in true.columns if name in simulated.columns and name not in given.drop.split(",") and true[name].notna().mean() > 0.02]
    left = [name for name in left if name.startswith(tuple(given.only.split(",")))]
    true, simulated = true[left], simulated[left]
    score, telling = tell_apart(simulated, true, given.seed)
    print(compare(simulated, true).to_string(float_format="{:.3g}".format))  # noqa: T201
    print(f"\n{len(true)} real, {len(simulated)} simulated; area under the ROC curve {score:.3f}")  # noqa: T201
    print(telling.head(12).to_string(float_format="{:.3f}".format))  # noqa: T201
    if given.plot:
        plots(simulated, true, given.plot)


if __name__ == "__main__":
    main()
