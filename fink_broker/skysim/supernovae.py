"""Supernovae: rates, luminosities at maximum, and light through template spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fink_broker.skysim.cosmos import Floats, Ints, draw_redshifts, modulus
from fink_broker.skysim.kind import Heaven, Kind, Things, hosted, seen_at_all, until
from fink_broker.skysim.observatory import nanojansky

# Absolute magnitude at maximum in R and its scatter [mag AB], host dust included: Richardson et al. 2014 (AJ 147, 118), Li et al. 2011 (MNRAS 412,
# 1441); Ic-BL: Taddia et al. 2019 (A&A 621, A71). Rates today [1/Mpc^3/yr]: core collapse 9.1e-5 in all (Frohmaier et al. 2021, MNRAS 500, 5142),
# shared out by Shivvers et al. 2017 (PASP 129, 054201). Host galaxies in r: Kelly & Kirshner 2012 (ApJ 759, 107), roughly.
CORE_COLLAPSE = {
    "sn_ib": ("SN Ib/c", -17.2, 0.9, 0.9e-5, -20.2), "sn_ic": ("SN Ib/c", -17.4, 0.9, 0.7e-5, -20.4), "sn_ic_bl": ("SN Ib/c", -18.4, 0.7, 0.1e-5, -19.2),
    "sn_iib": ("SN Ib/c", -17.0, 0.8, 0.9e-5, -19.8), "sn_ii": ("SN II", -16.9, 0.95, 6.1e-5, -20.2), "sn_iin": ("SN II", -18.4, 1.0, 0.4e-5, -19.8),
}  # fmt: skip
# SN Ia: rate 2.3e-5 (1 + z)^1.5 (Frohmaier et al. 2019, MNRAS 486, 2308; Dilday et al. 2010, ApJ 713, 1026).
RATE_IA, EVOLUTION_IA, EVOLUTION_CC = 2.3e-5, 1.5, 2.5
ABSOLUTE_IA, ALPHA, BETA = -19.36, 0.14, 3.1  # SALT standard candle, H0 = 70 (Brout et al. 2022, ApJ 938, 110)


def _split_normal(rng: np.random.Generator, number: int, middle: float, below: float, above: float) -> Floats:
    """A bell whose sides differ."""
    left = rng.random(number) < below / (below + above)
    size = np.abs(rng.normal(size=number))
    found: Floats = middle + np.where(left, -below * size, above * size)
    return found


def _draw_ia(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Stretch and colour of Scolnic & Kessler 2016 (ApJ 822, L35), table 1."""

    def propose(count: int) -> dict[str, Floats]:
        z = draw_redshifts(rng, count, 0.005, heaven.site.deepest_redshift, EVOLUTION_IA)
        x1 = _split_normal(rng, count, 0.97, 1.47, 0.22).clip(-3.5, 3)
        c = _split_normal(rng, count, -0.054, 0.043, 0.101).clip(-0.3, 0.5)
        absolute = ABSOLUTE_IA - ALPHA * x1 + BETA * c + rng.normal(0, 0.1, count)
        return {"redshift": z, "x1": x1, "c": c, "absolute_mag": absolute, "peak_mag": absolute + modulus(z)}

    def some(count: int) -> tuple[Things, NDArray[Any]]:
        found = seen_at_all(count, heaven.site.limit() + 0.3, propose)
        things = hosted(rng, count, heaven, found["redshift"], rng.normal(-20.9, 1.3, count))
        things.truth |= found | {"peak_mjd": heaven.near_visit(rng, things.ra, things.dec, 17.0, 60.0)}
        return things, np.isfinite(things.truth["peak_mjd"])

    return until(number, some)


def _signal_ia(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    truth = things.truth
    days, z = mjd - truth["peak_mjd"][who], truth["redshift"]
    scale = nanojansky(truth["peak_mag"]) * (1 + z)
    models = heaven.templates
    if "salt" not in models.tables:
        stretched = days / (1 + 0.1 * truth["x1"][who])
        colour = 10 ** (-0.4 * truth["c"] * 1.0)
        shape = models.series("sn_ia", np.zeros(len(things), np.int64), z, who, stretched, band)
        return shape * scale[who] * np.where(band == 0, colour[who], 1.0)
    # the colour law in the table dims the light that peak_mag has already, so it is undone in the blue box
    found: Floats = models.salt(z, truth["x1"], truth["c"], who, days, band) * (scale * 10 ** (0.4 * truth["c"]))[who]
    return found


def _core_collapse(kind: str) -> Kind:
    label, middle, scatter, rate, host = CORE_COLLAPSE[kind]

    def draw(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
        series = heaven.templates.tables[kind].shape[0]

        def propose(count: int) -> dict[str, Floats]:
            z = draw_redshifts(rng, count, 0.002, heaven.site.deepest_redshift * (0.75 if middle > -18 else 1.0), EVOLUTION_CC)
            absolute = rng.normal(middle, scatter, count)
            return {"redshift": z, "absolute_mag": absolute, "peak_mag": absolute + modulus(z)}

        def some(count: int) -> tuple[Things, NDArray[Any]]:
            found = seen_at_all(count, heaven.site.limit() + 0.3, propose)
            things = hosted(rng, count, heaven, found["redshift"], rng.normal(host, 1.3, count))
            t0 = heaven.near_visit(rng, things.ra, things.dec, 12.0, 90.0 if label == "SN II" else 50.0)
            things.truth |= found | {"peak_mjd": t0, "template": rng.integers(0, series, count).astype(float)}
            return things, np.isfinite(t0)

        return until(number, some)

    def signal(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
        truth = things.truth
        z = truth["redshift"]
        shape = heaven.templates.series(kind, truth["template"].astype(np.int64), z, who, mjd - truth["peak_mjd"][who], band)
        found: Floats = shape * (nanojansky(truth["peak_mag"]) * (1 + z))[who]
        return found

    return Kind(kind, label, draw, signal, rate=rate)


SUPERNOVAE = (Kind("sn_ia", "SN Ia", _draw_ia, _signal_ia, rate=RATE_IA), *(_core_collapse(kind) for kind in CORE_COLLAPSE))
