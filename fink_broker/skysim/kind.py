"""A kind of thing on the changing sky: how many there are, what one is like, and how its light changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fink_broker import sky
from fink_broker.skysim import places
from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.observatory import Observatory, nanojansky
from fink_broker.skysim.schedule import Schedule
from fink_broker.skysim.templates import Templates
from fink_broker.skysim.thermal import planck_shape

# What a classifier is asked for; a kind has one of these as its label.
LABELS = (
    "SN Ia", "SN Ib/c", "SN II", "SLSN", "TDE", "kilonova", "AGN", "dwarf nova", "flare", "microlensing", "periodic variable", "asteroid", "bogus", "other",
)  # fmt: skip
GALAXY_COLOURS = {"u": 2.0, "g": 0.7, "r": 0.0, "i": -0.35, "z": -0.55, "y": -0.65}  # against r [mag AB]
FIELD_DENSITY = 0.0025  # sources in images an arcsec^2 far from the Milky Way
CATALOGUED_DENSITY = 0.0014  # of the catalogue that packets name neighbours of; as 105 known asteroids of January 2024 have them, at all latitudes


@dataclass(frozen=True)
class Heaven:
    """What things are drawn for: a survey, when it looks where, and the spectra of supernovae."""

    site: Observatory
    schedule: Schedule
    templates: Templates
    deep_share: float = 0.0

    def band_values(self, by_letter: dict[str, float]) -> Floats:
        """Numbers by band letter in the order of the survey's bands."""
        return np.array([by_letter[band] for band in self.site.bands])

    def near_visit(self, rng: np.random.Generator, ra: Floats, dec: Floats, before: Floats | float, after: Floats | float) -> Floats:
        """Times [d, TAI] such that a visit of the place lies between `before` days before and `after` days after."""
        visit = self.schedule.some_visit(rng, self.schedule.field_of(ra, dec))
        found: Floats = visit + before - rng.random(len(ra)) * (np.asarray(before) + np.asarray(after))
        return found


@dataclass
class Things:
    """Things of one kind: places [deg], light in the template [nJy] by band, the nearest catalogued source, and what is true of them."""

    ra: Floats
    dec: Floats
    ebv: Floats
    template: Floats  # (thing, band): what lies under the detection, behind the dust
    near_arcsec: Floats  # catalogued source nearest to it
    near_star: Floats  # star score of that source, 0 galaxy to 1 star
    near_mag: Floats
    truth: dict[str, Floats] = field(default_factory=dict)
    known: Floats | None = None  # of moving things: whether the ephemeris has them

    def __len__(self) -> int:
        return len(self.ra)

    def take(self, chosen: Ints) -> Things:
        """Some of them."""
        truth = {name: values[chosen] for name, values in self.truth.items()}
        known = None if self.known is None else self.known[chosen]
        return Things(
            self.ra[chosen], self.dec[chosen], self.ebv[chosen], self.template[chosen], self.near_arcsec[chosen], self.near_star[chosen],
            self.near_mag[chosen], truth, known,
        )  # fmt: skip


Draw = Callable[[np.random.Generator, int, Heaven], Things]
Signal = Callable[[Things, Ints, Floats, Ints, Heaven, np.random.Generator], Floats]


@dataclass(frozen=True)
class Kind:
    """One kind: its name, the label that a classifier should give, and its models.

    `signal` gives the true difference flux [nJy], before dust, of points (thing, time, band place); points are in order of thing and time.
    `per_year` is the number of things on the survey's sky that give alerts in a year, or None where it follows from `rate` [1/Mpc^3/yr].
    """

    name: str
    label: str
    draw: Draw
    signal: Signal
    per_year: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    moving: bool = False
    lasting: bool = False  # there for years: its first detection lies long before
    dusty: bool = True  # its light passes all of the Milky Way's dust; else magnitudes are as seen


def behind_dust(site: Observatory, ebv: Floats) -> Floats:
    """Share of the light that the Milky Way's dust lets through: (thing, band)."""
    found: Floats = 10 ** (-0.4 * np.asarray(ebv)[:, None] * np.array(site.extinction)[None, :])
    return found


def source_density(latitude: Floats) -> Floats:
    """Catalogued sources an arcsec^2 at a distance from the Milky Way's plane [deg]."""
    found: Floats = CATALOGUED_DENSITY * (1 + 10 * np.exp(-latitude / 9))
    return found


def field_source(rng: np.random.Generator, ra: Floats, dec: Floats) -> tuple[Floats, Floats, Floats]:
    """The nearest of unrelated catalogued sources: distance [arcsec], star score, magnitude."""
    latitude = np.abs(sky.galactic_latitude(ra, dec))
    density = source_density(latitude)
    distance = np.sqrt(-np.log(rng.random(len(ra))) / np.pi / density)
    star = np.where(rng.random(len(ra)) < 0.4 + 0.5 * np.exp(-latitude / 15), 1 - 0.1 * rng.random(len(ra)) ** 3, 0.3 * rng.random(len(ra)) ** 2)
    mag = np.maximum(22.5 - rng.exponential(1.75, len(ra)), 14.0)
    unsure = np.clip((mag - 19.5) / 2.5, 0, 1) * rng.random(len(ra))  # near the catalogue's limit a star looks like a galaxy
    return distance, star + unsure * (rng.random(len(ra)) - star), mag


