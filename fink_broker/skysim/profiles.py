"""Point-spread functions on a grid of pixels."""

from __future__ import annotations

import math

import numpy as np

from fink_broker.testing.stamps import Image

INDEX = 2.5


def grid(size: int) -> Image:
    """Places of the pixels of an axis, from the middle."""
    found: Image = np.arange(size, dtype=np.float32) - (size - 1) / 2
    return found


def moffat(x: Image, y: Image, fwhm: float, stretch: tuple[float, float] = (0.0, 0.0), flux: float = 1.0) -> Image:
    """A Moffat profile of index 2.5 (Trujillo et al. 2001, MNRAS 328, 977); stars in ZTF's templates show 2.7, those of its exposures 3 to 4.

    `stretch` makes it narrower along the rows and wider along the columns, or along the diagonals.
    """
    return moffat_many(x[None, :], y[:, None], fwhm, stretch, flux)


def moffat_many(x: Image, y: Image, fwhm: float, stretch: tuple[float, float] = (0.0, 0.0), flux: float = 1.0) -> Image:
    """The same of places along rows and columns that are spread over the axes of any array."""
    alpha2 = (fwhm / 2) ** 2 / (2 ** (1 / INDEX) - 1)
    inner: Image = (1 + x * x * ((1 + stretch[0]) / alpha2)) + (y * y * ((1 - stretch[0]) / alpha2))
    if stretch[1]:
        inner += (x * (2 * stretch[1] / alpha2)) * y
    height = np.float32(flux * (INDEX - 1) / (math.pi * alpha2))
    found: Image = height / (inner * inner * np.sqrt(inner))
    return found


def psf(size: int, fwhm: float, x: float = 0.0, y: float = 0.0, stretch: tuple[float, float] = (0.0, 0.0)) -> Image:
    """A point source of unit light at a place from the middle [pixels]."""
    axis = grid(size)
    return moffat(axis - x, axis - y, fwhm, stretch)


def window(axis: Image, middle: float, reach: int) -> slice:
    """Pixels at most so far from a place."""
    first = math.floor(middle - float(axis[0])) - reach
    return slice(min(max(first, 0), len(axis)), max(min(first + 2 * reach + 2, len(axis)), 0))
