"""When a survey looked where: the visits of all its fields over a span of time, the same for everything in a field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.observatory import Observatory
from fink_broker.skysim.places import DEEP, sun_longitude

NEW_MOON, MONTH = 51549.76, 29.530589  # [d] (Meeus, Astronomical Algorithms, chapter 49)
# Pairs of bands that LSST takes one after the other in a night, and how often (Ivezic et al. 2019: u 6, g 9, r 22, i 22, z 20, y 21 % of the visits).
PAIRS = (("u", "g"), ("g", "r"), ("r", "i"), ("i", "z"), ("z", "y"), ("y", "y"))
PAIR_SHARES = (0.12, 0.07, 0.38, 0.1, 0.26, 0.07)


@dataclass(frozen=True)
class Schedule:
    """Visits by field, in time order within a field: time [d, TAI], band (its place), 5-sigma depth [mag], seeing [arcsec]."""

    site: Observatory
    first: float
    days: float
    start: Ints  # first visit of each field
    count: Ints
    mjd: Floats
    band: Ints
    depth: Floats
    seeing: Floats
    rows: Ints  # fields in each row of declination
    row_start: Ints
    settled: Ints  # first visit of each field that has a history behind it

    def field_of(self, ra: Floats, dec: Floats) -> Ints:
        """Field of each place [deg]; the deep fields come after the grid."""
        low, step = self.site.dec_range[0], self.site.field_deg
        row = np.clip(((dec - low) / step).astype(np.int64), 0, len(self.rows) - 1)
        field: Ints = self.row_start[row] + np.minimum((ra / 360 * self.rows[row]).astype(np.int64), self.rows[row] - 1)
        if len(self.start) > self.rows.sum():
            for place, (deep_ra, deep_dec) in enumerate(DEEP):
                near = np.hypot((ra - deep_ra) * np.cos(np.radians(deep_dec)), dec - deep_dec) < 1.75
                field[near] = self.rows.sum() + place
        return field

    def watched(self, ra: Floats, dec: Floats) -> NDArray[np.bool_]:
        """Whether places are visited at a time that has a history behind it."""
        field = self.field_of(ra, dec)
        found: NDArray[np.bool_] = self.start[field] + self.count[field] > self.settled[field]
        return found

    def visits(self, field: Ints) -> tuple[Ints, Ints]:
        """For things in these fields: (which thing, which visit), thing by thing in time order."""
        count = self.count[field]
        who = np.repeat(np.arange(len(field)), count)
        before = np.concatenate([[0], np.cumsum(count)[:-1]])
        return who, np.arange(count.sum()) - np.repeat(before - self.start[field], count)

    def some_visit(self, rng: np.random.Generator, field: Ints) -> Floats:
        """Time of a visit of each field, any of those with a history behind them; nan where there is none."""
        count = self.start[field] + self.count[field] - self.settled[field]
        chosen = self.settled[field] + np.minimum((rng.random(len(field)) * count).astype(np.int64), np.maximum(count - 1, 0))
        found: Floats = np.where(count > 0, self.mjd[np.minimum(chosen, len(self.mjd) - 1)], np.nan)
        return found


def schedule(site: Observatory, first_mjd: float, days: float, seed: int, dense_share: float = 0.0) -> Schedule:
    """The plan of a survey for `days` nights from `first_mjd` [d, TAI]; one seed, one weather; `dense_share` of ZTF's fields as `_dense` says."""
    rng = np.random.default_rng([seed, 0x5C4ED])
    rows, ra, _ = grid_of(site)
    if site.name == "lsst":
        ra = np.concatenate([ra, [place[0] for place in DEEP]])
    nights = np.arange(round(days))
    midnight = np.floor(first_mjd) + nights + (-site.longitude_deg / 360) % 1
    clear = rng.random(len(nights)) < site.clear_share
    late = nights >= site.settle_days
    clear[late] |= not clear[late].any()  # a simulation without a clear night is of no use
    seeing = site.seeing_arcsec * np.exp(rng.normal(0, 0.12, len(nights)))
    haze = np.abs(rng.normal(0, site.depth_scatter, len(nights)))
    moon = (1 - np.cos(2 * np.pi * (midnight - NEW_MOON) / MONTH)) / 2
    noon = np.degrees(sun_longitude(midnight)) + 180  # right ascension at midnight, near enough
    plans = []
    grid = int(rows.sum())
    for field in range(len(ra)):
        dice = np.random.default_rng([seed, 0xF1E1D, field])
        ahead = (ra[field] - noon + 180) % 360 - 180  # how long before or after midnight it culminates [deg]
        up = np.flatnonzero(clear & (np.abs(ahead) < 105))
        dense = site.name == "ztf" and np.random.default_rng([seed, 0xDE25E, field]).random() < dense_share
        when, band = (_dense if dense else _ztf if site.name == "ztf" else _deep if field >= grid else _wide)(dice, field, up, moon)
        night, offset = when[:, 0].astype(np.int64), when[:, 1]
        hours = np.clip(ahead[night] / 15 + (_steady(dice, night)), -4.2, 3.6)
        offset = np.where(hours / 24 + offset > 0.2, -offset, offset)  # not into the dawn
        mjd = midnight[night] + hours / 24 + offset
        order = np.argsort(mjd, kind="stable")
        night, band, mjd = night[order], band[order], mjd[order]
        depth = np.array(site.depth)[band] - np.array(site.moonlight)[band] * (moon[night] - 0.35) - haze[night]
        depth += site.depth_scatter / 2 + dice.normal(0, 0.18, len(mjd)) - 2 * (np.log10(seeing[night] / site.seeing_arcsec))
        plans.append((mjd, band, depth, seeing[night] * np.exp(dice.normal(0, 0.12, len(mjd)))))
    count = np.array([len(plan[0]) for plan in plans])
    mjd, band, depth, blur = (np.concatenate(column) for column in zip(*plans, strict=True))
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    early = np.array([np.searchsorted(plan[0], first_mjd + site.settle_days) for plan in plans])
    return Schedule(site, first_mjd, days, starts, count, mjd, band, depth, blur, rows, np.concatenate([[0], np.cumsum(rows)[:-1]]), starts + early)


