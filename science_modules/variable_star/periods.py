"""Periods of many light curves at once: an FFT periodogram of all bands together, then fits of two harmonics at its peaks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from fink_broker.curve import BANDS, Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HIGHEST = 8.0  # frequency [1/d]
OVERSAMPLING = 5.0  # steps in a resolution element
LEAST_DAYS = 3.0
LEAST_IN_BAND = 4
PEAKS = 4
_OFFSETS = np.array([-0.5, -0.25, 0.0, 0.25, 0.5])
_SMALLEST, _LARGEST = 10, 17  # the grid has 2^k + 1 frequencies


@dataclass(frozen=True)
class Fold:
    """What was found of each light curve that has enough points; the others are not in it."""

    row: Ints
    number: Floats  # points
    days: Floats  # first to last
    frequency: Floats  # [1/d]
    signal: Floats  # of the highest peak against the periodogram's scatter
    chi2: Floats  # share of the variance left by: one harmonic, two, two at half the frequency; columns
    harmonics: Floats  # cosine and sine of the first and second, in units of the scatter of a band; columns
    false_alarm: Floats
    band: Ints  # with most points
    scatter: Floats  # of that band [nJy]
    epoch: Floats  # age at which phases are 0 [d]


def fold(points: Points, least: int) -> tuple[Fold, Points, Floats]:
    """Best periods, the points that were used, and their values: flux less the band's mean, in units of the band's scatter."""
    points, value, spread, often = _level(points, least)
    rows, first = np.unique(points.row, return_index=True)
    ends = np.append(first[1:], len(points.row))
    days = points.age[ends - 1] - points.age[first] if len(rows) else np.empty(0)
    long = days >= LEAST_DAYS
    kept = np.repeat(long, ends - first)
    points, value = points.take(kept), value[kept]
    number, days, rows = (ends - first)[long], days[long], rows[long]
    first = np.cumsum(number) - number
    epoch = points.age[first]
    peaks, signal = _peaks(points.age, value, first, number, days)
    place = np.repeat(np.arange(len(rows)), number)
    time = points.age - epoch[place]
    step = _step(days)
    tried = np.concatenate([peaks + offset * step[:, None] for offset in _OFFSETS], axis=1)
    chi2, _ = _harmonics(time, value, place, first, np.maximum(tried, step[:, None]), 2)
    best = np.maximum(tried, step[:, None])[np.arange(len(rows)), chi2.argmin(axis=1)]
    alone, _ = _harmonics(time, value, place, first, best[:, None], 1)
    both, terms = _harmonics(time, value, place, first, np.stack([best, best / 2], axis=1), 2)
    band = often[rows]
    found = Fold(
        rows, number.astype(float), days, best, signal, np.column_stack([alone, both]), terms[:, 0],
        false_alarm(1 - alone[:, 0], number, time, place), band, spread[rows, band], epoch,
    )  # fmt: skip
    return found, points, value


def false_alarm(power: Floats, number: Ints, time: Floats, place: Ints) -> Floats:
    """Chance that noise alone gives a peak so high at any frequency up to HIGHEST (Baluev 2008, MNRAS 385, 1279), of the standard power."""
    mean = np.bincount(place, time, len(number)) / np.maximum(number, 1)
    variance = np.bincount(place, (time - mean[place]) ** 2, len(number)) / np.maximum(number, 1)
    wide = HIGHEST * np.sqrt(4 * np.pi * variance)
    free, rest = number - 1.0, np.clip(1 - power, 1e-300, 1)
    single = rest ** (0.5 * (number - 3))
    gamma = np.sqrt(2 / free) * np.exp(gammaln(free / 2) - gammaln((free - 1) / 2))
    tau = gamma * wide * rest ** (0.5 * (number - 4)) * np.sqrt(0.5 * free * np.clip(power, 0, 1))
    found: Floats = 1 - (1 - single) * np.exp(-tau)
    return np.where(found < 1e-9, single + tau, found)


def _level(points: Points, least: int) -> tuple[Points, Floats, Floats, Ints]:
    """Measured points of light curves with enough of them, levelled by band; scatter of each (row, band), and the commonest band."""
    chosen = points.flux != 0  # no upper limits
    number = int(points.row.max()) + 1 if len(points.row) else 0
    size = number * len(BANDS)
    key = points.row * len(BANDS) + points.band
    count = np.bincount(key[chosen], minlength=size)
    chosen &= (count >= LEAST_IN_BAND)[key]
    many = np.bincount(points.row[chosen], minlength=number)
    chosen &= (many >= least)[points.row]
    points, key = points.take(chosen), key[chosen]
    count = np.bincount(key, minlength=size)
    mean = np.bincount(key, points.flux, size) / np.maximum(count, 1)
    left = points.flux - mean[key]
    spread = np.sqrt(np.bincount(key, left**2, size) / np.maximum(count, 1))
    value = left / np.maximum(spread[key], 1e-9)
    return points, value, spread.reshape(number, len(BANDS)), count.reshape(number, len(BANDS)).argmax(axis=1)


def _size(days: Floats) -> Ints:
    """Exponent of the frequency grid for light curves of a length."""
    return np.clip(np.ceil(np.log2(HIGHEST * OVERSAMPLING * np.maximum(days, 1e-3))), _SMALLEST, _LARGEST).astype(np.int64)


def _step(days: Floats) -> Floats:
    found: Floats = HIGHEST / 2.0 ** _size(days)
    return found


@lru_cache(maxsize=16)
def _extractor(size: int) -> Any:
    import light_curve

    return light_curve.Periodogram(peaks=PEAKS, freqs=np.linspace(0, 2 * np.pi * HIGHEST, 2**size + 1), fast=True)


def _peaks(age: Floats, value: Floats, first: Ints, number: Ints, days: Floats) -> tuple[Floats, Floats]:
    """Frequencies of the highest peaks [1/d], and the signal-to-noise ratio of the first."""
    found, signal = np.zeros((len(first), PEAKS)), np.zeros(len(first))
    sizes = _size(days)
    for size in np.unique(sizes):
        mine = np.flatnonzero(sizes == size)
        curves = [(age[a : a + n] - age[a], value[a : a + n], None) for a, n in zip(first[mine], number[mine], strict=True)]
        made = np.asarray([_extractor(int(size))(t + 1e-9 * np.arange(len(t)), m, sorted=True, check=False, fill_value=0.0) for t, m, _ in curves])
        with np.errstate(divide="ignore"):
            found[mine] = np.where(made[:, ::2] > 0, 1 / made[:, ::2], 0)
        signal[mine] = made[:, 1]
    return found, signal


def _harmonics(time: Floats, value: Floats, place: Ints, first: Ints, frequency: Floats, number: int) -> tuple[Floats, Floats]:
    """Share of the variance that harmonics of each frequency (columns) leave, and their heights (cosine, sine of each)."""
    if not len(first):
        return np.empty((0, frequency.shape[1])), np.empty((0, frequency.shape[1], 2 * number))
    phase = 2 * np.pi * time[:, None] * frequency[place]
    terms = [np.ones_like(phase)]
    for harmonic in range(1, number + 1):
        terms += [np.cos(harmonic * phase), np.sin(harmonic * phase)]
    size = len(terms)
    matrix, right = np.empty((len(first), frequency.shape[1], size, size)), np.empty((len(first), frequency.shape[1], size))
    for one in range(size):
        right[..., one] = np.add.reduceat(terms[one] * value[:, None], first, axis=0)
        for other in range(one, size):
            matrix[..., one, other] = matrix[..., other, one] = np.add.reduceat(terms[one] * terms[other], first, axis=0)
    matrix += np.eye(size) * 1e-6 * matrix[..., :1, :1]
    heights = np.linalg.solve(matrix, right[..., None])[..., 0]
    total = np.add.reduceat(value**2, first)
    left = 1 - (heights * right).sum(axis=-1) / np.maximum(total, 1e-9)[:, None]
    return np.clip(left, 0, 1), heights[..., 1:]
