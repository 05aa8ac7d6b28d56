"""Cutouts of the simulated sky: point-spread function, host galaxy, neighbours, trails and artefacts, with noise of sky and light."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fink_broker.skysim.cosmos import Floats
from fink_broker.skysim.observatory import Observatory, nanojansky
from fink_broker.testing.stamps import Image, fits

SIZE_ZTF = 63  # [pixels]
SIZES_LSST = (31, 31, 33, 35, 35, 37, 41, 51)
ZERO_POINT_ZTF = 26.2  # [mag] of one count
GAIN_ZTF = 6.2  # [electrons a count]
PSF_LSST = 41


@dataclass(frozen=True)
class Scene:
    """What lies around a thing, in pixels from the middle: steady sources (x, y, flux [nJy], half-light radius [pixels], 0 for a star), and oddities."""

    size: int
    sources: tuple[tuple[float, float, float, float], ...] = ()
    artefact: str = ""  # dipole, cosmic, column, hot, or none
    trail_pixels: float = 0.0
    trail_angle: float = 0.0
    edge: int = 0  # rows beyond the chip
    images: dict[tuple[int, int], Image] = field(default_factory=dict, compare=False)  # steady image by band and seeing


def psf(size: int, fwhm: float, x: float = 0.0, y: float = 0.0) -> Image:
    """A Moffat profile of index 4 and unit light (Trujillo et al. 2001, MNRAS 328, 977)."""
    axis: Floats = np.arange(size, dtype=float) - (size - 1) / 2
    return _moffat(axis - x, axis - y, fwhm)


def _moffat(x: Floats, y: Floats, fwhm: float) -> Image:
    alpha2 = (fwhm / 2) ** 2 / (2 ** (1 / 4.0) - 1)
    inner = 1 + (x[None, :] ** 2 + y[:, None] ** 2) / alpha2
    inner *= inner
    found: Image = (3 / (np.pi * alpha2) / (inner * inner)).astype(np.float32)
    return found


def _steady(scene: Scene, fwhm: float) -> Image:
    image = np.zeros((scene.size, scene.size), np.float32)
    axis: Floats = np.arange(scene.size, dtype=float) - (scene.size - 1) / 2
    for x, y, flux, radius in scene.sources:
        if radius <= 0:
            reach = int(fwhm * (4 if flux < 3e5 else 10)) + 2  # faint stars have no wings to be seen
            rows, columns = _window(axis, y, reach), _window(axis, x, reach)
            image[rows, columns] += np.float32(flux) * _moffat(axis[columns] - x, axis[rows] - y, fwhm)
        else:  # an exponential disc, blurred by making its core as wide as the seeing
            scale = radius / 1.68
            reach = int(scale * 7 + 2 * fwhm) + 2
            rows, columns = _window(axis, y, reach), _window(axis, x, reach)
            r = np.sqrt((axis[None, columns] - x) ** 2 + (axis[rows, None] - y) ** 2 + (0.4 * fwhm) ** 2)
            whole = 2 * np.pi * scale * (scale + 0.4 * fwhm) * np.exp(-0.4 * fwhm / scale)  # its integral over the plane
            image[rows, columns] += (flux / whole * np.exp(-r / scale)).astype(np.float32)
    return image


def _window(axis: Floats, middle: float, reach: int) -> slice:
    """Pixels at most so far from a place."""
    first = int(np.floor(middle - axis[0])) - reach
    return slice(min(max(first, 0), len(axis)), max(min(first + 2 * reach + 2, len(axis)), 0))


def _change(scene: Scene, flux: float, fwhm: float, rng: np.random.Generator) -> Image:
    """The difference image of the thing itself, without noise [nJy]."""
    size = scene.size
    if scene.trail_pixels > fwhm:
        steps = int(np.ceil(scene.trail_pixels)) * 2 + 1
        along = np.linspace(-0.5, 0.5, steps) * scene.trail_pixels
        parts = [psf(size, fwhm, a * np.cos(scene.trail_angle), a * np.sin(scene.trail_angle)) for a in along]
        drawn: Image = np.stack(parts).sum(axis=0) * np.float32(flux / steps)
        return drawn
    x, y = rng.normal(0, 0.3, 2)
    if scene.artefact == "dipole":  # the template stands a little beside the star
        side = rng.normal(0, 0.5, 2)
        return (psf(size, fwhm, x + side[0], y + side[1]) - 0.8 * psf(size, fwhm * 1.05, x - side[0], y - side[1])) * np.float32(flux * 3)
    if scene.artefact in ("cosmic", "column", "hot"):
        image = np.zeros((size, size), np.float32)
        middle, angle = size // 2, scene.trail_angle
        if scene.artefact == "column":
            image[:, middle : middle + 1 + int(scene.trail_angle > 1)] = flux / 12
        elif scene.artefact == "hot":
            image[middle, middle] = flux * 0.8
        else:
            for step in range(int(rng.integers(2, 9))):
                row, column = middle + round(step * np.sin(angle)), middle + round(step * np.cos(angle))
                image[min(row, size - 1), min(column, size - 1)] = flux * rng.uniform(0.1, 0.4)
        return image
    return psf(size, fwhm, x, y) * np.float32(flux)


def stamps(
    scene: Scene, site: Observatory, band: int, flux: float, depth: float, seeing_arcsec: float, template_seeing: float, rng: np.random.Generator
) -> tuple[list[Image], list[Image], Image]:
    """Science, template and difference of one detection, their variances, and the PSF; counts for ZTF, nJy for LSST."""
    ztf = site.name == "ztf"
    fwhm = max((1.25 if ztf else 1.0) * seeing_arcsec / site.pixel_arcsec, 1.2)  # ZTF's is that of the difference, smoothed once more
    key = (band, round(fwhm * 3))
    steady = scene.images.get(key)
    if steady is None:
        steady = scene.images[key] = _steady(scene, round(fwhm * 3) / 3)
    change = _change(scene, flux, fwhm, rng)
    unit = float(nanojansky(ZERO_POINT_ZTF)) if ztf else 1.0  # [nJy] of one unit of the image
    effective = 2.27 * fwhm**2  # pixels that share the noise of a point source
    dark = float(nanojansky(depth)) / 5 / unit / np.sqrt(effective) / (2.45 if ztf else 1.25)
    per_unit = 1 / GAIN_ZTF if ztf else float(nanojansky(site.zero_electrons[band]))
    sky = dark**2 * GAIN_ZTF * float(rng.uniform(0.35, 0.9)) if ztf else 0.0
    template = steady / np.float32(unit)
    variance = np.float32(dark**2) + np.maximum(template + change / np.float32(unit), 0) * np.float32(per_unit)
    template_variance = np.float32((dark * 0.2 * np.exp(rng.normal(0, 0.35))) ** 2) + np.maximum(template, 0) * np.float32(per_unit * 0.04)
    size = scene.size
    noise = rng.standard_normal((3, size, size), dtype=np.float32)
    # neighbouring pixels of a co-added template share noise; those of one exposure do not
    coarse = noise[1] + np.float32(0.28) * (np.roll(noise[1], 1, axis=0) + np.roll(noise[1], 1, axis=1))
    template_noise = coarse * np.float32(0.93) * np.sqrt(template_variance)
    # residuals of a subtraction go with the light that was subtracted: its PSF is never quite the other's
    rough = np.float32(rng.normal(0, 0.012)) * template * (noise[2] * np.float32(0.6) + np.float32(0.4))
    difference = (
        change / np.float32(unit) + noise[0] * np.sqrt(variance) + rough + np.float32(rng.normal(0, 0.15) * dark * 0.1) - template_noise * np.float32(0.3)
    )
    if not ztf:  # the background is taken off, though not wholly
        difference += np.float32(rng.normal(0.17, 0.12) * dark)
        sky = 0.35 * dark
    reference = template + template_noise + np.float32(sky if ztf else 0.1 * dark)
    science = template + np.float32(sky) + difference + template_noise * np.float32(0.3)
    images = [science, reference, difference]
    if scene.edge:
        for image in images:
            image[-scene.edge :] = np.nan
    return images, [variance, template_variance, variance + template_variance], psf(PSF_LSST, fwhm)


def as_fits(images: list[Image], variances: list[Image], point: Image, site: Observatory) -> tuple[bytes, bytes, bytes]:
    """Science, template and difference as the survey sends them: gzipped FITS, or FITS of image, variance and PSF."""
    if site.name == "ztf":
        parts = [_gzip(fits(("", image))) for image in images]
    else:
        point = point / point.sum()
        parts = [fits(("IMAGE", image), ("UNCERT", variance), ("PSFIMAGE", point)) for image, variance in zip(images, variances, strict=True)]
    return parts[0], parts[1], parts[2]


def _gzip(value: bytes) -> bytes:
    import cramjam

    return bytes(cramjam.gzip.compress(value, 1))


def neighbours(rng: np.random.Generator, size: int, pixel_arcsec: float, density: float) -> list[tuple[float, float, float, float]]:
    """Unrelated stars and galaxies in a cutout; `density` of catalogued sources an arcsec^2."""
    number = min(int(rng.poisson(density * 0.9 * (size * pixel_arcsec) ** 2)), 60)
    half = size / 2
    x, y = rng.uniform(-half, half, (2, number))
    mag = 23.3 - rng.gamma(1.5, 1.2, number)
    seen = mag < (22.5 if pixel_arcsec > 0.5 else 99)  # fainter ones drown
    x, y, mag, number = x[seen], y[seen], mag[seen], int(seen.sum())
    flux = nanojansky(mag)
    radius = np.where(rng.random(number) < 0.5, 0.0, rng.uniform(0.5, 1.5, number) / pixel_arcsec)
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in zip(x, y, flux, radius, strict=True)]


__all__ = ["Floats", "NDArray", "Scene", "as_fits", "neighbours", "psf", "stamps"]