def grid_of(site: Observatory) -> tuple[Ints, Floats, Floats]:
    """Fields in each row of declination, and the middle of each field [deg]."""
    low, high = site.dec_range
    rows_dec = np.arange(low, high, site.field_deg) + site.field_deg / 2
    rows = np.maximum((360 * np.cos(np.radians(rows_dec)) / site.field_deg).astype(np.int64), 1)
    return rows, np.concatenate([(np.arange(n) + 0.5) * 360 / n for n in rows]), np.repeat(rows_dec, rows)


def _steady(dice: np.random.Generator, night: Ints) -> Floats:
    """Hours from culmination at which a field's turn comes, one number a night."""
    per_night = dice.uniform(-2.2, 2.2, int(night.max()) + 1 if len(night) else 1)
    found: Floats = per_night[night]
    return found


def _ztf(dice: np.random.Generator, field: int, up: Ints, moon: Floats) -> tuple[Floats, Ints]:
    """Public survey: every second, third or fifth night, mostly in g and r, half an hour or more apart; a twentieth of the fields daily and often; some i."""
    often, with_i = dice.random() < 0.04, dice.random() < 0.25
    period = 1 if often else int(dice.choice([2, 3, 5], p=(0.5, 0.35, 0.15)))
    chosen = up[((up + field) % period == 0) & (dice.random(len(up)) < 0.85)]
    n = len(chosen)
    first_g = dice.random(n) < 0.45
    both = dice.random(n) < (0.95 if often else 0.65)
    when = [np.column_stack([chosen, np.zeros(n)]), np.column_stack([chosen[both], dice.uniform(0.02, 0.09, both.sum())])]
    band = [np.where(first_g, 0, 1), np.where(first_g, 1, 0)[both]]
    again = dice.random(n) < (0.9 if often else 0.12)
    for _ in range(2 if often else 1):
        when.append(np.column_stack([chosen[again], dice.uniform(0.03, 0.2, again.sum())]))
        band.append((dice.random(again.sum()) < 0.7).astype(np.int64))
    third = chosen[dice.random(n) < 0.3] if with_i else chosen[:0]
    when.append(np.column_stack([third, dice.uniform(0.02, 0.12, len(third))]))
    band.append(np.full(len(third), 2))
    times, bands = np.concatenate(when), np.concatenate(band).astype(np.int64)
    twice = dice.random(len(times)) < (0.75 if dice.random() < 0.35 else 0.05)  # by the neighbouring field, which overlaps, a minute or so later
    later = times[twice] + np.column_stack([np.zeros(twice.sum()), dice.choice([0.00047, 0.0009, 0.0014, 0.003], int(twice.sum()))])
    return np.concatenate([times, later]), np.concatenate([bands, bands[twice]])


