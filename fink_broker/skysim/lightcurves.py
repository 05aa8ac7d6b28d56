"""Labelled light curves straight from the simulated sky: neutral columns as science modules get them, without making packets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import sky
from fink_broker.errors import ConfigError
from fink_broker.skysim.context import Context, context
from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.observation import BLOCK, Observed, Sky
from fink_broker.skysim.observatory import magnitude

LN = 2.5 / float(np.log(10))
POINTS = ("mjd", "band", "flux", "flux_err", "mag", "mag_err", "limit_mag", "kind")
# What may be true of a thing; which of them are, its kind says.
PARAMETERS = (
    "redshift", "peak_mjd", "peak_mag", "absolute_mag", "mean_mag", "period_days", "amplitude_mag", "host_mag", "host_arcsec", "host_radius_arcsec", "x1", "c",
    "template", "log_luminosity", "temperature", "warming", "rise_days", "fall_days", "speed", "tau_days", "core_share", "plateau_days", "fall_mag_per_day",
    "width_days", "amplitude_flux", "skew", "t_e_days", "u0", "parallax_north", "parallax_east", "source_share", "phase", "rise_share", "beat", "beat_days",
    "contact", "second_depth", "width", "second", "trend", "a_au", "e", "inclination", "node", "argperi", "mean_anomaly", "epoch_mjd", "h", "g12", "v_mag",
    "speed_deg_per_day", "east", "north", "helio_au", "topo_au", "phase_deg", "rotation_mag", "trail_arcsec", "alone", "share", "lean",
)  # fmt: skip
AT = ("random", "first", "last", "all")
KIND_NAMES = np.array(["detection", "limit", "forced"], object)


def light_curves(
    number: int, survey: str = "ztf", seed: int = 1, first: int = 0, at: str = "random", forced: bool = True, sky_model: Sky | None = None, **options: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Neutral columns and truth of `number` things, one alert each (`at` random, first or last of its detections), or all its alerts.

    Rows are in no order of kind. `first` is the block to begin with (of 1,000 things), so that work can be shared out and taken up again.
    `forced` leaves ZTF's forced photometry in (alerts before schema 4.01 have none). `options` go to Sky: mix (default even), start_mjd, days, models.
    """
    if at not in AT:
        raise ConfigError(f"at is '{at}'; expected {', '.join(AT)}")
    if number < 0:
        raise ConfigError(f"number is {number}; expected 0 or more")
    model = sky_model or Sky(survey, seed, **({"mix": "even"} | options))
    frames: list[pd.DataFrame] = []
    truths: list[pd.DataFrame] = []
    left, index = number, first
    while left > 0 or not frames:
        frame, truth = block_rows(model, index, at, forced)
        if left < BLOCK:
            things = truth["thing"].unique()[:left]
            kept = truth["thing"].isin(things).to_numpy()
            frame, truth = frame[kept], truth[kept]
        frames.append(frame)
        truths.append(truth)
        left, index = left - BLOCK, index + 1
    return pd.concat(frames, ignore_index=True), pd.concat(truths, ignore_index=True)


