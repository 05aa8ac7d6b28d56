"""What is around each thing of the simulated sky, for its cutouts."""

from __future__ import annotations

import numpy as np

from fink_broker import sky
from fink_broker.skysim.kind import FIELD_DENSITY, Things
from fink_broker.skysim.observatory import Observatory, nanojansky
from fink_broker.skysim.stamps import SIZE_ZTF, SIZES_LSST, Scene, neighbours

ARTEFACTS = ("cosmic", "column", "hot", "none")


def scene(rng: np.random.Generator, site: Observatory, kind: str, things: Things, thing: int) -> Scene:
    """Host galaxy or star under the thing, the catalogued neighbour, unrelated sources; artefacts and trails."""
    size = SIZE_ZTF if site.name == "ztf" else int(rng.choice(SIZES_LSST))
    pixel = site.pixel_arcsec
    latitude = abs(float(sky.galactic_latitude(things.ra[thing], things.dec[thing])))
    density = FIELD_DENSITY * (1 + 12 * float(np.exp(-latitude / 9)))
    sources = neighbours(rng, size, pixel, density)
    truth = things.truth
    under = float(things.template[thing, site.bands.index("r")])
    if "host_arcsec" in truth:
        offset, radius = float(truth["host_arcsec"][thing]) / pixel, float(truth["host_radius_arcsec"][thing]) / pixel
        angle = rng.uniform(0, 2 * np.pi)
        host = float(nanojansky(truth["host_mag"][thing])) * 10 ** (-0.4 * site.extinction[site.bands.index("r")] * float(things.ebv[thing]))
        sources.append((offset * float(np.cos(angle)), offset * float(np.sin(angle)), host, max(radius, 0.3)))
        if "core_share" in truth:
            sources.append((0.0, 0.0, under * float(truth["core_share"][thing]), 0.0))
    elif under > 0:
        sources.append((float(rng.normal(0, 0.15)), float(rng.normal(0, 0.15)), under, 0.0))
    near = float(things.near_arcsec[thing]) / pixel
    if under <= 0 and near < size / 2:
        angle = rng.uniform(0, 2 * np.pi)
        star = float(things.near_star[thing]) > 0.5
        sources.append((near * float(np.cos(angle)), near * float(np.sin(angle)), float(nanojansky(things.near_mag[thing])), 0.0 if star else 0.8 / pixel))
    artefact = ""
    if kind == "bogus":
        artefact = str(rng.choice(ARTEFACTS, p=(0.35, 0.15, 0.3, 0.2))) if truth["alone"][thing] > 0.5 else "dipole" if rng.random() < 0.6 else "none"
    trail = float(truth["trail_arcsec"][thing]) / pixel if "trail_arcsec" in truth else 0.0
    edge = int(rng.integers(1, 28)) if site.name == "ztf" and rng.random() < (0.05 if kind != "bogus" else 0.12) else 0
    return Scene(size, tuple(sources), artefact, min(trail, 2.0 * size), float(rng.uniform(0, np.pi)), edge)
