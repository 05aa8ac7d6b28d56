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
from fink_broker.skysim.context import earlier, place, real_bogus
from fink_broker.skysim.observation import BLOCK, START_MJD, Observed, Sky
from fink_broker.skysim.packets import PACKERS, SkyThing
from fink_broker.skysim.scenes import scene
from fink_broker.skysim.schedule import Schedule
from fink_broker.skysim.shapes import BELLS
from fink_broker.survey import load_survey
from fink_broker.testing import MadeAlert, newest

CHUNK = 30_000  # alerts that are held at once, about; a chunk is some whole nights
MOST_BLOCKS = 400


@dataclass(frozen=True)
class Campaign:
    """So many alerts of a survey over so many nights, cut into chunks that can each be made without the others.

    A chunk has whole nights and things of its own; ids of its objects hold for the chunk.
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

    def __post_init__(self) -> None:
        if self.survey not in PACKERS:
            raise ConfigError(f"no simulated sky for survey '{self.survey}'; there are {', '.join(sorted(PACKERS))}")
        if self.number < 1 or self.nights < 1:
            raise ConfigError(f"{self.number} alerts of {self.nights} nights; expected 1 or more of each")

    @property
    def chunk_nights(self) -> int:
        """Nights of one chunk."""
        return self.nights if self.plan else max(1, min(self.nights, self.nights * CHUNK // self.number))

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.nights // self.chunk_nights)

    def size(self, chunk: int) -> int:
        """Alerts of a chunk."""
        ends = [self.number * min((chunk + more) * self.chunk_nights, self.nights) // self.nights for more in (0, 1)]
        return ends[1] - ends[0]

    def sky(self, chunk: int) -> Sky:
        """The sky of a chunk, with the visits before it that its alerts remember."""
        from fink_broker.skysim.observatory import observatory

        if self.plan:
            return Sky(self.survey, self.seed * 10_007, self.mix, models=self.models, plan=self.plan)
        settle = observatory(self.survey).settle_days
        first = self.start_mjd + chunk * self.chunk_nights
        nights = min(self.chunk_nights, self.nights - chunk * self.chunk_nights)
        return Sky(self.survey, self.seed * 10_007 + chunk, self.mix, first - settle, settle + nights, self.models, self.deep_share)

    def alerts(self) -> Iterator[MadeAlert]:
        """All alerts from `first_chunk` on, in time order."""
        for chunk in range(self.first_chunk, self.chunks):
            yield from self.chunk(chunk)

    def chunk(self, chunk: int) -> Iterator[MadeAlert]:
        """The alerts of one chunk in time order."""
        number = self.size(chunk)
        if not number:
            return
        model = self.sky(chunk)
        about = load_survey(self.schemas or data_folder("schemas"), self.survey)
        packer = PACKERS[self.survey](newest(self.survey, self.schemas), about, self.seed)
        found: list[tuple[float, Observed, int, int, int]] = []  # time, block of a kind, thing, visit, number of the thing
        for block in range(MOST_BLOCKS):
            before = (chunk * MOST_BLOCKS + block) * BLOCK
            for seen in model.block(block, min(BLOCK, max(number, 20))):
                usable = np.flatnonzero(seen.usable)
                who = seen.who[usable]
                found += [(float(seen.mjd[visit]), seen, int(thing), int(visit), before + int(thing)) for thing, visit in zip(who, usable, strict=True)]
                before += len(seen.begin)
            if len(found) >= number:
                break
        if len(found) > number:
            chosen = np.random.default_rng([model.seed, 0xC4053]).permutation(len(found))[:number]
            found = [found[place] for place in chosen]
        found.sort(key=lambda alert: (alert[0], alert[4]))
        last = {alert[4]: place for place, alert in enumerate(found)}
        made: dict[int, SkyThing] = {}
        for where, (mjd, seen, thing, visit, unique) in enumerate(found):
            made_thing = made.get(unique)
            if made_thing is None:
                made_thing = made[unique] = self._thing(model, seen, thing, unique)
            epoch = visit - made_thing.first_visit
            packet, alert_id, object_id = packer.pack(made_thing, epoch)
            yield MadeAlert(self.survey, packet, alert_id, object_id, mjd, made_thing.truth)
            if last[unique] == where:
                del made[unique]

    def _thing(self, model: Sky, seen: Observed, thing: int, unique: int) -> SkyThing:
        """A thing as the packers take it: its visits from the first that any of its alerts remembers to the last."""
        site, things, kind = model.site, seen.things, seen.kind
        rng = np.random.default_rng([model.seed, 0x7417C, unique])
        begin, end = int(seen.begin[thing]), int(seen.end[thing])
        usable = np.flatnonzero(seen.usable[begin:end]) + begin
        low = max(begin, int(np.searchsorted(seen.mjd[begin:end], seen.mjd[usable[0]] - site.history_days)) + begin)
        cut = slice(low, int(usable[-1]) + 1)
        number = cut.stop - cut.start
        mjd = seen.mjd[cut]
        ra, dec = place(seen, np.full(number, thing), mjd)
        snr = np.abs(seen.flux[cut]) / seen.err[cut]
        scatter = np.hypot(0.05, 0.7 * seen.seeing[cut] / np.maximum(snr, 1)) / 3600
        dec = dec + rng.normal(0, 1, number) * scatter
        ra = (ra + rng.normal(0, 1, number) * scatter / np.maximum(np.cos(np.radians(dec)), 0.02)) % 360
        good = kind.name != "bogus"
        scores = real_bogus(rng, site, good, snr, things.template[thing])
        age, more = self._past(rng, model, seen, thing)
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
            template_flux=float(template[site.bands.index("r")]), dice=rng.random((number, 10)).tolist(), luck=rng.random(12).tolist(),
            known=bool(things.known is not None and things.known[thing] > 0.5), speed_deg_per_day=truth.get("speed_deg_per_day", 0.0), truth=truth,
            first_visit=low, places=list(zip(ra.tolist(), dec.tolist(), strict=True)), forced=seen.forced[cut].tolist(), seeing=seen.seeing[cut].tolist(),
            scores=scores.tolist(), 
            bells=rng.standard_normal((number, BELLS)).tolist(), template=template.tolist(),
            near=(float(things.near_arcsec[thing]), float(things.near_star[thing]),
            float(things.near_mag[thing])), age_days=age, seen_before=more, scene=scene(rng, site, kind.name, things, thing), site=site,
            chance_asteroid=self._chance(rng, site.name, float(things.ra[thing]), float(things.dec[thing])),
        )  # fmt: skip

    def _chance(self, rng: np.random.Generator, site: str, ra: float, dec: float) -> float:
        """Distance of an unrelated known asteroid [arcsec], or -1."""
        near = rng.random() < 0.1 * float(np.exp(-abs(float(sky.ecliptic_latitude(ra, dec))) / 9))
        return float(30 * np.sqrt(rng.random())) if near and site == "ztf" else -1.0

    def _past(self, rng: np.random.Generator, model: Sky, seen: Observed, thing: int) -> tuple[float, int]:
        """Days before the first visit on which it was first detected, and detections before; see context.earlier."""
        if seen.kind.moving:
            return 0.0, 0
        detected = seen.detected[seen.begin[thing] : seen.end[thing]].sum()
        age, more = earlier(rng, model.site, seen.kind, seen.things.take(np.array([thing])), np.array([detected]), model.heaven.schedule)
        return (float(age[0]), int(more[0])) if more[0] else (0.0, 0)