def catalogued(rng: np.random.Generator, ra: Floats, dec: Floats, own_arcsec: Floats, own_star: Floats, own_mag: Floats) -> tuple[Floats, Floats, Floats]:
    """The nearest catalogued source: the thing's own counterpart where the catalogue is deep enough, unless another lies nearer."""
    distance, star, mag = field_source(rng, ra, dec)
    mine = (own_mag < 22.3 + 0.4 * rng.normal(size=len(ra))) & (own_arcsec < distance)
    return np.where(mine, own_arcsec, distance), np.where(mine, own_star, star), np.where(mine, own_mag, mag)


def hosted(rng: np.random.Generator, number: int, heaven: Heaven, z: Floats, host_absolute: Floats, nuclear: bool = False) -> Things:
    """Things in galaxies of some absolute magnitude in r: in the nucleus, or where the stars are (exponential disc)."""
    from fink_broker.skysim.cosmos import luminosity_mpc, modulus

    site = heaven.site
    ra, dec = places.extragalactic(rng, number, site, heaven.deep_share)
    ebv = places.reddening(rng, ra, dec)
    host = host_absolute + modulus(z) + 1.2 * z
    kiloparsec = 4.0 * 10 ** (-0.2 * (host_absolute + 20.5) + rng.normal(0, 0.2, number))  # half-light radius, as of Shen et al. 2003
    radius = np.maximum(kiloparsec / (luminosity_mpc(z) / (1 + z) ** 2 * 1e3) * 206265, 0.05)
    offset = np.full(number, 0.05) if nuclear else radius * 0.6 * rng.gamma(2.0, 1.0, number)
    apart = np.hypot(offset, rng.rayleigh(0.2, number))
    beam = np.pi * site.seeing_arcsec**2
    surface = 0.35 / radius**2 * np.exp(-1.68 * offset / radius)  # of an exponential disc of unit light, an arcsec^2
    share = np.clip(surface * beam, 0, 1) if not nuclear else np.clip(0.2 + beam * 0.35 / radius**2, 0, 1)
    colours = heaven.band_values(GALAXY_COLOURS) * (1 + 0.25 * rng.normal(size=number))[:, None]
    template = nanojansky(host[:, None] + colours) * share[:, None] * behind_dust(site, ebv)
    near = catalogued(rng, ra, dec, apart, 0.4 * rng.beta(0.6, 6, number), host + ebv * 2.3)
    truth = {"redshift": z, "host_mag": host, "host_arcsec": offset, "host_radius_arcsec": radius}
    return Things(ra, dec, ebv, template, *near, truth)


def stellar(
    rng: np.random.Generator, number: int, heaven: Heaven, mag_r: Floats, temperature: Floats | float, height_deg: float, score: float = 0.992
) -> Things:
    """Stars of some mean magnitude in r, as seen, and black-body colours that the dust reddens."""
    site = heaven.site
    ra, dec = places.galactic(rng, number, site, height_deg, heaven.deep_share)
    ebv = places.reddening(rng, ra, dec) * rng.beta(2, 2.5, number)
    wave, r = np.array(site.wavelength), site.bands.index("r")
    shape = planck_shape(wave[None, :], np.broadcast_to(np.asarray(temperature, float), (number,))[:, None])
    relative = shape / shape[:, r : r + 1] * 10 ** (-0.4 * ebv[:, None] * (np.array(site.extinction) - site.extinction[r]))
    own = np.where(mag_r < 13.2, 0.5 + 0.5 * rng.random(number), 1 - (1 - score) * rng.gamma(1.0, 1.5, number)).clip(0, 1)
    apart = 0.28 * rng.exponential(1.0, number) ** 0.8  # arcsec: proper motion since the catalogue's epoch draws out the tail
    near = catalogued(rng, ra, dec, apart, own, mag_r)
    return Things(ra, dec, ebv, nanojansky(mag_r)[:, None] * relative, *near, {"mean_mag": mag_r})


def until(number: int, draw: Callable[[int], tuple[Things, NDArray[Any]]]) -> Things:
    """Draw things until so many pass; `draw` gives some and for each whether it passes."""
    parts: list[Things] = []
    have, asked = 0, number
    for _ in range(60):
        things, good = draw(int(asked * 1.3) + 8)
        chosen = np.flatnonzero(good)
        parts.append(things.take(chosen))
        have += len(chosen)
        if have >= number:
            break
        asked = max(int((number - have) * len(things) / max(len(chosen), 1)), 64)
        asked = min(asked, 40 * number + 2000)
    return joined(parts).take(np.arange(min(number, have)))


def joined(parts: list[Things]) -> Things:
    """Several in one."""
    truth = {name: np.concatenate([part.truth[name] for part in parts]) for name in parts[0].truth}
    known = None if parts[0].known is None else np.concatenate([part.known for part in parts if part.known is not None])

    def whole(name: str) -> Floats:
        return np.concatenate([getattr(part, name) for part in parts])

    return Things(
        whole("ra"), whole("dec"), whole("ebv"), whole("template"), whole("near_arcsec"), whole("near_star"), whole("near_mag"), truth, known
    )  # fmt: skip


def seen_at_all(count: int, limit: float, propose: Callable[[int], dict[str, Floats]]) -> dict[str, Floats]:
    """Properties of `count` things whose `peak_mag` is brighter than a limit; the many that are not are thrown away before anything else is made."""
    parts, have, asked = [], 0, 4 * count + 64
    while have < count:
        tried = propose(asked)
        good = tried["peak_mag"] < limit
        parts.append({name: values[good] for name, values in tried.items()})
        have += int(good.sum())
        asked = int(min((count - have) * 1.3 * asked / max(int(good.sum()), 1) + 64, 200_000))
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
