"""Made-up things on the sky, with the fluxes that a survey would measure of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
KINDS = ("supernova", "variable", "asteroid", "microlensing", "bogus")
SHARES = {"supernova": 0.25, "variable": 0.35, "asteroid": 0.15, "microlensing": 0.1, "bogus": 0.15}
BASELINE = 40  # nights of earlier visits
HALF_NIGHT = 0.16  # [d]
EPOCHS = 64  # more visits than any thing has
# Magnitude offsets of a band against r, for a star or supernova of neutral colour.
COLOUR = {"u": 1.2, "g": 0.3, "r": 0.0, "i": -0.1, "z": -0.15, "y": -0.2}
# 5-sigma depth of one visit [mag AB] of a shallow survey of three bands, and of a deep one (Bellm et al. 2019; Ivezic et al. 2019).
DEPTH_ZTF = {"g": 20.8, "r": 20.6, "i": 19.9}
DEPTH_LSST = {"u": 23.9, "g": 25.0, "r": 24.7, "i": 24.0, "z": 23.3, "y": 22.1}
# Known variable stars and galaxies (J2000 [deg]), so that some made-up alerts have a cross-match.
PLACES = {
    "variable": [(291.36630, 42.78436), (186.00, 0.52), (34.83664, -2.97764), (47.04222, 40.95565), (337.29277, 58.41520)],
    "supernova": [(10.68471, 41.26875), (23.46208, 30.66028), (148.88822, 69.06529), (202.46958, 47.19526), (187.70593, 12.39112)],
}


@dataclass
class MadeObject:
    """One thing with its visits: times [d, TAI], bands, measured difference fluxes and errors [nJy], 5-sigma depths [mag].

    `dice` holds random numbers (0 to 1) for each visit and `luck` some for the thing, so that what an alert says of
    an earlier visit is what the alert of that visit said.
    """

    kind: str
    number: int
    ra: float
    dec: float
    mjd: list[float]
    band: list[str]
    flux: list[float]
    flux_err: list[float]
    depth: list[float]
    detections: list[int]
    template_flux: float
    dice: Sequence[list[float]]
    luck: list[float]
    known: bool = False
    speed_deg_per_day: float = 0.0
    truth: dict[str, Any] = field(default_factory=dict)
    records: dict[Any, dict[str, Any]] = field(default_factory=dict, repr=False)  # by visit, or by (what, visit)

    @property
    def moving(self) -> bool:
        """Whether each of its detections is at another place."""
        return self.kind == "asteroid"

    def earlier(self, epoch: int, days: float = np.inf) -> list[int]:
        """Visits before this one at its place, at most `days` back; those that saw a moving thing elsewhere are none."""
        start = self.mjd[epoch] - days
        return [place for place in range(epoch) if self.mjd[place] > start and not (self.moving and place in self.detections)]

    def seen(self, epoch: int) -> list[int]:
        """Earlier visits that detected it at its place."""
        return [] if self.moving else [place for place in self.detections if place < epoch]

    def place(self, epoch: int) -> tuple[float, float]:
        """Position at a visit [deg]; asteroids move, mostly east."""
        days = self.mjd[epoch] - self.mjd[-1] if self.moving and epoch in self.detections else 0.0
        north = self.speed_deg_per_day * days * 0.4 * (self.luck[0] - 0.5)
        east = self.speed_deg_per_day * days / max(float(np.cos(np.radians(self.dec))), 0.1)
        return (self.ra + east) % 360, self.dec + north


def nanojansky(mag: Any) -> Any:
    """Flux [nJy] of an AB magnitude."""
    return 10 ** ((31.4 - np.asarray(mag, float)) / 2.5)


def first_midnight(mjd: float, longitude_deg: float) -> float:
    """Midnight of the first whole night of a site that begins after `mjd` [d]."""
    midnight = -longitude_deg / 360 % 1
    return float(np.ceil(mjd - midnight + HALF_NIGHT) + midnight)


def make_objects(
    number: int, seed: int, bands: Sequence[str], midnight: float, nights: int, kinds: Sequence[str], first_number: int = 0
) -> Iterator[MadeObject]:
    """Things of several kinds, visited from BASELINE nights before the one of `midnight` [d, TAI] to `nights` nights on."""
    rng = np.random.default_rng(seed)
    shares = np.array([SHARES[kind] for kind in kinds])
    chosen = rng.choice(len(kinds), number, p=shares / shares.sum())
    return (_make(kinds[index], first_number + i, rng, bands, midnight, nights) for i, index in enumerate(chosen))


def _make(kind: str, number: int, rng: np.random.Generator, bands: Sequence[str], midnight: float, nights: int) -> MadeObject:
    deep = len(bands) > 3
    mjd = midnight + _visits(kind, rng, nights, 0.5 if deep else 0.6)
    chance = rng.random()
    used = [band for band in bands if band in ("g", "r")] if chance < 0.6 else [b for b in bands if b not in ("u", "y")] if chance < 0.9 else list(bands)
    band = [used[index] for index in rng.integers(0, len(used), len(mjd))]
    depths = DEPTH_LSST if deep else DEPTH_ZTF
    depth = np.array([depths[name] for name in band]) + rng.normal(0, 0.25, len(mjd))
    colour = np.array([COLOUR[name] for name in band])
    signal, template, truth = _SIGNALS[kind](rng, mjd, band, colour, midnight, 3.0 if deep else 0.0)
    err = np.sqrt((nanojansky(depth) / 5) ** 2 + (0.01 * signal) ** 2)
    flux = signal + rng.normal(0, 1, len(mjd)) * err
    found = np.flatnonzero((np.abs(flux) >= 5 * err) & (signal != 0))
    known = bool(truth.get("known", False))
    ra, dec = _position(kind, rng, midnight, deep)
    return MadeObject(
        kind, number, ra, dec, mjd.tolist(), band, flux.tolist(), err.tolist(), depth.tolist(), found.tolist(), template,
        rng.random((len(mjd), 10)).tolist(), rng.random(12).tolist(), known, truth.get("speed_deg_per_day", 0.0), truth,
    )  # fmt: skip


def _visits(kind: str, rng: np.random.Generator, nights: int, share: float) -> Floats:
    """Times of visits in days from the first midnight; a third of the nights have two, half an hour apart."""
    days = np.arange(-BASELINE, nights)
    days = days[rng.random(len(days)) < share]
    if not (days >= 0).any():
        days = np.append(days, rng.integers(0, nights))
    times = days + rng.uniform(-HALF_NIGHT, HALF_NIGHT - 0.04, len(days))
    again = times[days >= 0] if kind == "asteroid" else times[::3]
    return np.sort(np.concatenate([times, again + rng.uniform(0.015, 0.035, len(again))]))


def _position(kind: str, rng: np.random.Generator, midnight: float, deep: bool) -> tuple[float, float]:
    """A place [deg] that is up at night for the site; asteroids near the ecliptic."""
    low, high = (-0.97, 0.1) if deep else (-0.4, 0.95)
    sun = np.radians(280.46 + 0.9856474 * (midnight - 51544.5))
    tilt = np.radians(23.4393)
    if kind in PLACES and rng.random() < 0.08:
        places = PLACES[kind]
        ra, dec = places[int(rng.integers(len(places)))]
        return float(ra + rng.normal(0, 2e-5)), float(dec + rng.normal(0, 2e-5))
    if kind == "asteroid":
        for _ in range(20):
            lon, lat = sun + np.pi + rng.uniform(-1.6, 1.6), np.radians(rng.normal(0, 7))
            sine = np.sin(lat) * np.cos(tilt) + np.cos(lat) * np.sin(tilt) * np.sin(lon)
            if low < sine < high:
                break
        right = np.arctan2(np.sin(lon) * np.cos(tilt) - np.tan(lat) * np.sin(tilt), np.cos(lon))
        return float(np.degrees(right) % 360), float(np.degrees(np.arcsin(sine)))
    right = np.arctan2(np.cos(tilt) * np.sin(sun), np.cos(sun)) + np.pi + rng.uniform(-1.5, 1.5)
    return float(np.degrees(right) % 360), float(np.degrees(np.arcsin(rng.uniform(low, high))))


Signal = tuple[Floats, float, dict[str, Any]]  # true difference flux [nJy] at each visit, flux in the template, truth


def _supernova(rng: np.random.Generator, mjd: Floats, band: list[str], colour: Floats, midnight: float, fainter: float) -> Signal:
    redshift = (0.09 if not fainter else 0.4) * max(rng.random(), 0.02) ** (1 / 3)
    megaparsec = 299792.458 / 70 * redshift * (1 + 0.775 * redshift)  # H0 = 70 km/s/Mpc, q0 = -0.55
    peak = -19.3 + rng.normal(0, 0.25) + 5 * np.log10(megaparsec) + 25
    t0, rise, fall = midnight + rng.uniform(-20, 4), rng.uniform(2.5, 4.5), rng.uniform(18, 35)
    phase = (mjd - t0) / (1 + redshift)
    fades = np.array([0.7 if name in "ug" else 1.0 if name == "r" else 1.25 for name in band]) * fall
    shape = np.exp(-np.clip(phase, -60, None) / fades) / (1 + np.exp(-np.clip(phase, -60, None) / rise))
    host = peak + rng.uniform(-2, 1.5)
    truth = {"peak_mag": float(peak), "redshift": float(redshift), "peak_mjd": float(t0), "rise_days": float(rise), "fall_days": float(fall)}
    return nanojansky(peak + colour) * shape / 0.72, float(nanojansky(host)), truth


def _variable(rng: np.random.Generator, mjd: Floats, band: list[str], colour: Floats, midnight: float, fainter: float) -> Signal:
    sort = ("rr_lyrae", "eclipsing", "long_period")[int(rng.choice(3, p=(0.45, 0.35, 0.2)))]
    low, high = {"rr_lyrae": (0.35, 0.8), "eclipsing": (0.3, 6), "long_period": (60, 400)}[sort]
    mean, period = rng.uniform(14.5, 18.5) + fainter, float(np.exp(rng.uniform(np.log(low), np.log(high))))
    size = rng.uniform(0.3, 1.2)
    phase = (mjd / period + rng.random()) % 1
    if sort == "rr_lyrae":  # rises in a sixth of the period, fades in the rest
        change = size * np.where(phase < 0.84, phase / 0.84 - 0.5, 0.5 - (phase - 0.84) / 0.16)
    elif sort == "eclipsing":  # two eclipses, the second one shallower
        change = size * (np.clip(1 - np.minimum(phase, 1 - phase) / 0.08, 0, 1) + 0.5 * np.clip(1 - np.abs(phase - 0.5) / 0.08, 0, 1)) - 0.02
    else:
        change = size * np.sin(2 * np.pi * phase)
    template = nanojansky(mean + colour)
    truth = {"type": sort, "mean_mag": float(mean), "period_days": period, "amplitude_mag": float(size)}
    return template * (10 ** (-0.4 * change) - 1), float(nanojansky(mean)), truth


def _microlensing(rng: np.random.Generator, mjd: Floats, band: list[str], colour: Floats, midnight: float, fainter: float) -> Signal:
    base, t_e, u0, t0 = rng.uniform(16.5, 19) + fainter, rng.uniform(10, 60), rng.uniform(0.05, 0.6), midnight + rng.uniform(-10, 8)
    u = np.sqrt(u0**2 + ((mjd - t0) / t_e) ** 2)
    magnified = (u**2 + 2) / (u * np.sqrt(u**2 + 4))  # Paczynski 1986, eq. 2
    truth = {"baseline_mag": float(base), "t_e_days": float(t_e), "u0": float(u0), "peak_mjd": float(t0)}
    return nanojansky(base + colour) * (magnified - 1), float(nanojansky(base)), truth


def _asteroid(rng: np.random.Generator, mjd: Floats, band: list[str], colour: Floats, midnight: float, fainter: float) -> Signal:
    mag, speed, known = rng.uniform(16.5, 19.8) + fainter, rng.uniform(0.05, 0.4), bool(rng.random() < 0.75)
    there = mjd > midnight - HALF_NIGHT - 0.01
    truth = {"mag": float(mag), "speed_deg_per_day": float(speed), "known": known}
    return np.where(there, nanojansky(mag + 0.1 * rng.normal(size=len(mjd)) + colour), 0.0), 0.0, truth


def _bogus(rng: np.random.Generator, mjd: Floats, band: list[str], colour: Floats, midnight: float, fainter: float) -> Signal:
    there = (mjd > midnight - HALF_NIGHT - 0.01) & (rng.random(len(mjd)) < 0.5)
    there[-1] = True
    signal = nanojansky(rng.uniform(17, 20, len(mjd)) + fainter) * rng.choice([-1, 1], len(mjd))
    return np.where(there, signal, 0.0), 0.0, {}


_SIGNALS = {"supernova": _supernova, "variable": _variable, "asteroid": _asteroid, "microlensing": _microlensing, "bogus": _bogus}

__all__ = ["COLOUR", "EPOCHS", "KINDS", "MadeObject", "first_midnight", "make_objects", "nanojansky"]
