"""Point-spread functions on a grid of pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fink_broker.testing.stamps import Image

INDEX = 2.5  # of Moffat profiles
INDEX_COADDED = 3.0  # of the stars of LSST's templates, whatever their width (2.9 to 3.1 in each of four sets of alerts)
SMALL = 0.5  # times the seeing: half-light radius of galaxies that are drawn as blurred points


def grid(size: int) -> Image:
    """Places of the pixels of an axis, from the middle."""
    found: Image = np.arange(size, dtype=np.float32) - (size - 1) / 2
    return found


def index_lsst(fwhm: float) -> float:
    """Index of the stars of an LSST exposure by their width [pixels]: 4 at 4 and 8 from 5 on.

    As point-spread functions of 148 real alerts have it (19 visits, 4.0 to 10.5 pixels): of 15 wider than 5, at twice the distance of half the height,
    11 have 0.04 to 0.08 of the peak, as a Gaussian has (0.06), though with wings.
    """
    return min(max(4.0 * (fwhm - 3.0), 3.0), 8.0)


def moffat(x: Image, y: Image, fwhm: float, stretch: tuple[float, float] = (0.0, 0.0), flux: float = 1.0, index: float = INDEX) -> Image:
    """A Moffat profile, of index 2.5 if not said (Trujillo et al. 2001, MNRAS 328, 977); stars in ZTF's templates show 2.7, those of its exposures 3 to 4.

    `stretch` makes it narrower along the rows and wider along the columns, or along the diagonals.
    """
    return moffat_many(x[None, :], y[:, None], fwhm, stretch, flux, index)


def moffat_many(x: Image, y: Image, fwhm: float, stretch: tuple[float, float] = (0.0, 0.0), flux: float = 1.0, index: float = INDEX) -> Image:
    """The same of places along rows and columns that are spread over the axes of any array."""
    alpha2 = (fwhm / 2) ** 2 / (2 ** (1 / index) - 1)
    inner: Image = (1 + x * x * ((1 + stretch[0]) / alpha2)) + (y * y * ((1 - stretch[0]) / alpha2))
    if stretch[1]:
        inner += (x * (2 * stretch[1] / alpha2)) * y
    height = np.float32(flux * (index - 1) / (math.pi * alpha2))
    found: Image = height / _power(inner, index)
    return found


def _power(inner: Image, index: float) -> Image:
    """`inner**index`, for the usual index by a root."""
    return inner * inner * np.sqrt(inner) if index == INDEX else inner**index


def galaxy(u: Image, v: Image, fwhm: float, flux: Any, radius: Any, flatness: Any, angle: Any, *, index: float = INDEX) -> Image:
    """Galaxies of a half-light radius as the seeing blurs them, at places along rows and columns; all float32.

    An exponential disc has a core that makes it as wide at half its height as disc and seeing together; small ones are Moffat profiles as wide.
    """
    scale, seen2 = radius / np.float32(1.68), np.float32(fwhm * fwhm)
    cos, sin = np.cos(angle), np.sin(angle)
    own2 = np.float32((2 * math.log(2)) ** 2) * scale * scale
    wide2 = seen2 + own2
    flat2 = (seen2 + flatness * flatness * own2) / wide2  # seeing makes it rounder
    along, across = u * cos + v * sin, v * cos - u * sin
    r2 = along * along + across * across / flat2
    small = radius < SMALL * fwhm
    if np.all(small):
        return _round(r2, wide2, flux / np.sqrt(flat2), index)
    core = seen2 / (np.float32(8 * math.log(2)) * scale)
    disc: Image = flux / (np.float32(2 * math.pi) * np.sqrt(flat2) * scale * (scale + core)) * np.exp((core - np.sqrt(r2 + core * core)) / scale)
    if not np.any(small):
        return disc
    found: Image = np.where(small, _round(r2, wide2, flux / np.sqrt(flat2), index), disc)
    return found


def _round(r2: Image, fwhm2: Any, flux: Any, index: float) -> Image:
    """A Moffat profile at squared distances."""
    alpha2 = fwhm2 / np.float32(4 * (2 ** (1 / index) - 1))
    inner = 1 + r2 / alpha2
    found: Image = flux * np.float32((index - 1) / math.pi) / alpha2 / _power(inner, index)
    return found


def resampled(noise: Image, near: float, far: float) -> Image:
    """Noise of which each pixel takes in shares of its neighbours on either side, near and next to near, along rows and columns; of the same size as before."""
    keep = np.float32(1 / math.sqrt(1 + 2 * near * near + 2 * far * far))
    found = noise
    for turned in range(2):
        made = found * keep
        for step, share in ((1, np.float32(near) * keep), (2, np.float32(far) * keep)):
            part = found * share
            if turned:
                made[:, step:] += part[:, :-step]
                made[:, :-step] += part[:, step:]
            else:
                made[step:] += part[:-step]
                made[:-step] += part[step:]
        found = made
    return found


def psf(size: int, fwhm: float, x: float = 0.0, y: float = 0.0, stretch: tuple[float, float] = (0.0, 0.0), index: float = INDEX) -> Image:
    """A point source of unit light at a place from the middle [pixels]."""
    axis = grid(size)
    return moffat(axis - x, axis - y, fwhm, stretch, index=index)


def window(axis: Image, middle: float, reach: int) -> slice:
    """Pixels at most so far from a place."""
    first = math.floor(middle - float(axis[0])) - reach
    return slice(min(max(first, 0), len(axis)), max(min(first + 2 * reach + 2, len(axis)), 0))
