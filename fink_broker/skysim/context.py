"""What an alert says beside its light: place, neighbours, scores, quality, known asteroids, how long it has been seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fink_broker import sky
from fink_broker.skysim import reference
from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.kind import Heaven, Kind, Things
from fink_broker.skysim.observation import DETECTION, Observed, Sky, told, true_noise
from fink_broker.skysim.observatory import Observatory, nanojansky

BEGAN = {"ztf": 58050.0, "lsst": np.inf}  # [d, TAI] the oldest detections; LSST's with the simulation
DARKEST = 30.0  # [nJy] light of a template that has none
# Logarithm of the odds of LSST's reliability by the change as a share of the light in the template: medians of 23,000 detections of 27 quasars;
# of 20 known asteroids, with nothing in the template, it is 0.999 or more.
CHANGES, ODDS = (0.01, 0.035, 0.075, 0.14, 0.28, 0.5, 1.0), (-2.0, -0.7, 0.95, 1.7, 3.8, 6.5, 10.0)
OFTEN = 1.0  # detections a day over the years, at most
TRIED = 40  # visits that tell how often a thing is detected


@dataclass
class Context:
    """Columns of alerts that do not come from their light curve."""

    ra: Floats
    dec: Floats
    ss_object_id: NDArray[Any]
    ss_distance_arcsec: Floats
    reliability: Floats
    quality: list[list[str]]
    first_mjd: Floats
    n_detections: Ints
    neighbour_distance_arcsec: Floats
    neighbour_star_score: Floats
    template_flux: Floats


def context(rng: np.random.Generator, model: Sky, seen: Observed, thing: Ints, point: Ints) -> Context:
    """The context of alerts (thing, visit)."""
    site, things, kind = model.site, seen.things, seen.kind
    number = len(thing)
    snr = np.abs(seen.flux[point]) / seen.err[point]
    scatter = np.hypot(0.05, 0.7 * seen.seeing[point] / np.maximum(snr, 1)) / 3600
    ra, dec = place(seen, thing, seen.mjd[point])
    dec = dec + rng.normal(0, 1, number) * scatter
    ra = (ra + rng.normal(0, 1, number) * scatter / np.cos(np.radians(dec))) % 360
    first, seen_before = _past(rng, model, seen, thing, point)
    names = np.full(number, None, object)
    distance = np.full(number, np.nan)
    if things.known is not None:
        known = things.known[thing] > 0.5
        names[known] = [str(1000 + int(value) % 700_000) for value in things.truth["epoch_mjd"][thing][known] * 1e7]
        distance[known] = np.minimum(rng.rayleigh(0.25, int(known.sum())), 5)
    elif site.name == "ztf":  # chance neighbours within 30 arcsec, more of them near the ecliptic
        chance = rng.random(number) < 0.1 * np.exp(-np.abs(sky.ecliptic_latitude(ra, dec)) / 9)
        names[chance] = [str(value) for value in rng.integers(1000, 700_000, int(chance.sum()))]
        distance[chance] = 30 * np.sqrt(rng.random(int(chance.sum())))
    good = kind.name != "bogus"
    flux, under = np.abs(seen.flux[point]), things.template[thing, seen.band[point]]
    reliability = real_bogus(rng, site, good, snr, things.template[thing].T, flux / np.maximum(under, DARKEST))
    near = things.near_arcsec[thing], things.near_star[thing]
    if site.name != "ztf":
        near = np.full(number, np.nan), np.full(number, np.nan)
    quality = _quality(rng, site.name, good, reliability)
    return Context(ra, dec, names, distance, reliability, quality, first, seen_before, *near, _template(rng, model, seen, thing, point))


def _template(rng: np.random.Generator, model: Sky, seen: Observed, thing: Ints, point: Ints) -> Floats:
    """Flux that the packet tells of the template [nJy], null where it tells none."""
    things, dice = seen.things, rng.normal(size=len(thing))
    under = things.template[thing, seen.band[point]]
    if model.survey == "lsst":
        return reference.measured(under, nanojansky(seen.depth[point]) / 5, dice)
    apart = things.near_arcsec[thing]
    told = (reference.pixels(apart, dice) <= 1.5) & (model.survey == "ztf")
    return np.where(told, reference.nearest(under, apart, things.near_mag[thing]), np.nan)


def real_bogus(rng: np.random.Generator, site: Observatory, good: bool, snr: Floats, template: Floats, change: Floats) -> Floats:
    """Scores as the surveys' own classifiers give: near 1 for what is there, low for most of what is not.

    ZTF's is less on bright stars (`template`, nJy by band), LSST's where the light changes by a small share of what is in the template (`change`).
    """
    if good and site.name == "ztf":
        under = 31.4 - 2.5 * np.log10(np.maximum(template[site.bands.index("r")], DARKEST))
        middle = 7.4 + 1.1 * np.clip(under - 17.0, -5, 2)
        score = rng.normal(middle + 0.6 * np.log2(np.maximum(snr, 5) / 5), 3.4, len(snr))
    elif good:
        alone = 5.1 + np.log2(np.maximum(snr, 5) / 5)
        on_light = np.interp(np.log(np.maximum(change, 1e-3)), np.log(CHANGES), ODDS)
        score = np.minimum(alone, on_light) + np.where(on_light < 2, 1.2, 2.2) * rng.normal(size=len(snr))
    else:
        score = rng.normal(-2.4, 2.8, len(snr))
    found: Floats = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
    return found


def place(seen: Observed, thing: Ints, mjd: Floats) -> tuple[Floats, Floats]:
    """True right ascension and declination [deg] of things at times."""
    things = seen.things
    ra, dec = things.ra[thing], things.dec[thing]
    if seen.kind.moving:
        days = mjd - things.truth["peak_mjd"][thing]
        dec = np.clip(dec + things.truth["north"][thing] * days, -90, 90)
        ra = (ra + things.truth["east"][thing] * days / np.maximum(np.cos(np.radians(dec)), 0.02)) % 360
    return ra, dec


def _past(rng: np.random.Generator, model: Sky, seen: Observed, thing: Ints, point: Ints) -> tuple[Floats, Ints]:
    """Time of the first detection and number of detections up to each alert; what lasts was seen long before the simulation began."""
    totals = np.concatenate([[0], np.cumsum(seen.detected)])
    number = totals[point + 1] - totals[seen.begin[thing]]
    hits = np.flatnonzero(seen.detected)
    first_hit = hits[np.minimum(np.searchsorted(hits, seen.begin[thing]), len(hits) - 1)]
    first = seen.mjd[np.minimum(first_hit, point)]
    if seen.kind.moving:
        return seen.mjd[point], np.ones(len(thing), np.int64)
    age, more = earlier(rng, seen.kind, seen.things, model.heaven)
    return np.where((more > 0)[thing], first - age[thing], first), number + more[thing]


def earlier(rng: np.random.Generator, kind: Kind, things: Things, heaven: Heaven) -> tuple[Floats, Ints]:
    """How long before its first detection in the simulated days each thing was first detected [d], and how often until then.

    That follows from what the thing is, not from how often it is detected in the simulated days: no alert knows those after it.
    """
    number, plan = len(things), heaven.schedule
    whole = max(plan.first - BEGAN[heaven.site.name], 0.0)
    if not whole:
        return np.zeros(number), np.zeros(number, np.int64)
    age, once = whole * rng.random(number), rng.random(number) < 0.06  # now and then another artefact or an asteroid was there before
    if not (kind.lasting or kind.name == "dwarf_nova"):
        return age, once.astype(np.int64)
    stays = things.truth["alone"] < 0.5 if "alone" in things.truth else np.ones(number, bool)
    missed = rng.random(number)
    long = whole * (1 - 0.22 * missed - 0.4 * missed**8)
    more = rng.poisson(np.minimum(_often(rng, kind, things, heaven, whole), OFTEN) * long)
    return np.where(stays, long, age), np.where(stays, more, once)


def _often(rng: np.random.Generator, kind: Kind, things: Things, heaven: Heaven, whole: float) -> Floats:
    """Detections a day over the years, from what is true of things: by chance visits of their fields, put back into those years."""
    site, plan = heaven.site, heaven.schedule
    field = plan.field_of(things.ra, things.dec)
    visit = np.sort(plan.start[field, None] + (rng.random((len(things), TRIED)) * plan.count[field, None]).astype(np.int64), axis=1).ravel()
    who = np.repeat(np.arange(len(things)), TRIED)
    mjd, band = plan.mjd[visit] - whole * rng.random(len(things))[who], plan.band[visit]
    signal, under = kind.signal(things, who, mjd, band, heaven, rng), things.template[who, band]
    err = told(site, plan.depth[visit], band, signal, under)
    noise = true_noise(site, err, under)
    flux = signal + noise * rng.standard_normal(len(who))
    found = (np.abs(flux) >= DETECTION * np.maximum(err, noise)) & (under + flux <= nanojansky(site.brightest))
    hits = found.reshape(-1, TRIED).sum(axis=1) + rng.gamma(0.5, size=len(things))  # it was detected once, so never is too seldom
    return hits / TRIED * plan.count[field] / plan.days


def _quality(rng: np.random.Generator, site: str, good: bool, reliability: Floats) -> list[list[str]]:
    """Flags as survey.toml raises them."""
    odds = {"ztf": {"bad_pixels": 0.15, "elongated": 0.08, "wide": 0.08, "aperture_mismatch": 0.1, "near_edge": 0.02},
            "lsst": {"cosmic_ray": 0.1, "edge": 0.05, "bad_pixels": 0.12, "saturated": 0.1, "dipole": 0.25}}[site]  # fmt: skip
    dice = rng.random((len(reliability), len(odds)))
    raised = dice < np.array(list(odds.values())) * (1.0 if not good else 0.02)
    low = reliability < (0.55 if site == "ztf" else 0.5)
    names = list(odds)
    found = [["low_reliability"] if one else [] for one in low]
    for row, column in np.argwhere(raised):
        found[row].append(names[column])
    return found
