"""Made-up things on the sky, with the fluxes that a survey would measure of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
KINDS = ("supernova", "variable", "asteroid", "microlensing", "bogus")
SHARES = {"supernova": 0.25, "variable": 0.35, "asteroid": 0.15, "microlensing": 0.1, "bogus": 0.15}
BASELINE = 40.0  # days of earlier visits
# Magnitude offsets of a band against r, for a star or supernova of neutral colour.
COLOUR = {"u": 1.2, "g": 0.3, "r": 0.0, "i": -0.1, "z": -0.15, "y": -0.2}
# 5-sigma depth of one visit [mag AB]; ZTF's shallower ones are used for its three bands alone (Bellm et al. 2019; Ivezic et al. 2019).
DEPTH_ZTF = {"g": 20.8, "r": 20.6, "i": 19.9}
DEPTH_LSST = {"u": 23.9, "g": 25.0, "r": 24.7, "i": 24.0, "z": 23.3, "y": 22.1}
# Known variable stars and galaxies (J2000 [deg]), so that some made-up alerts have a cross-match.
PLACES = {
    "variable": [(291.36630, 42.78436), (186.00, 0.52), (34.83664, -2.97764), (47.04222, 40.95565), (337.29277, 58.41520)],
    "supernova": [(10.68471, 41.26875), (23.46208, 30.66028), (148.88822, 69.06529), (202.46958, 47.19526), (187.70593, 12.39112)],
}


@dataclass
class MadeObject:
    """One thing with its visits: times [d, TAI], bands, true and measured difference fluxes [nJy]."""

    kind: str
    number: int
    ra: float
    dec: float
    mjd: Floats
    band: list[str]
    flux: Floats
    flux_err: Floats
    depth: Floats
    template_flux: float
    known: bool = False
    speed_deg_per_day: float = 0.0
    truth: dict[str, Any] = field(default_factory=dict)

    @property
    def detections(self) -> list[int]:
        """Visits in which the difference is 5 sigma or more, of either sign."""
        return np.flatnonzero(np.abs(self.flux) >= 5 * self.flux_err).tolist()

    def place(self, epoch: int) -> tuple[float, float]:
        """Position at a visit [deg]; asteroids move east."""
        moved = self.speed_deg_per_day * (self.mjd[epoch] - self.mjd[-1]) / max(np.cos(np.radians(self.dec)), 0.1)
        return float((self.ra + moved) % 360), self.dec


def nanojansky(mag: Any) -> Any:
    """Flux [nJy] of an AB magnitude."""
    return 10 ** ((31.4 - np.asarray(mag, float)) / 2.5)


def make_objects(number: int, seed: int, bands: Sequence[str], first_mjd: float, nights: int, kinds: Sequence[str]) -> list[MadeObject]:
    """Things of several kinds, visited from BASELINE days before `first_mjd` to `nights` nights after it."""
    rng = np.random.default_rng(seed)
    shares = np.array([SHARES[kind] for kind in kinds])
    chosen = rng.choice(len(kinds), number, p=shares / shares.sum())
    return [_make(kinds[index], seed % 1_000_003 * 1000 + i, rng, bands, first_mjd, nights) for i, index in enumerate(chosen)]


def _make(kind: str, number: int, rng: np.random.Generator, bands: Sequence[str], first: float, nights: int) -> MadeObject:
    wide = len(bands) > 3
    depths = DEPTH_LSST if wide else DEPTH_ZTF
    bright = 3.0 if wide else 0.0
    if kind in ("asteroid", "bogus"):
        days: Any = np.arange(nights)[rng.random(nights) < 0.6] if rng.random() < 0.9 else np.arange(1)
        days = days if len(days) else np.zeros(1)
    else:
        days = np.arange(-BASELINE, nights)
        days = days[rng.random(len(days)) < (0.5 if wide else 0.6)]
        days = np.append(days, rng.integers(0, nights)) if not (days >= 0).any() else days
    times = np.sort(np.concatenate([days + rng.uniform(0.12, 0.42, len(days)), days[::3] + rng.uniform(0.43, 0.46, len(days[::3]))]))
    mjd = first + times
    used = [name for name in bands if name in ("g", "r")] if rng.random() < 0.7 else [b for b in bands if b not in ("u", "y")]
    band = [used[index] for index in rng.integers(0, len(used), len(mjd))]
    colour = np.array([COLOUR[name] for name in band])
    depth = np.array([depths[name] for name in band]) + rng.normal(0, 0.25, len(mjd))
    noise = nanojansky(depth) / 5
    known = False
    speed = 0.0
    truth: dict[str, Any]
    if kind == "supernova":
        peak, redshift = rng.uniform(17.2, 19.8) + bright, rng.uniform(0.01, 0.15)
        t0, rise, fall = first + rng.uniform(-18, 4), rng.uniform(2.5, 4.5), rng.uniform(18, 35)
        phase = (mjd - t0) / (1 + redshift)
        shape = np.exp(-np.clip(phase, -60, None) / fall) / (1 + np.exp(-phase / rise))
        signal = nanojansky(peak + colour) * shape / 0.72
        template = float(nanojansky(rng.uniform(17, 20.5) + bright / 2))
        truth = {"peak_mag": peak, "redshift": redshift, "peak_mjd": t0}
    elif kind == "variable":
        mean, period, size = rng.uniform(14.5, 18.5) + bright, float(np.exp(rng.uniform(np.log(0.2), np.log(200)))), rng.uniform(0.15, 0.5)
        template = float(nanojansky(mean))
        signal = template * size * np.sin(2 * np.pi * mjd / period + rng.uniform(0, 6.28)) * 10 ** (-0.4 * colour)
        truth = {"mean_mag": mean, "period_days": period, "amplitude_mag": size}
    elif kind == "microlensing":
        base, t_e, u0 = rng.uniform(16.5, 19) + bright, rng.uniform(10, 60), rng.uniform(0.05, 0.6)
        u = np.sqrt(u0**2 + ((mjd - first + rng.uniform(-5, 10)) / t_e) ** 2)
        template = float(nanojansky(base))
        signal = template * ((u**2 + 2) / (u * np.sqrt(u**2 + 4)) - 1) * 10 ** (-0.4 * colour)  # Paczynski 1986, eq. 2
        truth = {"baseline_mag": base, "t_e_days": t_e, "u0": u0}
    elif kind == "asteroid":
        mag, speed, known = rng.uniform(16.5, 19.8) + bright, rng.uniform(0.05, 0.4), bool(rng.random() < 0.75)
        signal, template = nanojansky(mag + 0.1 * rng.normal(size=len(mjd)) + colour), 0.0
        truth = {"mag": mag, "speed_deg_per_day": speed, "known": known}
    else:
        signal, template = nanojansky(rng.uniform(17, 20, len(mjd)) + bright) * rng.choice([-1, 1], len(mjd)), 0.0
        truth = {}
    err = np.sqrt(noise**2 + (0.01 * signal) ** 2)
    places = PLACES.get(kind, [])
    if places and rng.random() < 0.08:
        ra, dec = places[int(rng.integers(len(places)))]
        ra, dec = ra + rng.normal(0, 2e-5), dec + rng.normal(0, 2e-5)
    else:
        ra, dec = rng.uniform(0, 360), float(np.degrees(np.arcsin(rng.uniform(-0.4, 0.9) if not wide else rng.uniform(-0.95, 0.1))))
    return MadeObject(kind, number, float(ra), float(dec), mjd, band, signal + rng.normal(0, 1, len(mjd)) * err, err, depth, template,
                      known, speed, {name: value if isinstance(value, bool) else float(value) for name, value in truth.items()})  # fmt: skip
