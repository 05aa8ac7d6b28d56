"""Periods of many light curves at once: an FFT periodogram of all bands together proposes, weighted fits of waves and shapes tell the proposals apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from fink_broker.curve import BANDS, Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HIGHEST = 10.0  # frequency [1/d]: a contact binary shows half its orbit, 0.1 d at least
OVERSAMPLING = 3.0  # steps in a resolution element; a peak is refined afterwards
LEAST_DAYS = 3.0
LEAST_IN_BAND = 4
PEAKS = 24  # of the periodogram: with twenty points the true one is among them, but seldom the highest
KEPT = 8  # of them, after a weighted fit
ROUGH = 0.1  # variance that a wave leaves of any star, in units of the band's: no point is worth more than this
_OFFSETS = np.array([-0.5, -0.25, 0.0, 0.25, 0.5])
_TURNS = np.array([-0.06, -0.03, 0.0, 0.03, 0.06])  # shapes are tried so far [of a period] from where the wave has its maximum
_SMALLEST, _LARGEST = 10, 17  # the grid has 2^k + 1 frequencies
_SHAPE = 256  # steps of a period


@dataclass(frozen=True)
class Fold:
    """What was found of each light curve that has enough points; the others are not in it. Of KEPT periods each (columns), the best fit first."""

    row: Ints
    number: Floats  # points
    days: Floats  # first to last
    signal: Floats  # of the highest peak against the periodogram's scatter
    frequency: Floats  # [1/d]; columns
    left: dict[str, Floats]  # share of the variance left by a wave ("one"), two harmonics ("two"), two of half the frequency ("half"), shapes; columns
    waves: Floats  # cosine and sine of the first and second harmonic, in units of the scatter of a band; (light curve, column, 4)
    broken: Floats  # how far the wave goes beyond the upper limits [sigma, root of the mean square]; columns
    false_alarm: Floats  # of the best wave
    band: Ints  # with most points
    scatter: Floats  # of that band [nJy]

    def moved(self, rows: int) -> Fold:
        """The same with rows counted from elsewhere."""
        return replace(self, row=self.row + rows)


def joined(folds: Sequence[Fold]) -> Fold:
    """Several in one."""

    def whole(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(one, name) for one in folds])

    left = {name: np.concatenate([one.left[name] for one in folds]) for name in folds[0].left}
    return Fold(
        whole("row"), whole("number"), whole("days"), whole("signal"), whole("frequency"), left, whole("waves"), whole("broken"), whole("false_alarm"),
        whole("band"), whole("scatter"),
    )  # fmt: skip


@dataclass(frozen=True)
class Levelled:
    """Points of light curves with enough of them, by light curve, band and time; values in units of the band's scatter."""

    points: Points
    value: Floats  # flux less the band's weighted mean
    weight: Floats
    place: Ints  # which light curve
    time: Floats  # since its first point [d]
    group: Ints  # which light curve and band
    first: Ints  # first point of each light curve
    first_group: Ints  # first group of each light curve
    first_of: Ints  # first point of each group


def fold(points: Points, least: int) -> tuple[Fold, Levelled]:
    """The likeliest periods, and the points that were used."""
    used, row, mean, spread, often = _level(points, least)
    number = np.diff(np.append(used.first, len(used.value)))
    days = np.maximum.reduceat(used.time, used.first) if len(row) else np.empty(0)
    step = _step(days)[:, None]
    peaks, signal = _peaks(used, number, days)
    peaks = np.maximum(peaks, step)
    rough, _, _ = _fit(used, peaks, 1)
    order = np.argsort(rough, axis=1, kind="stable")[:, :KEPT]
    peaks = np.take_along_axis(peaks, order, axis=1)
    tried = np.maximum(peaks[:, :, None] + _OFFSETS * step[:, :, None], step[:, :, None])
    share, _, _ = _fit(used, tried.reshape(len(row), KEPT * len(_OFFSETS)), 1)
    share = share.reshape(tried.shape)
    best = share.argmin(axis=2)[:, :, None] if len(row) else np.empty((0, KEPT, 1), int)
    frequency, one = (np.take_along_axis(values, best, axis=2)[:, :, 0] for values in (tried, share))
    order = np.argsort(one, axis=1, kind="stable")
    frequency, one = (np.take_along_axis(values, order, axis=1) for values in (frequency, one))
    _, wave, level = _fit(used, frequency, 1)
    two, waves, _ = _fit(used, frequency, 2)
    half, _, _ = _fit(used, frequency / 2, 2)
    top = np.arctan2(wave[..., 1], wave[..., 0]) / (2 * np.pi)  # where the wave has its maximum, in turns
    left = {"one": one, "two": two, "half": half, "saw": _shaped(used, frequency, top, "saw"), "dip": _shaped(used, frequency, top + 0.5, "dip")}
    broken = _broken(points, row, used, frequency, wave, level, mean, spread)
    alarm = false_alarm(1 - one[:, 0] if len(row) else np.empty(0), number, used.time, used.place)
    band = often[row]
    found = Fold(row, number.astype(float), days, signal, frequency, left, waves, broken, alarm, band, spread[row, band])
    return found, used


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


