"""What is around each thing of the simulated sky, for its cutouts."""

from __future__ import annotations

import numpy as np

from fink_broker import sky
from fink_broker.skysim.blemishes import ANYWHERE, ON_STARS
from fink_broker.skysim.kind import FIELD_DENSITY, Things
from fink_broker.skysim.observatory import Observatory, nanojansky
from fink_broker.skysim.stamps import AROUND_LSST, SIZE_ZTF, Scene, Source, neighbours

# Of real ZTF templates: width of stars 2.09 pixels, by a tenth more or less; elongation of a tenth. LSST's have 4.4 pixels in March, 4.0 in January 2026.
TEMPLATE_FWHM = {"ztf": (2.09, 0.09), "lsst": (4.4, 0.1)}
STRETCH = 0.07
EDGE, EDGE_BOGUS = 0.05, 0.12  # shares of cutouts that reach beyond the chip
MASKED = 0.06  # share with a bright star cut out, far from the Milky Way; 0.26 more in its plane


def scene(rng: np.random.Generator, site: Observatory, kind: str, things: Things, thing: int) -> Scene:
    """Host galaxy or star under the thing, the catalogued neighbour, unrelated sources; artefacts, trails and what has no data."""
    ztf = site.name == "ztf"
    size = SIZE_ZTF if ztf else int(rng.choice(AROUND_LSST))
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
        x, y, bulge = offset * float(np.cos(angle)), offset * float(np.sin(angle)), float(rng.beta(0.8, 0.8))
        sources.append(Source(x, y, host * (1 - bulge), max(radius, 0.3), float(rng.uniform(0.25, 1)), float(rng.uniform(0, np.pi))))
        sources.append(Source(x, y, host * bulge, max(radius / 6, 0.15)))
        if "core_share" in truth:
            sources.append(Source(0.0, 0.0, under * float(truth["core_share"][thing])))
    elif under > 0:
        apart = 0.6 * float(things.near_arcsec[thing]) / pixel if kind == "bogus" else 0.07
        sources.append(Source(float(rng.normal(0, apart)), float(rng.normal(0, apart)), under))
    near = float(things.near_arcsec[thing]) / pixel
    if under <= 0 and near < size / 2:
        angle = rng.uniform(0, 2 * np.pi)
        star = float(things.near_star[thing]) > 0.5
        flux = float(nanojansky(things.near_mag[thing]))
        sources.append(Source(near * float(np.cos(angle)), near * float(np.sin(angle)), flux, 0.0 if star else 0.8 / pixel))
    artefact = ""
    if kind == "bogus":
        shares = ANYWHERE if truth["alone"][thing] > 0.5 else ON_STARS
        artefact = str(rng.choice(list(shares), p=list(shares.values())))
    trail = float(truth["trail_arcsec"][thing]) / pixel if "trail_arcsec" in truth else 0.0
    width, spread = TEMPLATE_FWHM.get(site.name, TEMPLATE_FWHM["lsst"])
    x, y = (float(value) for value in rng.uniform(-0.5, 0.5, 2))
    east, north = (float(value) for value in rng.normal(0, STRETCH, 2).clip(-0.35, 0.35))
    return Scene(
        size, tuple(sources), artefact, min(trail, 2.0 * size), float(rng.uniform(0, np.pi)), x, y, not ztf,
        width * float(np.exp(rng.normal(0, spread))),
        (east, north), _blank(rng, size, latitude, EDGE_BOGUS if kind == "bogus" else EDGE) if ztf else (),
    )  # fmt: skip


def _blank(rng: np.random.Generator, size: int, latitude: float, edge: float) -> tuple[tuple[int, int, int, int], ...]:
    """Parts without data: beyond an edge of the chip, and squares around bright stars, which are masked; never the very middle."""
    found = []
    if rng.random() < edge:
        deep, side = int(size * 0.44 * rng.random() ** 1.5) + 1, int(rng.integers(4))
        found.append(((0, deep, 0, size), (size - deep, size, 0, size), (0, size, 0, deep), (0, size, size - deep, size))[side])
    if rng.random() < MASKED + 0.26 * float(np.exp(-latitude / 8)):
        for _ in range(1 + int(rng.poisson(0.6))):
            wide = int(rng.integers(9, 18))
            row, column = (int(value) for value in rng.integers(-wide // 2, size - wide // 2, 2))
            if max(abs(row + wide / 2 - size / 2), abs(column + wide / 2 - size / 2)) > wide / 2 + 3:
                found.append((max(row, 0), row + wide, max(column, 0), column + wide))
    return tuple(found)
