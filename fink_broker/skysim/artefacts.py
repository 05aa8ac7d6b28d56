"""What is not there: bad subtractions of bright stars, cosmic rays, hot pixels, edges and ghosts."""

from __future__ import annotations

import numpy as np

from fink_broker.skysim import places
from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.kind import Heaven, Kind, Things, field_source, stellar
from fink_broker.skysim.observatory import nanojansky
from fink_broker.skysim.stars import faint_heavy


def _draw(rng: np.random.Generator, number: int, heaven: Heaven) -> Things:
    """Half on bright stars, where they come again, half anywhere, once (shares as real ZTF alerts of low real-bogus score have)."""
    things = stellar(rng, number, heaven, faint_heavy(rng, number, 12.0, heaven.site.brightest + 4.5, 0.25), rng.uniform(3800, 7500, number), 14.0)
    alone = rng.random(number) < 0.5
    ra, dec = places.anywhere(rng, number, heaven.site)
    things.ra, things.dec = np.where(alone, ra, things.ra), np.where(alone, dec, things.dec)
    near = field_source(rng, things.ra, things.dec)
    for name, other in zip(("near_arcsec", "near_star", "near_mag"), near, strict=True):
        setattr(things, name, np.where(alone, other, getattr(things, name)))
    things.near_arcsec = np.where(alone, things.near_arcsec, rng.rayleigh(0.35, number))
    things.template = np.where(alone[:, None], 0.0, things.template)
    at = heaven.schedule.some_visit(rng, heaven.schedule.field_of(things.ra, things.dec))
    things.truth |= {"alone": alone.astype(float), "peak_mjd": at, "share": rng.beta(0.6, 4, number), "lean": rng.choice([-0.6, 0.0, 0.6], number)}
    return things


def _signal(things: Things, who: Ints, mjd: Floats, band: Ints, heaven: Heaven, rng: np.random.Generator) -> Floats:
    """Of either sign, as bright as a detection is or some times more; on a star its size goes with the star's light."""
    truth, site = things.truth, heaven.site
    own = np.abs(mjd - truth["peak_mjd"][who]) < 1e-7
    there = own | ((truth["alone"][who] < 0.5) & (rng.random(len(who)) < truth["share"][who]))
    noise = np.hypot(nanojansky(np.array(site.depth))[band] / 5, site.floor_true * things.template[who, band])
    snr = 5.5 * (1 - rng.random(len(who))) ** -0.75
    sign = np.where(rng.random(len(who)) < 0.5 + 0.5 * truth["lean"][who] * (truth["alone"][who] < 0.5), 1, -1)
    return np.where(there, noise * np.minimum(snr, 400) * sign, 0.0)


# A third of ZTF's alerts or more are not real by their scores (Duev et al. 2019, MNRAS 489, 3582).
ARTEFACTS = (Kind("bogus", "bogus", _draw, _signal, {"ztf": 250000, "lsst": 1000000}, lasting=True, dusty=False),)
