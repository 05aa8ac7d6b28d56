"""What a survey measures of the simulated sky: every visit of every thing, with noise, detections and depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fink_broker.errors import FinkError
from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.kind import Heaven, Kind, Things, behind_dust, joined
from fink_broker.skysim.observatory import Observatory, nanojansky, observatory
from fink_broker.skysim.population import KINDS, shares
from fink_broker.skysim.schedule import Schedule, schedule
from fink_broker.skysim.templates import templates

BLOCK = 1000  # things that are made together; a block needs none of those before it
START_MJD = 61000.0
DETECTION = 5.0  # sigma
ROUNDS = 40


@dataclass
class Observed:
    """Things of one kind and the visits of each, thing by thing in time order: difference flux and its error [nJy]."""

    kind: Kind
    things: Things
    begin: Ints  # first visit of each thing
    end: Ints  # one after its last
    mjd: Floats
    band: Ints
    flux: Floats
    err: Floats
    depth: Floats
    seeing: Floats
    forced: Floats  # flux measured at the given place, where a detection was measured at its own
    detected: Ints  # 0 or 1
    usable: Ints  # detected, and with a history behind it: what may give an alert

    @property
    def who(self) -> Ints:
        """Which thing each visit is of."""
        return np.repeat(np.arange(len(self.begin)), self.end - self.begin)

    def take(self, chosen: Ints) -> Observed:
        """Some of the things with their visits."""
        count = (self.end - self.begin)[chosen]
        stop = np.cumsum(count)
        index = np.arange(count.sum()) - np.repeat(stop - count - self.begin[chosen], count)
        columns = (self.mjd, self.band, self.flux, self.err, self.depth, self.seeing, self.forced, self.detected, self.usable)
        return Observed(self.kind, self.things.take(chosen), stop - count, stop, *(column[index] for column in columns))


def observe(kind: Kind, things: Things, heaven: Heaven, rng: np.random.Generator) -> Observed:
    """Look at things in every visit of their fields."""
    site, plan = heaven.site, heaven.schedule
    field = plan.field_of(things.ra, things.dec)
    who, visit = plan.visits(field)
    mjd, band, depth = plan.mjd[visit], plan.band[visit], plan.depth[visit]
    signal = kind.signal(things, who, mjd, band, heaven, rng)
    if kind.dusty:
        signal = signal * behind_dust(site, things.ebv)[who, band]
    under = things.template[who, band]
    err = told(site, depth, band, signal, under)
    noise = true_noise(site, err, under)
    flux = signal + noise * rng.normal(size=len(who))
    forced = flux + 0.15 * err * rng.normal(size=len(who))
    bright = np.maximum(under + flux, 0) > nanojansky(site.brightest)
    detected = (np.abs(flux) >= DETECTION * np.maximum(err, noise)) & ~bright
    if kind.moving:  # noise does not move with it: only what truly is there
        detected &= signal != 0
        forced = err * rng.normal(size=len(who))  # at the place of the alert, where it is no more, or not yet
    count = plan.count[field]
    end = np.cumsum(count)
    usable = detected & (visit >= plan.settled[field][who])
    return Observed(kind, things, end - count, end, mjd, band, flux, err, depth, plan.seeing[visit], forced, detected.astype(np.int64), usable.astype(np.int64))


def told(site: Observatory, depth: Floats, band: Ints, signal: Floats, under: Floats) -> Floats:
    """Errors of fluxes [nJy] as a survey tells them, of visits of a depth, by what has changed and the light in the template."""
    dark = nanojansky(depth) / DETECTION
    electrons = nanojansky(np.array(site.zero_electrons))[band]
    light = np.maximum(under + signal, 0) + site.template_light * under
    share, turn = site.own
    own = share * signal / (1 + np.abs(signal) / dark / turn)
    found: Floats = np.sqrt(dark**2 + light * electrons + (site.floor * under) ** 2 + own**2)
    return found


def true_noise(site: Observatory, err: Floats | float, under: Floats | float) -> Floats:
    """What fluxes scatter by, and detections are found against [nJy], of the errors that a survey tells and the light in the template."""
    found: Floats = np.sqrt(site.noise_share**2 * np.maximum(np.square(err) - (site.floor * under) ** 2, 0) + (site.floor_true * under) ** 2)
    return found


class Sky:
    """A changing sky as one survey sees it; the same seed gives the same things, visits and noise, bit for bit."""

    def __init__(
        self,
        survey: str,
        seed: int = 1,
        mix: str | Mapping[str, float] = "natural",
        start_mjd: float = START_MJD,
        days: float | None = None,
        models: str = "auto",
        deep_share: float = 0.05,
        dense_share: float = 0.0,
        plan: Schedule | None = None,
    ) -> None:
        """`mix`: natural, even, or weights by kind or label; `models`: sncosmo, built-in, auto; `deep_share`: of things in LSST's deep fields;
        `dense_share`: of ZTF's fields that are watched many times a night, mostly in one band; `plan`: when it looks where, instead of all the former say."""
        site: Observatory = observatory(survey)
        self.survey, self.seed = survey, seed
        days = max(days or site.span_days, site.settle_days + 1)
        plan = plan or schedule(site, start_mjd, days, seed, dense_share)
        self.site = site = plan.site
        self.heaven = Heaven(site, plan, templates(site, models), deep_share)
        self.shares = shares(mix, site)

    @property
    def models(self) -> str:
        """Where the spectra of supernovae come from: sncosmo or built-in."""
        return self.heaven.templates.origin

    def block(self, index: int, size: int = BLOCK) -> list[Observed]:
        """Block number `index` of things that give at least one alert, by kind; any block can be made without the others."""
        names = list(self.shares)
        counts = np.random.default_rng([self.seed, 0xB10C, index]).multinomial(size, list(self.shares.values()))
        return [self._seen(KINDS[name], int(count), index) for name, count in zip(names, counts, strict=True) if count]

    def _seen(self, kind: Kind, number: int, index: int) -> Observed:
        """So many things of a kind that give an alert."""
        rng = np.random.default_rng([self.seed, 0x5EE, index, list(KINDS).index(kind.name)])
        parts: list[Observed] = []
        have, asked = 0, int(number * 1.25) + 4
        for _ in range(ROUNDS):
            things = kind.draw(rng, asked, self.heaven)
            things = things.take(np.flatnonzero(self.heaven.schedule.watched(things.ra, things.dec)))
            seen = observe(kind, things, self.heaven, rng)
            totals = np.concatenate([[0], np.cumsum(seen.usable)])
            good = np.flatnonzero(totals[seen.end] > totals[seen.begin])
            parts.append(seen.take(good[: number - have]))
            have += len(good)
            if have >= number:
                return merged(parts)
            asked = int(min(max((number - have) * asked / max(len(good), 1) * 1.3, 16), 20 * number + 200))
        raise FinkError(f"of {kind.name}, too few can be seen by {self.survey} in {self.heaven.schedule.days:.0f} d; leave the kind out, or simulate longer")


def merged(parts: list[Observed]) -> Observed:
    """Things of one kind in one."""
    if len(parts) == 1:
        return parts[0]
    offset = np.concatenate([[0], np.cumsum([len(part.mjd) for part in parts])[:-1]])
    begin, end = (np.concatenate([getattr(part, name) + more for part, more in zip(parts, offset, strict=True)]) for name in ("begin", "end"))
    names = ("mjd", "band", "flux", "err", "depth", "seeing", "forced", "detected", "usable")
    things = joined([part.things for part in parts])
    return Observed(parts[0].kind, things, begin, end, *(np.concatenate([getattr(part, name) for part in parts]) for name in names))