def block_rows(model: Sky, index: int, at: str = "random", forced: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Alerts of one block of things, shuffled by thing: neutral columns and truth."""
    rng = np.random.default_rng([model.seed, 0xA1E27, index])
    frames, truths, before = [], [], 0
    for seen in model.block(index):
        thing, point = _alerts(rng, seen, at)
        about = context(rng, model, seen, thing, point)
        frame = _rows(model, seen, thing, point, about, forced)
        number = index * BLOCK + before + thing
        frame["object_id"] = np.array([f"{model.survey}-{model.seed}-{value}" for value in number], object)
        if seen.kind.moving and model.site.name == "lsst":  # a known asteroid is no object of its own there
            frame.loc[frame["ss_object_id"].notna(), "object_id"] = None
        frame["alert_id"] = [f"{value}{place:06d}" for value, place in zip(number + 1, point - seen.begin[thing], strict=True)]
        frames.append(frame)
        truths.append(_truth(seen, thing, point, number))
        before += len(seen.begin)
    frame, truth = pd.concat(frames, ignore_index=True), pd.concat(truths, ignore_index=True)
    order = np.argsort(rng.permutation(BLOCK)[truth["thing"].to_numpy() % BLOCK], kind="stable")
    return frame.iloc[order].reset_index(drop=True), truth.iloc[order].reset_index(drop=True)


def _alerts(rng: np.random.Generator, seen: Observed, at: str) -> tuple[Ints, Ints]:
    """(thing, visit) of the alerts."""
    usable = np.flatnonzero(seen.usable)
    who = seen.who[usable]
    if at == "all":
        return who, usable
    begin = np.searchsorted(who, np.arange(len(seen.begin)))
    count = np.diff(np.append(begin, len(who)))
    offset = (rng.random(len(begin)) * count).astype(np.int64) if at == "random" else np.zeros(len(begin), np.int64) if at == "first" else count - 1
    return np.arange(len(begin)), usable[begin + offset]


def _history(model: Sky, seen: Observed, thing: Ints, point: Ints, forced: bool) -> tuple[Ints, Ints, Ints]:
    """Points of each alert's light curve in time order: (row, visit, kind 0 detection, 1 limit, 2 forced)."""
    site = model.site
    oldest = np.searchsorted(_keys(seen, seen.mjd, seen.who), _keys(seen, seen.mjd[point] - site.history_days, thing), side="right")
    low = np.maximum(oldest, seen.begin[thing])
    count = point - low + 1
    row = np.repeat(np.arange(len(point)), count)
    stop = np.cumsum(count)
    visit = np.arange(count.sum()) - np.repeat(stop - count - low, count)
    detected = seen.detected[visit] > 0
    last = visit == point[row]
    if seen.kind.moving:  # earlier detections of a moving thing are elsewhere
        detected &= last
    if site.name == "ztf":
        own = np.ones(len(row), bool)
        own_kind = np.where(detected, 0, 1)
        measured = ((visit * 2654435761) % 100 < 75) & ~last if forced else np.zeros(len(row), bool)
    else:  # no upper limits; forced photometry from the first detection on
        own, own_kind = detected, np.zeros(len(row), np.int64)
        hits = np.concatenate([[0], np.cumsum(detected)])
        start = np.repeat(stop - count, count)
        measured = (hits[:-1] > hits[start]) & ~last | (detected & ~last)
        if seen.kind.moving:
            measured &= False
    kinds = np.stack([own_kind, np.full(len(row), 2)], axis=1)
    # where both are of one visit, the fainter comes first, as the jobs sort them
    turned = own & measured & (own_kind == 0) & (seen.forced[visit] < seen.flux[visit])
    kinds[turned] = kinds[turned][:, ::-1]
    keep = np.stack([np.where(turned, measured, own), np.where(turned, own, measured)], axis=1).ravel()
    return np.repeat(row, 2)[keep], np.repeat(visit, 2)[keep], kinds.ravel()[keep]


def _keys(seen: Observed, mjd: Floats, who: Ints) -> Floats:
    """Times that grow from thing to thing."""
    found: Floats = mjd + 1e5 * who
    return found


def _rows(model: Sky, seen: Observed, thing: Ints, point: Ints, about: Context, forced: bool) -> pd.DataFrame:
    """Neutral columns; those of the light curve hold one array a row."""
    site, survey = model.site, model.survey
    letters = np.array([band.upper() if survey == "elasticc" and band == "y" else band for band in site.bands], object)
    row, visit, kind = _history(model, seen, thing, point, forced)
    stop = np.cumsum(np.bincount(row, minlength=len(point)))
    mjd, flux, err = seen.mjd[visit], np.where(kind == 2, seen.forced[visit], seen.flux[visit]), seen.err[visit]
    signed = site.name == "ztf"  # whose magnitudes are of the flux without its sign, of detections
    mag = magnitude(np.where((kind == 0) & signed, np.abs(flux), flux))
    with np.errstate(divide="ignore", invalid="ignore"):
        mag_err = np.where(np.isfinite(mag), LN * err / np.abs(flux), np.nan)
    no_flux = kind == 1
    columns: dict[str, NDArray[Any]] = {
        "mjd": mjd, "band": letters[seen.band[visit]], "flux": np.where(no_flux, np.nan, flux), "flux_err": np.where(no_flux, np.nan, err),
        "mag": np.where(no_flux, np.nan, mag), "mag_err": np.where(no_flux, np.nan, mag_err),
        "limit_mag": seen.depth[visit] if signed else np.full(len(mjd), np.nan), "kind": KIND_NAMES[kind],
    }  # fmt: skip
    own_flux, own_err = seen.flux[point], seen.err[point]
    own_mag = magnitude(np.abs(own_flux) if signed else own_flux)
    frame: dict[str, Any] = {
        "survey": survey, "alert_id": "", "object_id": "", "ss_object_id": about.ss_object_id, "ra": about.ra, "dec": about.dec, "mjd": seen.mjd[point],
        "night": _nights(seen.mjd[point], site.longitude_deg), "healpix": sky.healpix(about.ra, about.dec), "band": letters[seen.band[point]],
        "flux": own_flux, "flux_err": own_err, "mag": own_mag, "mag_err": LN * own_err / np.abs(own_flux), "snr": np.abs(own_flux) / own_err,
        "reliability": about.reliability, "quality": about.quality, "first_mjd": about.first_mjd, "n_detections": about.n_detections,
        "ss_distance_arcsec": about.ss_distance_arcsec, "neighbour_distance_arcsec": about.neighbour_distance_arcsec,
        "neighbour_star_score": about.neighbour_star_score, "template_flux": about.template_flux, "public": True,
    }  # fmt: skip
    if not signed:
        frame["mag_err"] = np.where(np.isfinite(own_mag), frame["mag_err"], np.nan)
    for name in POINTS:
        cells = np.empty(len(point), object)
        cells[:] = np.split(columns[name], stop[:-1]) if len(point) else []
        frame[f"lightcurve.{name}"] = cells
    return pd.DataFrame(frame)


def _nights(mjd: Floats, longitude_deg: float) -> Ints:
    """Local nights YYYYMMDD; few different ones, so each is written once."""
    day = np.floor(mjd - 37 / 86400 + longitude_deg / 360 - 0.5).astype(np.int64)
    found, place = np.unique(day, return_inverse=True)
    dates = sky.night(found + 0.5 - longitude_deg / 360 + 0.5, longitude_deg)
    return dates[place]


def _truth(seen: Observed, thing: Ints, point: Ints, number: Ints) -> pd.DataFrame:
    """What each alert truly is."""
    kind = seen.kind
    columns: Mapping[str, Any] = {"thing": number, "kind": kind.name, "label": kind.label, "mjd": seen.mjd[point], "visit": point - seen.begin[thing],
                                  "ebv": seen.things.ebv[thing]}  # fmt: skip
    empty = np.full(len(thing), np.nan)
    values = {name: empty for name in PARAMETERS} | {name: values[thing] for name, values in seen.things.truth.items()}
    return pd.DataFrame({**columns, **values})


def blocks(model: Sky, first: int = 0, at: str = "all", forced: bool = True) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Block after block, without end."""
    index = first
    while True:
        yield block_rows(model, index, at, forced)
        index += 1