def _level(points: Points, least: int) -> tuple[Levelled, Ints, Floats, Floats, Ints]:
    """Measured points of light curves with enough of them; which those are; mean and scatter [nJy] of each (row, band), and the row's commonest band."""
    chosen = points.flux != 0  # no upper limits
    number = int(points.row.max()) + 1 if len(points.row) else 0
    size = number * len(BANDS)
    key = points.row * len(BANDS) + points.band
    count = np.bincount(key[chosen], minlength=size)
    chosen &= (count >= LEAST_IN_BAND)[key]
    oldest = np.zeros(number)
    newest = np.full(number, -np.inf)
    np.minimum.at(oldest, points.row[chosen], points.age[chosen])
    np.maximum.at(newest, points.row[chosen], points.age[chosen])
    good = (np.bincount(points.row[chosen], minlength=number) >= least) & (newest - oldest >= LEAST_DAYS)
    chosen = np.flatnonzero(chosen & good[points.row])
    chosen = chosen[np.argsort(key[chosen], kind="stable")]
    points, key = points.take(chosen), key[chosen]
    count = np.bincount(key, minlength=size)
    plain = np.bincount(key, points.flux, size) / np.maximum(count, 1)
    spread = np.maximum(np.sqrt(np.bincount(key, (points.flux - plain[key]) ** 2, size) / np.maximum(count, 1)), 1e-9)
    weight = 1 / ((points.err / spread[key]) ** 2 + ROUGH)
    mean = np.bincount(key, weight * points.flux, size) / np.maximum(np.bincount(key, weight, size), 1e-300)
    row, first, place = np.unique(points.row, return_index=True, return_inverse=True)
    keys, first_of, group = np.unique(key, return_index=True, return_inverse=True)
    _, first_group = np.unique(keys // len(BANDS), return_index=True)
    used = Levelled(
        points, (points.flux - mean[key]) / spread[key], weight, place, points.age - oldest[points.row], group, first, first_group, first_of
    )  # fmt: skip
    shape = (number, len(BANDS))
    return used, row, mean.reshape(shape), spread.reshape(shape), count.reshape(shape).argmax(axis=1) if number else np.empty(0, np.int64)


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


def _peaks(used: Levelled, number: Ints, days: Floats) -> tuple[Floats, Floats]:
    """Frequencies of the highest peaks [1/d], and the signal-to-noise ratio of the first."""
    found, signal = np.zeros((len(number), PEAKS)), np.zeros(len(number))
    order = np.lexsort((used.time, used.place))
    time, value = used.time[order], used.value[order]
    for place, size in enumerate(_size(days)):
        one = slice(used.first[place], used.first[place] + number[place])
        made = _extractor(int(size))(time[one] + 1e-9 * np.arange(number[place]), value[one], sorted=True, check=False, fill_value=0.0)
        found[place], signal[place] = made[::2], made[1]
    with np.errstate(divide="ignore"):
        return np.where(found > 0, 1 / found, 0), signal


def _solve(used: Levelled, terms: list[Floats]) -> tuple[Floats, Floats, Floats]:
    """Least squares of terms (point, column) with a level of each band: share of the variance left, heights of the terms, levels (group, column)."""
    weight, columns, size = used.weight[:, None], terms[0].shape[1], len(terms)
    of_group = np.add.reduceat(used.weight, used.first_of)[:, None]
    weighted = [weight * term for term in terms]
    sums = [np.add.reduceat(term, used.first_of, axis=0) for term in weighted]
    matrix, right = np.empty((len(used.first), columns, size, size)), np.empty((len(used.first), columns, size))
    for one in range(size):
        right[..., one] = np.add.reduceat(weighted[one] * used.value[:, None], used.first, axis=0)  # values have no mean left
        for other in range(one, size):
            whole = np.add.reduceat(weighted[one] * terms[other], used.first, axis=0)
            matrix[..., one, other] = whole - np.add.reduceat(sums[one] * sums[other] / of_group, used.first_group, axis=0)
            matrix[..., other, one] = matrix[..., one, other]
    total = np.add.reduceat(used.weight, used.first)
    matrix += np.eye(size) * (1e-3 * total)[:, None, None, None]  # holds the heights back where points leave them free
    heights = np.linalg.solve(matrix, right[..., None])[..., 0]
    variance = np.add.reduceat(used.weight * used.value**2, used.first)
    gained = (2 * heights * right).sum(axis=-1) - (heights[..., None, :] @ matrix @ heights[..., :, None])[..., 0, 0]
    row_of = np.repeat(np.arange(len(used.first)), np.diff(np.append(used.first_group, len(used.first_of))))
    level = -sum(heights[row_of, :, place] * sums[place] for place in range(size)) / of_group
    return np.clip(1 - gained / np.maximum(variance, 1e-9)[:, None], 0, 1), heights, level


def _fit(used: Levelled, frequency: Floats, number: int) -> tuple[Floats, Floats, Floats]:
    """The same of so many harmonics of each frequency (columns); heights are cosine and sine of each."""
    if not len(used.first):
        return np.empty(frequency.shape), np.empty((*frequency.shape, 2 * number)), np.empty((0, frequency.shape[1]))
    phase = 2 * np.pi * used.time[:, None] * frequency[used.place]
    cosine, sine = np.cos(phase), np.sin(phase)
    terms = [cosine, sine]
    if number == 2:
        terms += [cosine**2 - sine**2, 2 * sine * cosine]
    return _solve(used, terms)


@lru_cache(maxsize=2)
def _shape(name: str) -> Floats:
    """A period of an asymmetric pulsation as in RR Lyrae of type ab, or of a narrow eclipse, its extremum at the place of the first harmonic's."""
    phase = np.arange(_SHAPE) / _SHAPE
    if name == "saw":
        rise = 0.2
        up, down = np.clip((phase - (1 - rise)) / rise, 0, 1), phase / (1 - rise)
        change = np.where(phase < 1 - rise, (1 - np.exp(-2.2 * down)) / (1 - np.exp(-2.2)) - 0.5, 0.5 - (3 * up**2 - 2 * up**3))
        flux = 10 ** (-0.4 * 0.8 * change)
    else:
        flux = -np.exp(-((np.minimum(phase, 1 - phase) / 0.12) ** 4))
    flux = (flux - flux.mean()) / flux.std()
    first = np.angle(np.fft.rfft(flux)[1]) + (np.pi if name == "dip" else 0.0)
    return np.roll(flux, round(first / (2 * np.pi) * _SHAPE))


def _shaped(used: Levelled, frequency: Floats, top: Floats, name: str) -> Floats:
    """Share of the variance that a shape leaves, upright, at the best of some turns."""
    if not len(used.first):
        return np.empty(frequency.shape)
    shape, best = _shape(name), np.ones(frequency.shape)
    turns = used.time[:, None] * frequency[used.place] - top[used.place]
    for turn in _TURNS:
        index = np.floor((turns - turn) * _SHAPE + 0.5).astype(np.int64) & (_SHAPE - 1)
        share, heights, _ = _solve(used, [shape[index]])
        best = np.minimum(best, np.where(heights[..., 0] > 0, share, 1.0))
    return best


def _broken(points: Points, row: Ints, used: Levelled, frequency: Floats, wave: Floats, level: Floats, mean: Floats, spread: Floats) -> Floats:
    """How far waves go beyond upper limits, which are 5 sigma, at the times of the limits."""
    found = np.zeros(frequency.shape)
    if not len(row):
        return found
    groups = np.full((int(points.row.max()) + 1, len(BANDS)), -1)
    groups[used.points.row[used.first_of], used.points.band[used.first_of]] = np.arange(len(used.first_of))
    dark = np.flatnonzero((points.flux == 0) & (groups[points.row, points.band] >= 0))
    if not len(dark):
        return found
    here, band = points.row[dark], points.band[dark]
    place, unit = np.searchsorted(row, here), spread[here, band]
    start = used.points.age[used.first] - used.time[used.first]  # age at time 0
    phase = 2 * np.pi * (points.age[dark] - start[place])[:, None] * frequency[place]
    flux = level[groups[here, band]] + wave[place, :, 0] * np.cos(phase) + wave[place, :, 1] * np.sin(phase) + (mean[here, band] / unit)[:, None]
    sigma = np.hypot(points.err[dark] / unit, np.sqrt(ROUGH))[:, None]
    beyond = np.maximum(np.abs(flux) - 5 * (points.err[dark] / unit)[:, None], 0) / sigma
    count = np.bincount(place, minlength=len(row))
    which = np.flatnonzero(count)
    found[which] = np.sqrt(np.add.reduceat(beyond**2, (np.cumsum(count) - count)[which], axis=0) / count[which][:, None])
    return found
