"""Stars whose light repeats: RR Lyrae, Cepheids, eclipsing binaries, long-period variables."""

from __future__ import annotations

import numpy as np

from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.kind import Heaven, Kind, Things, stellar
from fink_broker.skysim.milkyway import Population, disc, halo, magnitudes

TURN = 2 * np.pi
# Amplitude of a band against g, or r where the colour says so: pulsation is stronger in the blue (Sesar et al. 2010, ApJ 708, 717; Freedman 1988).
PULSATION = {"u": 0.95, "g": 1.0, "r": 0.72, "i": 0.58, "z": 0.54, "y": 0.52}
# Where they are and how bright. RR Lyrae: M_V = 0.6 (Cacciari & Clementini 2003). Cepheids: M_V = -1.3 - 2.7 log P (Fouque et al. 2007, A&A 476, 73), height
# Skowron et al. 2019 (Science 365, 478). Contact binaries: M_V falls by 9 a decade of the period from 4.4 at a third of a day (Mateo & Rucinski 2017, AJ 154,
# 125). Giants of long period: the tip of the giant branch (M_I = -4.05, Lee et al. 1993, ApJ 417, 553) with r - I of M giants. Disc: Juric et al. 2008.
RR_LYRAE = Population(halo, 0.6, 0.2, 12.5, -0.9, 22.5)
CEPHEIDS = Population(disc(73.5), -3.2, 0.9, 12.5, -1.0, 21.5)
ECLIPSING = Population(disc(300), 4.3, 1.0, 12.3, -1.3, 22.0)
LONG_PERIOD = Population(disc(300), -2.0, 1.2, 12.3, -2.0, 20.5)
RED_GIANT = {"u": 1.3, "g": 1.15, "r": 1.0, "i": 0.65, "z": 0.55, "y": 0.5}


def _phase(things: Things, who: Ints, mjd: Floats) -> Floats:
    found: Floats = (mjd / things.truth["period_days"][who] + things.truth["phase"][who]) % 1
    return found


def _seen(things: Things, who: Ints, band: Ints, change: Floats) -> Floats:
    """Difference flux of a change in magnitude."""
    found: Floats = things.template[who, band] * (10 ** (-0.4 * np.clip(change, -8, 8)) - 1)
    return found


def _sawtooth(phase: Floats, rise: Floats) -> Floats:
    """From maximum (-0.5) slowly down (+0.5), quickly up again; rounded at both ends."""
    down = phase / (1 - rise)
    up = (phase - (1 - rise)) / rise
    fading = (1 - np.exp(-2.2 * np.minimum(down, 1))) / (1 - np.exp(-2.2)) - 0.5
    rising = 0.5 - (3 * np.clip(up, 0, 1) ** 2 - 2 * np.clip(up, 0, 1) ** 3)
    return np.where(phase < 1 - rise, fading, rising)


