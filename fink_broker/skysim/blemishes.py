"""How artefacts look in a cutout: what stands on the chip, what flies by, and what a subtraction does to a bright star."""

from __future__ import annotations

import numpy as np

from fink_broker.skysim.profiles import grid, psf
from fink_broker.testing.stamps import Image

# Shares as seen in real ZTF alerts of low deep real-bogus score without a known type, rounded; one that is negative is a hole.
ANYWHERE = {"cosmic": 0.25, "hot": 0.15, "column": 0.1, "glint": 0.34, "streak": 0.08, "ghost": 0.08}
ON_STARS = {"dipole": 0.55, "ring": 0.4, "faded": 0.05}  # faded: clouds hide most of the light, and the little that is left is subtracted badly
PEAK = 0.61  # of a profile of unit light, in units of 1 / fwhm^2


def blemish(kind: str, size: int, flux: float, fwhm: float, x: float, y: float, angle: float, rng: np.random.Generator) -> Image:
    """The image of an artefact that a fit of the PSF takes for a source of some flux, which may be negative."""
    if kind in ON_STARS:
        return _of_star(kind, size, flux, fwhm, x, y, angle, rng)
    peak = flux * PEAK / fwhm**2  # of a point source of that flux
    image = np.zeros((size, size), np.float32)
    axis = grid(size)
    middle = size // 2
    if flux < 0 and kind != "column":  # nothing that shines takes light away: pixels that lost their charge, in a clump
        for _ in range(int(rng.integers(3, 16))):
            image[middle + int(rng.integers(-1, 2)), middle + int(rng.integers(-1, 2))] = flux * rng.uniform(0.15, 0.6)
        return image
    if kind in ("cosmic", "hot"):
        number = 1 if kind == "hot" else int(rng.integers(2, 9))
        for step in range(number):
            row, column = middle + round(step * np.sin(angle)), middle + round(step * np.cos(angle))
            image[min(row, size - 1), min(column, size - 1)] = flux * rng.uniform(0.1, 0.4) * (2.5 if number == 1 else 1)
        return image
    if kind == "column":
        image[:, middle : middle + 1 + int(angle > 1)] = flux / 12
        if rng.random() < 0.5:
            image[: middle + int(rng.integers(-3, 3))] = 0
        return image
    if kind == "glint":  # a satellite that turns, and flashes as it goes
        apart, cos, sin = float(rng.uniform(12, 32)), float(np.cos(angle)), float(np.sin(angle))
        dim = float(0.015 * np.exp(rng.normal(0, 0.7)))
        for place in range(-4, 5):
            if abs(place * apart) < 0.8 * size:
                image += psf(size, fwhm, x + place * apart * cos, y + place * apart * sin) * np.float32(flux * rng.uniform(0.7, 1.2))
        return image + _line(size, fwhm, x, y, angle) * np.float32(peak * dim)
    if kind == "streak":
        return _line(size, fwhm, x, y, angle) * np.float32(peak * rng.uniform(0.6, 1.0))
    wide = float(rng.uniform(1.5, 7)) * fwhm  # a ghost: light of a bright star by way of the optics
    r = np.hypot(axis[None, :] - x - rng.normal(0, wide / 4), axis[:, None] - y - rng.normal(0, wide / 4))
    edge = np.tanh((wide - r) / rng.uniform(0.5, 3) / fwhm) * 0.5 + 0.5
    ghost: Image = (edge * peak * rng.uniform(0.5, 1.1)).astype(np.float32)
    return ghost


def _line(size: int, fwhm: float, x: float, y: float, angle: float) -> Image:
    """A line across the whole cutout, of unit height."""
    axis = grid(size)
    beside = (axis[None, :] - x) * np.sin(angle) - (axis[:, None] - y) * np.cos(angle)
    found: Image = np.exp(-((beside / (0.6 * fwhm)) ** 2)).astype(np.float32)
    return found


def _of_star(kind: str, size: int, flux: float, fwhm: float, x: float, y: float, angle: float, rng: np.random.Generator) -> Image:
    """Two profiles less each other, so high that the higher lobe is found as a source of the flux."""
    if kind == "dipole":
        side = rng.uniform(0.15, 0.9) * fwhm
        a, b = side * np.cos(2 * angle), side * np.sin(2 * angle)
        image = psf(size, fwhm * rng.uniform(0.7, 1.0), x, y) - np.float32(rng.uniform(0.5, 1.1)) * psf(size, fwhm, x + a, y + b)
    elif kind == "ring":  # the core was not linear: a narrow profile less a wide one, and rough besides
        image = psf(size, fwhm * rng.uniform(0.45, 0.8), x, y) - np.float32(rng.uniform(0.5, 1.2)) * psf(size, fwhm * rng.uniform(0.9, 1.3), x, y)
        image *= 1 + np.float32(0.5) * rng.standard_normal((size, size), dtype=np.float32)
    else:
        image = psf(size, fwhm * rng.uniform(0.45, 0.9), x + rng.normal(0, 0.7), y + rng.normal(0, 0.7))
    top = float(image[size // 2 - 4 : size // 2 + 5, size // 2 - 4 : size // 2 + 5].max())
    scaled: Image = image * np.float32(flux * PEAK / fwhm**2 / max(top, 1e-6))
    return scaled
