"""Packers of the simulated sky: those of made-up alerts, with everything that the sky knows in place of dice."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fink_broker.skysim import reference
from fink_broker.skysim.asteroids import earth, heliocentric, moving
from fink_broker.skysim.cosmos import Floats
from fink_broker.skysim.measures import measures, science_error
from fink_broker.skysim.observation import true_noise
from fink_broker.skysim.observatory import ZTF, Observatory, magnitude
from fink_broker.skysim.shapes import shapes
from fink_broker.skysim.stamps import Scene, as_fits, stamps
from fink_broker.testing.elasticc import Elasticc
from fink_broker.testing.encoder import Kept
from fink_broker.testing.lsst import Lsst
from fink_broker.testing.objects import MadeObject
from fink_broker.testing.packets import Packer, kept
from fink_broker.testing.ztf import MISSING, NOT_MEASURED, UNIT, ZERO_POINT, Ztf

NAMES = 26**7
MILLION = 1_000_000  # things that have a number of their own within a visit
PANSTARRS = {"g": 23.3, "r": 23.2, "i": 23.1, "z": 22.3}  # 5 sigma
SMALLEST = 30  # [pixels] LSST cuts out its footprint of a detection, or this: 148 of 148 real alerts


class Rows(Sequence[list[float]]):
    """Numbers of each visit as lists, of which few are asked for: kept as an array, which takes a quarter of the memory."""

    def __init__(self, values: Floats) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: Any) -> Any:
        return self.values[place].tolist()


@dataclass
class SkyThing(MadeObject):
    """A thing of the sky as the packers take it, with what they would otherwise throw dice for."""

    first_visit: int = 0
    places: list[tuple[float, float]] = field(default_factory=list)
    forced: list[float] = field(default_factory=list)
    seeing: list[float] = field(default_factory=list)  # [arcsec]
    scores: list[float] = field(default_factory=list)  # real-bogus
    bells: Sequence[list[float]] = field(default_factory=list)  # independent normal numbers of each visit
    template: list[float] = field(default_factory=list)  # [nJy] by band
    near: tuple[float, float, float] = (0.0, 0.0, 0.0)  # nearest catalogued source: distance [arcsec], star score, magnitude
    age_days: float = 0.0
    seen_before: int = 0
    scene: Scene = field(default_factory=lambda: Scene(63))
    scenes: dict[int, Scene] = field(default_factory=dict)  # the same by the size of the cutouts, where that changes
    site: Observatory = ZTF
    chance_asteroid: float = -1.0

    def place(self, epoch: int) -> tuple[float, float]:
        """Measured position at a visit [deg]."""
        return self.places[epoch]

    def under(self, epoch: int) -> float:
        """Flux in the template at a visit's band [nJy]."""
        return self.template[self.site.bands.index(self.band[epoch])]


