"""Complete packets of the simulated sky: things turned into what the packers of each survey take, and a stream of alerts in time order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fink_broker import sky
from fink_broker.errors import ConfigError
from fink_broker.settings import data_folder
from fink_broker.skysim.census import Census, Group
from fink_broker.skysim.context import DARKEST, earlier, real_bogus
from fink_broker.skysim.context import place as where
from fink_broker.skysim.observation import START_MJD, Observed, Sky
from fink_broker.skysim.observatory import observatory
from fink_broker.skysim.packets import PACKERS, Rows, SkyThing
from fink_broker.skysim.scenes import scene
from fink_broker.skysim.schedule import Schedule
from fink_broker.skysim.shapes import BELLS
from fink_broker.skysim.shelf import Shelf
from fink_broker.survey import load_survey
from fink_broker.testing import MadeAlert, newest

CHUNK = 100_000  # alerts of a chunk, about


@dataclass(frozen=True)
class Campaign:
    """So many alerts of a survey over so many nights: one sky, cut into chunks of whole nights that can each be made without the others.

    However it is cut, the alerts are the same.
    """

    survey: str
    number: int
    seed: int = 1
    start_mjd: float = START_MJD
    nights: int = 3
    mix: str | Mapping[str, float] = "natural"
    models: str = "auto"
    schemas: Path | None = None
    deep_share: float = 0.05
    first_chunk: int = field(default=0, kw_only=True)
    plan: Schedule | None = field(default=None, kw_only=True)  # of certain nights, in one chunk, instead of start_mjd and nights
    chunk_alerts: int = field(default=CHUNK, kw_only=True)  # about; a chunk has a whole night at least

    def __post_init__(self) -> None:
        if self.survey not in PACKERS:
            raise ConfigError(f"no simulated sky for survey '{self.survey}'; there are {', '.join(sorted(PACKERS))}")
        if self.number < 1 or self.nights < 1 or self.chunk_alerts < 1:
            raise ConfigError(f"{self.number} alerts of {self.nights} nights, {self.chunk_alerts} a chunk; expected 1 or more of each")
        if not 0 <= self.first_chunk < self.chunks:
            raise ConfigError(f"there is no chunk {self.first_chunk} of {self.number} {self.survey} alerts; expected 0 to {self.chunks - 1}")

    @property
    def chunk_nights(self) -> int:
        """Nights of one chunk."""
        return self.nights if self.plan else max(1, min(self.nights, self.nights * self.chunk_alerts // self.number))

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.nights // self.chunk_nights)

    def span(self, chunk: int) -> tuple[float, float]:
        """Begin and end of a chunk [d, TAI]: noon where the survey looks."""
        noon = (-observatory(self.survey).longitude_deg / 360) % 1 - 0.5
        begin = np.floor(self.start_mjd) + noon + chunk * self.chunk_nights
        return -np.inf if chunk == 0 else begin, np.inf if chunk == self.chunks - 1 else begin + self.chunk_nights

    def sky(self) -> Sky:
        """The sky with its weather, and the visits before it that its alerts remember."""
        if self.plan:
            return Sky(self.survey, self.seed * 10_007, self.mix, models=self.models, plan=self.plan)
        settle = observatory(self.survey).settle_days
        return Sky(self.survey, self.seed * 10_007, self.mix, self.start_mjd - settle, settle + self.nights, self.models, self.deep_share)

    def census(self) -> Census:
        """Which alerts there are; looks at all things once."""
        return Census(self.sky(), self.number)

    def alerts(self) -> Iterator[MadeAlert]:
        """All alerts from `first_chunk` on, in time order."""
        census = self.census()
        for chunk in range(self.first_chunk, self.chunks):
            yield from self.chunk(chunk, census)

    def chunk(self, chunk: int, census: Census | None = None) -> Iterator[MadeAlert]:
        """The alerts of one chunk in time order; `census` of this campaign, if it has been taken."""
        census = census or self.census()
        about = load_survey(self.schemas or data_folder("schemas"), self.survey)
        packer = PACKERS[self.survey](newest(self.survey, self.schemas), about, self.seed)
        span = census.span(*self.span(chunk))
        numbers = [int(span.groups[group].number[thing]) for group, thing in zip(span.group, span.thing, strict=True)]
        due: list[int] = [0] * len(numbers)  # place of the thing's next alert; 0: none
        later: dict[int, int] = {}
        for place in reversed(range(len(numbers))):
            due[place] = later.get(numbers[place], 0)
            later[numbers[place]] = place
        shelf = Shelf()
        for place, (number, group, thing) in enumerate(zip(numbers, span.group.tolist(), span.thing.tolist(), strict=True)):
            made = shelf.take(number) or _thing(census.model, span.groups[group], thing)
            packet, alert_id, object_id = packer.pack(made, int(span.visit[place]) - made.first_visit)
            yield MadeAlert(self.survey, packet, alert_id, object_id, float(span.mjd[place]), made.truth)
            if due[place]:
                shelf.put(made, due[place])


def _thing(model: Sky, group: Group, thing: int) -> SkyThing:
    """A thing as the packers take it: its visits from the first that any of its alerts remembers to the last."""
    seen, unique = group.seen, int(group.number[thing])
    site, things, kind = model.site, seen.things, seen.kind
    rng = np.random.default_rng([model.seed, 0x7417C, unique])
    begin, end = int(seen.begin[thing]), int(seen.end[thing])
    usable = np.flatnonzero(seen.usable[begin:end]) + begin
    low = max(begin, int(np.searchsorted(seen.mjd[begin:end], seen.mjd[usable[0]] - site.history_days)) + begin)
    cut = slice(low, int(usable[-1]) + 1)
    number = cut.stop - cut.start
    mjd = seen.mjd[cut]
    ra, dec = where(seen, np.full(number, thing), mjd)
    snr = np.abs(seen.flux[cut]) / seen.err[cut]
    scatter = np.hypot(0.05, 0.7 * seen.seeing[cut] / np.maximum(snr, 1)) / 3600
    dec = dec + rng.normal(0, 1, number) * scatter
    ra = (ra + rng.normal(0, 1, number) * scatter / np.maximum(np.cos(np.radians(dec)), 0.02)) % 360
    good = kind.name != "bogus"
    change = np.abs(seen.flux[cut]) / np.maximum(things.template[thing, seen.band[cut]], DARKEST)
    scores = real_bogus(rng, site, good, snr, things.template[thing], change)
    age, more = _past(np.random.default_rng([model.seed, 0x9A57, unique]), model, seen, thing)
    truth: dict[str, Any] = {"kind": kind.name, "label": kind.label, "models": model.models, "ebv": float(things.ebv[thing])}
    truth |= {name: float(values[thing]) for name, values in things.truth.items()}
    if kind.moving:
        truth["mag"] = truth["v_mag"]
    detections = np.flatnonzero(seen.detected[cut]).tolist()
    template = things.template[thing]
    return SkyThing(
        kind="asteroid" if kind.moving else "bogus" if not good else "supernova" if "redshift" in truth and not kind.lasting else "variable",
        number=unique, ra=float(things.ra[thing]), dec=float(things.dec[thing]), mjd=mjd.tolist(), band=[site.bands[b] for b in seen.band[cut]],
        flux=seen.flux[cut].tolist(), flux_err=seen.err[cut].tolist(), depth=seen.depth[cut].tolist(), detections=detections,
        template_flux=float(template[site.bands.index("r")]), dice=Rows(rng.random((number, 10))), luck=rng.random(12).tolist(),
        known=bool(things.known is not None and things.known[thing] > 0.5), speed_deg_per_day=truth.get("speed_deg_per_day", 0.0), truth=truth,
        first_visit=low + int(group.origin[thing]), places=list(zip(ra.tolist(), dec.tolist(), strict=True)), forced=seen.forced[cut].tolist(),
        seeing=seen.seeing[cut].tolist(), scores=scores.tolist(), bells=Rows(rng.standard_normal((number, BELLS))), template=template.tolist(),
        near=(float(things.near_arcsec[thing]), float(things.near_star[thing]),
        float(things.near_mag[thing])), age_days=age, seen_before=more, scene=scene(rng, site, kind.name, things, thing), site=site,
        chance_asteroid=_chance(rng, site.name, float(things.ra[thing]), float(things.dec[thing])),
    )  # fmt: skip


def _chance(rng: np.random.Generator, site: str, ra: float, dec: float) -> float:
    """Distance of an unrelated known asteroid [arcsec], or -1."""
    near = rng.random() < 0.1 * float(np.exp(-abs(float(sky.ecliptic_latitude(ra, dec))) / 9))
    return float(30 * np.sqrt(rng.random())) if near and site == "ztf" else -1.0


def _past(rng: np.random.Generator, model: Sky, seen: Observed, thing: int) -> tuple[float, int]:
    """Days before the first visit on which it was first detected, and detections before; see context.earlier."""
    if seen.kind.moving:
        return 0.0, 0
    age, more = earlier(rng, seen.kind, seen.things.take(np.array([thing])), model.heaven)
    return (float(age[0]), int(more[0])) if more[0] else (0.0, 0)