def _dense(dice: np.random.Generator, field: int, up: Ints, moon: Floats) -> tuple[Floats, Ints]:
    """High-cadence programmes (Bellm et al. 2019, PASP 131, 068003; Kupfer et al. 2021, MNRAS 505, 1254): runs of nights, in most fields in one band, three to
    forty visits a night within hours; every second field is watched by the public survey, too."""
    only = int(dice.random() < 0.8)  # r, as the Galactic plane
    both = dice.random() < 0.25
    length = int(dice.integers(2, 15))
    chosen = up[(up + field) % (length + int(dice.integers(5, 40))) < length]
    visits = dice.poisson(np.exp(dice.uniform(np.log(3), np.log(40))), len(chosen)) + 1
    when = np.column_stack([np.repeat(chosen, visits), dice.uniform(0, dice.uniform(0.06, 0.2), visits.sum())])
    band = np.where((dice.random(len(when)) < 0.5) & both, 1 - only, only).astype(np.int64)
    if dice.random() < 0.5:
        public, bands = _ztf(dice, field, up, moon)
        when, band = np.concatenate([when, public]), np.concatenate([band, bands])
    return when, band


def _wide(dice: np.random.Generator, field: int, up: Ints, moon: Floats) -> tuple[Floats, Ints]:
    """Wide-fast-deep: a pair of visits, 33 minutes apart, every fourth night or so, in bands that suit the moon."""
    chosen = up[dice.random(len(up)) < 0.27]
    bands = {letter: place for place, letter in enumerate("ugrizy")}
    pairs = np.array([[bands[a], bands[b]] for a, b in PAIRS])
    dark, bright = np.array(PAIR_SHARES), np.array(PAIR_SHARES) * (0, 0.3, 1, 2, 1.5, 1.5)
    shares = np.where((moon[chosen] < 0.5)[:, None], dark / dark.sum(), bright / bright.sum())
    which = (dice.random(len(chosen))[:, None] > np.cumsum(shares, axis=1)).sum(axis=1).clip(0, len(PAIRS) - 1)
    pair = dice.permuted(pairs[which], axis=1) if len(which) else pairs[which]
    gap = dice.normal(0.023, 0.004, len(chosen)).clip(0.01)
    when = np.concatenate([np.column_stack([chosen, np.zeros(len(chosen))]), np.column_stack([chosen, gap])])
    return when, np.concatenate([pair[:, 0], pair[:, 1]]).astype(np.int64)


def _deep(dice: np.random.Generator, field: int, up: Ints, moon: Floats) -> tuple[Floats, Ints]:
    """Deep drilling: some nights a run of visits in each of two to four bands, 40 seconds apart (in March 2026: 5 to 80 in a band, half of them above 20), and
    the survey around as everywhere."""
    chosen = up[dice.random(len(up)) < 0.15]
    wide, bands = _wide(dice, field, up, moon)
    when, band = [wide], [bands]
    for night in chosen:
        begin = 0.0
        letters = dice.permutation([1, 2, 3, 4] if moon[night] < 0.5 else [2, 3, 4, 5])[: dice.integers(2, 5)]
        run = np.exp(dice.uniform(np.log(5), np.log(40)))
        for letter in letters:
            times = begin + 0.000468 * np.arange(int(run * np.exp(dice.normal(0, 0.3))) + 2) + dice.normal(0, 3e-6)
            begin = times[-1] + 0.0018
            when.append(np.column_stack([np.full(len(times), night), times]))
            band.append(np.full(len(times), letter))
    return np.concatenate(when), np.concatenate(band).astype(np.int64)