def _draw_rr_lyrae(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """ab and c: periods and amplitudes of Drake et al. 2013 (ApJ 763, 32) and Sesar et al. 2010, in the halo."""
    mag = magnitudes(rng, number, RR_LYRAE, heaven.site)
    things = stellar(rng, number, heaven, mag, rng.uniform(6200, 7200, number), 24.0)
    ab = rng.random(number) < 0.75
    period = np.where(ab, rng.normal(0.57, 0.065, number).clip(0.4, 0.9), rng.normal(0.33, 0.04, number).clip(0.22, 0.45))
    amplitude = np.where(ab, 0.95 - 2.6 * (period - 0.57) + rng.normal(0, 0.15, number), rng.normal(0.48, 0.08, number)).clip(0.15, 1.5)
    things.truth |= {"period_days": period, "amplitude_mag": amplitude, "phase": rng.random(number), "beat_days": rng.uniform(25, 90, number),
                     "rise_share": np.where(ab, rng.uniform(0.12, 0.22, number), rng.uniform(0.38, 0.48, number)),
                     "beat": np.where(rng.random(number) < 0.3, 0.15, 0.0)}  # fmt: skip
    return things


def _draw_cepheid(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Periods log-normal about 5 d (Chen et al. 2020, ApJS 249, 18; Soszynski et al. 2008), in the disc."""
    mag = magnitudes(rng, number, CEPHEIDS, heaven.site)
    things = stellar(rng, number, heaven, mag, rng.uniform(5200, 6300, number), 5.0)
    period = np.exp(rng.normal(np.log(4.5), 0.75, number)).clip(1.0, 80)
    amplitude = (0.5 + 0.28 * np.log10(period) + rng.normal(0, 0.15, number)).clip(0.15, 1.6)
    things.truth |= {"period_days": period, "amplitude_mag": amplitude, "phase": rng.random(number), "rise_share": rng.uniform(0.2, 0.4, number),
                     "beat_days": np.full(number, 100.0), "beat": np.zeros(number)}  # fmt: skip
    return things


def _signal_pulsation(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    """A sawtooth; some RR Lyrae with the Blazhko effect, a slow change of amplitude."""
    truth = things.truth
    size = truth["amplitude_mag"][who] * (1 + truth["beat"][who] * np.sin(TURN * mjd / truth["beat_days"][who]))
    shape = _sawtooth(_phase(things, who, mjd), truth["rise_share"][who])
    return _seen(things, who, band, size * heaven.band_values(PULSATION)[band] * shape)


def _draw_eclipsing(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Mostly contact systems of a third of a day, some detached ones of days (Chen et al. 2020: 369,707 EW, 49,943 EA)."""
    mag = magnitudes(rng, number, ECLIPSING, heaven.site)
    things = stellar(rng, number, heaven, mag, rng.uniform(4500, 7500, number), 14.0)
    contact = rng.random(number) < 0.75
    period = np.where(contact, np.exp(rng.normal(np.log(0.33), 0.22, number)), np.exp(rng.normal(np.log(1.9), 0.8, number))).clip(0.2, 60)
    depth = np.where(contact, rng.uniform(0.15, 0.85, number), 0.15 + rng.exponential(0.45, number)).clip(0.1, 2.5)
    things.truth |= {"period_days": period, "amplitude_mag": depth, "phase": rng.random(number), "contact": contact.astype(float),
                     "second_depth": depth * np.where(contact, rng.uniform(0.8, 1.0, number), rng.uniform(0.05, 1, number)),
                     "width": np.where(contact, 0.16, rng.uniform(0.03, 0.1, number))}  # fmt: skip
    return things


def _signal_eclipsing(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    truth = {name: truth[who] for name, truth in things.truth.items()}
    phase = _phase(things, who, mjd)
    first, second = np.minimum(phase, 1 - phase), np.abs(phase - 0.5)
    dips = truth["amplitude_mag"] * np.exp(-((first / truth["width"]) ** 4)) + truth["second_depth"] * np.exp(-((second / truth["width"]) ** 4))
    mean = 1.8 * truth["width"] * (truth["amplitude_mag"] + truth["second_depth"])
    round_ = truth["amplitude_mag"] * (np.cos(2 * TURN * phase) + 0.1 * np.cos(TURN * phase)) / 2  # ellipsoidal: the whole orbit
    return _seen(things, who, band, np.where(truth["contact"] > 0.5, round_, dips - mean))


def _draw_long_period(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Miras and semiregular giants: 30 to 600 d (Soszynski et al. 2009, AcA 59, 239)."""
    mag = magnitudes(rng, number, LONG_PERIOD, heaven.site)
    things = stellar(rng, number, heaven, mag, rng.uniform(2600, 3600, number), 8.0)
    mira = rng.random(number) < 0.3
    period = np.where(mira, np.exp(rng.normal(np.log(280), 0.35, number)), np.exp(rng.normal(np.log(90), 0.6, number))).clip(20, 900)
    amplitude = np.where(mira, rng.uniform(2.0, 6.0, number), np.exp(rng.normal(np.log(0.35), 0.5, number))).clip(0.1, 7)
    things.truth |= {"period_days": period, "amplitude_mag": amplitude, "phase": rng.random(number), "second": rng.uniform(0.1, 0.5, number),
                     "trend": rng.normal(0, 0.15, number)}  # fmt: skip
    return things


def _signal_long_period(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    """The main period, another about half as long, and a slow trend."""
    truth = {name: truth[who] for name, truth in things.truth.items()}
    angle = TURN * (mjd / truth["period_days"] + truth["phase"])
    shape = np.sin(angle) + truth["second"] * np.sin(1.93 * angle + 5 * truth["phase"]) + truth["trend"] * np.sin(angle / 7.1)
    return _seen(things, who, band, 0.42 * truth["amplitude_mag"] * heaven.band_values(RED_GIANT)[band] * shape)


# Numbers in ZTF: Chen et al. 2020 (46,393 RR Lyrae, 1,262 and 358 Cepheids, 419,650 eclipsing binaries, 11,879 Miras and 119,261 semiregular giants); of the
# last three about those alert whose changes are above 5 sigma of a subtraction. LSST: as many more as there are stars between its limits (`milkyway.ratio`).
VARIABLES = (
    Kind("rr_lyrae", "periodic variable", _draw_rr_lyrae, _signal_pulsation, {"ztf": 46000, "lsst": 42000}, lasting=True, dusty=False),
    Kind("cepheid", "periodic variable", _draw_cepheid, _signal_pulsation, {"ztf": 1600, "lsst": 1500}, lasting=True, dusty=False),
    Kind("eclipsing_binary", "periodic variable", _draw_eclipsing, _signal_eclipsing, {"ztf": 140000, "lsst": 590000}, lasting=True, dusty=False),
    Kind("long_period_variable", "periodic variable", _draw_long_period, _signal_long_period, {"ztf": 60000, "lsst": 49000}, lasting=True, dusty=False),
)