def once(thing: MadeObject, what: str, epoch: int, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The record of a visit in the history of a thing, made and encoded once for all its alerts."""
    found = thing.records.get((what, epoch))
    if found is None:
        found = thing.records[what, epoch] = Kept(make())
        if what != "forced":  # the detection's own alert has gone, or will not come
            thing.records.pop(epoch, None)
    return found


def _drawn(packer: Packer, thing: SkyThing, epoch: int, size: int = 0) -> tuple[bytes, bytes, bytes]:
    """Cutouts of one visit, of a size other than the thing's if one is given; their noise is the same whenever they are made."""
    site, scene = thing.site, thing.scene
    if size:
        scene = thing.scenes.setdefault(size, replace(scene, size=size, images={}))
    rng = np.random.default_rng([packer.seed % 2**32, 0x57A3, thing.number, thing.first_visit + epoch])
    band = site.bands.index(thing.band[epoch])
    images = stamps(scene, site, band, thing.flux[epoch], thing.depth[epoch], thing.seeing[epoch], rng)
    return as_fits(*images)


class SkyZtf(Ztf):
    """Packs the simulated sky as alerts of ZTF."""

    each = 64

    def pack(self, thing: MadeObject, epoch: int) -> tuple[dict[str, Any], str, str]:
        """See Packer."""
        packet, candid, _ = super().pack(thing, epoch)
        name = sky_name(self.seed, self._number(thing, epoch))
        return packet | {"objectId": name, "publisher": "ZTF (simulated)"}, candid, name

    def _stamps(self, thing: MadeObject, epoch: int, deep: bool) -> tuple[bytes, bytes, bytes]:
        assert isinstance(thing, SkyThing)
        return _drawn(self, thing, epoch)

    @staticmethod
    def _count(thing: MadeObject, epoch: int) -> int:
        return thing.number % MILLION  # a visit of a thing has a pid of its own

    def _visit(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        visit = super()._visit(thing, epoch)
        return visit | {"magzpsci": _zero_point(visit), "pid": visit["pid"] + thing.number // MILLION}

    def _candidate(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        assert isinstance(thing, SkyThing)
        values = super()._candidate(thing, epoch)
        dice, bell, score = thing.dice[epoch], thing.bells[epoch], thing.scores[epoch]
        good, under, (distance, star, near_mag) = thing.kind != "bogus", thing.under(epoch), thing.near
        noise = float(true_noise(thing.site, thing.flux_err[epoch], under))
        narrow = under > 0 and good and dice[9] < np.interp(31.4 - 2.5 * np.log10(under), (16.0, 17.5, 19.0, 20.0), (0.57, 0.33, 0.2, 0.03))
        values |= shapes(values["magpsf"], values["sigmapsf"], values["magfromlim"], abs(thing.flux[epoch]) / noise, bool(narrow), thing.seeing[epoch], good,
                         thing.scene.trail_pixels, bell)  # fmt: skip
        before = [*thing.seen(epoch), epoch]
        month = epoch - bisect_left(thing.mjd, thing.mjd[epoch] - 30)  # visits; where it comes often now it came often before
        values |= {
            "drb": score, "rb": _plain(score, bell[5] - (0.4 if narrow else 0.0)), "nbad": 0 if good or dice[6] < 0.85 else int(dice[6] * 4),
            "ndethist": len(before) + thing.seen_before,
            "ncovhist": max(epoch + 40 + int(thing.seen_before * 1.2), int(950 * (2 * thing.luck[2] + 0.3) * (month / 11 + 0.3) ** 0.5)),
            "jdstarthist": values["jd"] - (thing.mjd[epoch] - thing.mjd[before[0]]) - thing.age_days, "ranr": thing.ra, "decnr": thing.dec,
            "distnr": float(reference.pixels(distance, bell[4])), "sigmagnr": 0.02 + 0.04 * dice[3],
            "magnr": float(magnitude(reference.nearest(under, distance, near_mag))),
            "neargaia": distance if star > 0.5 and near_mag < 20.8 else 4 - 14 * float(np.log(1 - thing.luck[3])),
            "maggaia": near_mag if near_mag < 20.8 else 15 + 5 * thing.luck[1],
        }  # fmt: skip
        return values

    def _neighbours(self, thing: MadeObject, ra: float, dec: float, star: bool, ref_mag: float) -> dict[str, Any]:
        assert isinstance(thing, SkyThing)
        distance, score, mag = thing.near
        mag += 0.5 * (sum(thing.luck[8:11]) - 1.5)  # most of what alerts is not always as bright, and the catalogue is years old
        values = super()._neighbours(thing, ra, dec, star, mag)
        shift = distance - values["distpsnr1"]
        values |= {f"distpsnr{place}": values[f"distpsnr{place}"] + shift for place in (1, 2, 3)}
        return values | self._catalogue_magnitudes(thing, distance, mag) | {"sgscore1": score}

    @staticmethod
    def _catalogue_magnitudes(thing: SkyThing, distance: float, mag: float) -> dict[str, Any]:
        """Of the nearest catalogued source, of magnitude `mag` in r: the colours of what lies under the thing, or of any source; none beyond the catalogue's
        depth (Chambers et al. 2016, arXiv 1612.05560)."""
        g, r, i = thing.template[:3]
        if min(g, r, i) > 0 and distance < reference.REACH_ARCSEC:
            g_r, r_i = -2.5 * math.log10(g / r), -2.5 * math.log10(r / i)
        else:
            g_r, r_i = 0.3 + 0.7 * thing.luck[5], 0.2 + 0.5 * thing.luck[6]
        found = {"g": mag + g_r, "r": mag, "i": mag - r_i, "z": mag - r_i - 0.6 * r_i - 0.1 * (thing.luck[7] - 0.5)}
        return {f"s{band}mag1": found[band] if found[band] < depth else MISSING for band, depth in PANSTARRS.items()}

    def _solar_system(self, thing: MadeObject, epoch: int, mag: float) -> dict[str, Any]:
        assert isinstance(thing, SkyThing)
        known = super()._solar_system(thing, epoch, mag)
        if known["ssnamenr"] != "null":
            return known | {"ssdistnr": float(round(0.55 * thing.dice[epoch][5]))}
        if thing.chance_asteroid >= 0 and not thing.moving:
            return {"ssdistnr": float(round(thing.chance_asteroid)), "ssmagnr": 18 + 3 * thing.luck[4], "ssnamenr": str(1000 + thing.number % 700_000)}
        return known

    def _earlier(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        return once(thing, "earlier", epoch, lambda: super(SkyZtf, self)._earlier(thing, epoch))

    def _forced(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        return once(thing, "forced", epoch, lambda: self._measured(thing, epoch))

    def _measured(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        assert isinstance(thing, SkyThing)
        values = super()._forced(thing, epoch)
        unit = UNIT * 10 ** (0.4 * (ZERO_POINT - values["magzpsci"]))
        if values["forcediffimflux"] != NOT_MEASURED:
            values |= {"forcediffimflux": thing.forced[epoch] / unit, "forcediffimfluxunc": thing.flux_err[epoch] / unit}
        return values | {"sciinpseeing": thing.seeing[epoch] / 1.01, "magnr": thing.near[2], "distnr": thing.near[0] / 1.01}


class _Once(Packer):
    """Before a packer that makes records of a thing's visits: each is made once."""

    def _seen(self, thing: MadeObject, epoch: int, object_id: int) -> dict[str, Any]:
        return once(thing, "seen", epoch, lambda: super(_Once, self)._seen(thing, epoch, object_id))  # type: ignore[misc]

    def _at_place(self, thing: MadeObject, epoch: int, object_id: int) -> dict[str, Any]:
        return once(thing, "forced", epoch, lambda: super(_Once, self)._at_place(thing, epoch, object_id))  # type: ignore[misc]


class SkyLsst(_Once, Lsst):
    """Packs the simulated sky as alerts of the Rubin Observatory."""

    each = 64

    def _stamps(self, thing: MadeObject, epoch: int, deep: bool) -> tuple[bytes, bytes, bytes]:
        assert isinstance(thing, SkyThing)
        return _drawn(self, thing, epoch, max(SMALLEST, kept(thing, epoch, self._source)["bboxSize"]))

    @staticmethod
    def _count(thing: MadeObject, epoch: int) -> int:
        return thing.number % MILLION

    def _source(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        assert isinstance(thing, SkyThing)
        values = super()._source(thing, epoch)
        values |= measures(thing, epoch) | {"reliability": thing.scores[epoch], "diaSourceId": values["diaSourceId"] + self._beyond(thing)}
        return values

    def _beyond(self, thing: MadeObject) -> int:
        """What the ids of a visit have more where there are more than a million things: they take the places of other seeds."""
        own = self.seed % 100
        return ((own + thing.number // MILLION) % 100 - own) * MILLION

    def _forced_of(self, thing: MadeObject, seen: list[int], epoch: int) -> list[int]:
        """Those after the first detection, with which the object began, and the alert's own."""
        return [*(place for place in thing.earlier(epoch) if place > seen[0]), epoch] if seen else []

    def _forced(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        assert isinstance(thing, SkyThing)
        values = super()._forced(thing, epoch)
        science = thing.forced[epoch] + thing.under(epoch)
        return values | {"psfFlux": thing.forced[epoch], "scienceFlux": science, "scienceFluxErr": science_error(thing, epoch),
                         "diaForcedSourceId": values["diaForcedSourceId"] + self._beyond(thing)}  # fmt: skip

    def _solar_system(self, thing: MadeObject, epoch: int, source: dict[str, Any], moving_id: int) -> dict[str, Any]:
        """Geometry and orbit as they are."""
        found = super()._solar_system(thing, epoch, source, moving_id)
        truth, mjd = thing.truth, np.array([thing.mjd[epoch]])
        orbit = {name: np.array([truth[name]]) for name in ("a_au", "e", "inclination", "node", "argperi", "mean_anomaly", "epoch_mjd")}
        helio, helio_v = (part[:, 0] for part in moving(lambda when: heliocentric(orbit, when), mjd))
        around, around_v = (part[:, 0] for part in moving(earth, mjd))
        near, far = helio - around, float(np.linalg.norm(helio))
        topo, topo_v = float(np.linalg.norm(near)), helio_v - around_v
        motion = 0.9856076686 / truth["a_au"] ** 1.5
        values = {
            "topoRange": topo, "helioRange": far, "phaseAngle": float(np.degrees(np.arccos(np.clip(helio @ near / far / topo, -1, 1)))),
            "elongation": float(np.degrees(np.arccos(np.clip(-around @ near / np.linalg.norm(around) / topo, -1, 1)))),
            "topoRangeRate": float(topo_v @ near / topo), "helioRangeRate": float(helio_v @ helio / far), "ephRateRa": truth["east"],
            "ephRateDec": truth["north"], "ephRate": truth["speed_deg_per_day"], "ephVmag": truth["v_mag"], "helio_vtot": float(np.linalg.norm(helio_v)),
            "topo_vtot": float(np.linalg.norm(topo_v)),
        }  # fmt: skip
        for name, place, velocity in (("helio", helio, helio_v), ("topo", near, topo_v)):
            values |= {f"{name}_{axis}": float(part) for axis, part in zip("xyz", place, strict=True)}
            values |= {f"{name}_v{axis}": float(part) for axis, part in zip("xyz", velocity, strict=True)}
        angles = {name: float(np.degrees(truth[name])) for name in ("node", "argperi", "mean_anomaly")}
        elements = {"a": truth["a_au"], "e": truth["e"], "q": truth["a_au"] * (1 - truth["e"]), "i": float(np.degrees(truth["inclination"])), **angles,
                    "h": truth["h"], "epoch_mjd": truth["epoch_mjd"], "mean_motion": motion, "period": 360 / motion,
                    "peri_time": truth["epoch_mjd"] - angles["mean_anomaly"] / motion}  # fmt: skip
        return {
            "ssSource": found["ssSource"] | {name: value for name, value in values.items() if name in found["ssSource"]},
            "mpc_orbits": found["mpc_orbits"] | {name: value for name, value in elements.items() if name in found["mpc_orbits"]},
        }


class SkyElasticc(_Once, Elasticc):
    """Packs the simulated sky as alerts of the ELAsTiCC challenge."""

    each = 64

    def _forced(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        assert isinstance(thing, SkyThing)
        return super()._forced(thing, epoch) | {"psFlux": thing.forced[epoch]}


PACKERS: dict[str, type[Packer]] = {"ztf": SkyZtf, "lsst": SkyLsst, "elasticc": SkyElasticc}


def _plain(deep: float, bell: float) -> float:
    """ZTF's first real-bogus score, which follows the deep one loosely."""
    odds = 0.1 + 0.27 * float(np.log(max(deep, 1e-4) / max(1 - deep, 1e-4))) + 0.95 * bell
    return float(1 / (1 + np.exp(-odds)))


def _zero_point(visit: dict[str, Any]) -> float:
    """Zero point of an exposure [mag]: much the same, now and then lower in thin clouds."""
    part = visit["pid"] * 2654435761 % 1000 / 1000
    return float(26.38 - 0.22 * part - 0.6 * part**12)


def sky_name(seed: int, number: int) -> str:
    """Name in the style of ZTF, its own for each seed (to 20) and number (to 400 million)."""
    value, letters = (seed % 20 * 400_000_000 + number) % NAMES, ""
    for _ in range(7):
        value, rest = divmod(value, 26)
        letters = chr(97 + rest) + letters
    return f"ZTF26{letters}"


__all__ = ["MISSING", "PACKERS", "SkyThing", "sky_name"]
