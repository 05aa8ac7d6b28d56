"""Cutouts of the simulated sky: point-spread functions, host galaxy, neighbours, trails, bad pixels, what a subtraction leaves, and noise."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fink_broker.skysim.blemishes import ON_STARS, blemish
from fink_broker.skysim.observatory import Observatory, nanojansky
from fink_broker.skysim.profiles import INDEX, INDEX_COADDED, galaxy, grid, index_lsst, moffat, moffat_many, psf, resampled, window
from fink_broker.testing.stamps import Image, fits

SIZE_ZTF = 63  # [pixels]
AROUND_LSST = (31, 31, 33, 35, 35, 37, 41, 51)  # [pixels] within which there are unrelated sources; a cutout may be larger
ZERO_POINT_ZTF = 26.2  # [mag] of one count
GAIN_ZTF = 6.2  # [electrons a count]
PSF_LSST = 41
TEMPLATE_NOISE_LSST = (0.15, 0.34)  # of a pixel, as a share of the exposure's, and its scatter (of the logarithm), as the variances of 148 real alerts say
FAINT, SMALL = 3e4, 2.0  # [nJy], [pixels]: sources below both are drawn together, which is ten times as fast
# Shares of the next pixel and the next but one that resampling mixes in, as the noise of real cutouts has them and interpolation with sinc-like kernels gives.
# A template is resampled and co-added. A difference takes its fine detail from the sharper image: like the template's where the exposure is sharper.
TEMPLATE_KERNEL, DIFFERENCE_KERNEL = (0.11, -0.055), (0.075, -0.055)
READOUT = -0.07  # share of its neighbour on the left that each pixel of a ZTF exposure has: the electronics overshoot along the rows, as they are read
SPIKED = 2e7  # [nJy] stars above this have spikes along the rows, as ZTF's have


@dataclass(frozen=True)
class Source:
    """A steady source beside or under a thing."""

    x: float  # [pixels] from the thing
    y: float
    flux: float  # [nJy]
    radius: float = 0.0  # half-light [pixels]; 0: a star
    flatness: float = 1.0  # axis ratio of a galaxy
    angle: float = 0.0


@dataclass(frozen=True)
class Scene:
    """What lies around a thing: steady sources, where in its pixel the thing is, and oddities."""

    size: int
    sources: tuple[Source, ...] = ()
    artefact: str = ""  # see blemishes
    trail_pixels: float = 0.0
    trail_angle: float = 0.0
    x: float = 0.0  # of the thing from the middle of the image [pixels]
    y: float = 0.0
    steep: bool = False  # stars have LSST's profiles
    template_fwhm: float = 0.0  # [pixels]; 0: as the exposure's
    stretch: tuple[float, float] = (0.0, 0.0)  # elongation of the PSF, along the axes and between them
    blank: tuple[tuple[int, int, int, int], ...] = ()  # first and last row, first and last column without data
    images: dict[tuple[int, int, bool], Image] = field(default_factory=dict, compare=False)  # steady image by band and seeing, of an exposure or a template


def _steady(scene: Scene, band: int, fwhm: float, coadded: bool) -> Image:
    """The steady image under some seeing [nJy], made once."""
    key = (band, round(fwhm * 3), coadded)
    found = scene.images.get(key)
    if found is None:
        wide = round(fwhm * 3) / 3
        found = scene.images[key] = _drawn(scene, wide, INDEX_COADDED if coadded and scene.steep else _index(scene, wide))
    return found


def _index(scene: Scene, fwhm: float) -> float:
    """Of the Moffat profile of a star."""
    return index_lsst(fwhm) if scene.steep else INDEX


def _drawn(scene: Scene, fwhm: float, index: float) -> Image:
    half = scene.size / 2
    small = [one for one in scene.sources if one.flux < FAINT and one.radius < SMALL and abs(one.x) < half and abs(one.y) < half]
    image = _many(scene, small, fwhm, index) if small else np.zeros((scene.size, scene.size), np.float32)
    axis = grid(scene.size)
    for one in scene.sources:
        if one.flux < FAINT and one.radius < SMALL:
            continue
        x, y = one.x + scene.x, one.y + scene.y
        if one.radius <= 0:
            reach = int(fwhm * (4 if one.flux < 10 * FAINT else 10)) + 2  # faint stars have no wings to be seen
            rows, columns = window(axis, y, reach), window(axis, x, reach)
            image[rows, columns] += moffat(axis[columns] - x, axis[rows] - y, fwhm, scene.stretch, one.flux, index)
            if one.flux > SPIKED:
                row = round(y + (scene.size - 1) / 2)
                if 0 < row < scene.size - 1:
                    spike = one.flux * 1.5e-4 / fwhm**2 * np.exp(-np.abs(axis - x) / 9)
                    image[row - 1 : row + 2] += spike * np.array([[0.5], [1], [0.5]], np.float32)
        else:
            reach = int(max(one.radius / 1.68 * 7 + 2 * fwhm, fwhm * (4 if one.flux < 10 * FAINT else 10))) + 2
            rows, columns = window(axis, y, reach), window(axis, x, reach)
            shape = np.array([one.flux, one.radius, one.flatness, one.angle], np.float32)
            image[rows, columns] += galaxy(axis[None, columns] - np.float32(x), axis[rows, None] - np.float32(y), fwhm, *shape, index=index)
    return image


def _many(scene: Scene, some: list[Source], fwhm: float, index: float) -> Image:
    """An image of small faint sources, all at once, as `_drawn` would draw each."""
    x, y, flux, radius, flatness, angle = np.array([(one.x, one.y, one.flux, one.radius, one.flatness, one.angle) for one in some], np.float32).T
    reach = int(fwhm * 2.5) + 2
    x, y = x + np.float32(scene.x + (scene.size - 1) / 2), y + np.float32(scene.y + (scene.size - 1) / 2)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    axis = np.arange(-reach, reach + 1, dtype=np.float32)
    u, v = (axis - (x - column)[:, None])[:, None, :], (axis - (y - row)[:, None])[:, :, None]
    star = radius <= 0
    drawn = np.empty((len(some), len(axis), len(axis)), np.float32)
    drawn[star] = moffat_many(u[star], v[star], fwhm, scene.stretch, index=index) * flux[star, None, None]
    if not star.all():
        rest = ~star
        drawn[rest] = galaxy(u[rest], v[rest], fwhm, *(one[rest, None, None] for one in (flux, radius, flatness, angle)), index=index)
    image = np.zeros((scene.size + 2 * reach + 2, scene.size + 2 * reach + 2), np.float32)  # with a margin, so that none is cut
    for part, r, c in zip(drawn, (row + 1).tolist(), (column + 1).tolist(), strict=True):
        image[r : r + len(axis), c : c + len(axis)] += part
    return image[reach + 1 : reach + 1 + scene.size, reach + 1 : reach + 1 + scene.size]


def _change(scene: Scene, flux: float, fwhm: float, rng: np.random.Generator) -> Image:
    """What the thing itself adds to the exposure, without noise [nJy]."""
    size = scene.size
    if scene.trail_pixels > fwhm:
        steps = int(np.ceil(scene.trail_pixels)) * 2 + 1
        along = np.linspace(-0.5, 0.5, steps) * scene.trail_pixels
        cos, sin = np.cos(scene.trail_angle), np.sin(scene.trail_angle)
        parts = [psf(size, fwhm, scene.x + a * cos, scene.y + a * sin, scene.stretch, _index(scene, fwhm)) for a in along]
        drawn: Image = np.stack(parts).sum(axis=0) * np.float32(flux / steps)
        return drawn
    if scene.artefact in ON_STARS:
        return np.zeros((size, size), np.float32)  # a fault of the subtraction alone
    if scene.artefact:
        return blemish(scene.artefact, size, flux, fwhm, scene.x, scene.y, scene.trail_angle, rng)
    x, y = rng.normal(0, 0.1, 2)
    return psf(size, fwhm, scene.x + x, scene.y + y, scene.stretch, _index(scene, fwhm)) * np.float32(flux)


def _left(steady: Image, noise: Image, rng: np.random.Generator) -> Image:
    """What a subtraction leaves of steady light, going with it: it is never quite in the same place, nor of the same width, nor smooth."""
    east, north, wide = (rng.normal(0, 0.043, 3) * np.exp(rng.normal(0, 0.5))).tolist()
    flat, rough = float(rng.normal(0, 0.007)), float(0.014 * np.exp(rng.normal(0, 0.8)))
    left: Image = steady * (flat + rough * noise)
    right, before, above, below = steady[1:-1, 2:], steady[1:-1, :-2], steady[2:, 1:-1], steady[:-2, 1:-1]
    left[1:-1, 1:-1] += (
        (east + wide / 2) * right + (wide / 2 - east) * before + (north + wide / 2) * above + (wide / 2 - north) * below - 2 * wide * steady[1:-1, 1:-1]
    )
    return left


def stamps(
    scene: Scene, site: Observatory, band: int, flux: float, depth: float, seeing_arcsec: float, rng: np.random.Generator
) -> tuple[list[Image], list[Image], Image | None]:
    """Science, template and difference of one detection, their variances, and the PSF; counts for ZTF, nJy for LSST.

    ZTF sends template less science where a detection is negative, so that what was detected stands out in all of its difference images; LSST does not.
    """
    ztf = site.name == "ztf"
    fwhm = usual = seeing_arcsec / site.pixel_arcsec
    if ztf:  # good nights are alike, bad ones are not: medians of fifteen real nights are 1.7 to 2.5 pixels, but for three of 2.7 to 3.8
        fwhm *= float(1.02 * np.exp(rng.normal(0, 0.1) + rng.exponential(0.22)))
    fwhm = max(fwhm, 1.3 if ztf else 1.2)
    steady = _steady(scene, band, fwhm, False)
    sharper = _steady(scene, band, scene.template_fwhm or fwhm, bool(scene.template_fwhm))
    change = _change(scene, flux, fwhm, rng)
    unit = float(nanojansky(ZERO_POINT_ZTF)) if ztf else 1.0  # [nJy] of one unit of the image
    effective = 2.27 * fwhm * max(usual, 1.2)  # pixels that share the noise of a point source; the depth knows of usual seeing only
    dark = float(nanojansky(depth)) / 5 / unit / np.sqrt(effective) / (2.45 if ztf else 1.0)
    per_unit = 1 / GAIN_ZTF if ztf else float(nanojansky(site.zero_electrons[band]))
    sky = dark**2 * GAIN_ZTF * float(rng.uniform(0.35, 0.9)) if ztf else 0.0
    clear = np.float32(rng.uniform(0.02, 0.3) if scene.artefact == "faded" else 1.0)
    shown, template, change = steady * (clear / np.float32(unit)), sharper / np.float32(unit), change / np.float32(unit)
    variance = np.float32(dark**2) + np.maximum(shown + change, 0) * np.float32(per_unit)
    shallow, uneven = (0.18, 0.42) if ztf else TEMPLATE_NOISE_LSST
    template_variance = np.float32((dark * shallow * np.exp(rng.normal(0, uneven))) ** 2) + np.maximum(template, 0) * np.float32(per_unit * 0.04)
    size = scene.size
    noise = rng.standard_normal((3, size, size), dtype=np.float32)
    own = noise[0]
    if ztf:
        own[:, 1:] += np.float32(rng.normal(READOUT, 0.02)) * own[:, :-1].copy()
    own_noise = own * np.sqrt(variance)
    template_noise = resampled(noise[1], *TEMPLATE_KERNEL) * np.sqrt(template_variance)
    sharper_by = min(max((1.15 - fwhm / (scene.template_fwhm or fwhm)) / 0.3, 0.0), 1.0) if ztf else 0.0
    subtracted = resampled(own_noise, *(value * sharper_by for value in DIFFERENCE_KERNEL)) if sharper_by > 0 else own_noise
    left = _left(shown, noise[2], rng)
    if scene.artefact in ON_STARS:
        left += blemish(scene.artefact, size, flux / unit, fwhm, scene.x, scene.y, scene.trail_angle, rng)
    slope = rng.normal(0, 0.06, 2) * dark / size
    axis = grid(size)
    ground: Image = (float(slope[0]) * axis)[:, None] + (float(slope[1]) * axis)[None, :]
    difference = change + subtracted + left - template_noise * np.float32(0.3) + np.float32(rng.normal(0, 0.15) * dark * 0.1)
    if not ztf:  # the background is taken off, but for 0.04 of the noise of a pixel
        difference += np.float32(rng.normal(0, 0.04) * dark)
        sky = float(rng.normal(0.01, 0.04)) * dark
    elif flux < 0:
        difference = -difference
    reference = template + template_noise + ground + np.float32(sky if ztf else 0.01 * dark)
    science = shown + change + own_noise + ground + np.float32(sky)
    images = [science, reference, difference]
    for first, last, begin, end in scene.blank:
        for image in images:
            image[first:last, begin:end] = np.nan
    point = None if ztf else psf(PSF_LSST, fwhm, index=_index(scene, fwhm))  # ZTF sends none
    return images, [variance, template_variance, variance + template_variance], point


def as_fits(images: list[Image], variances: list[Image], point: Image | None) -> tuple[bytes, bytes, bytes]:
    """Science, template and difference as the survey sends them: gzipped FITS, or, with the PSF (`point`), FITS of image, variance and PSF."""
    if point is None:
        parts = [_gzip(fits(("", image))) for image in images]
    else:
        point = point / point.sum()
        parts = [fits(("IMAGE", image), ("UNCERT", variance), ("PSFIMAGE", point)) for image, variance in zip(images, variances, strict=True)]
    return parts[0], parts[1], parts[2]


def _gzip(value: bytes) -> bytes:
    import cramjam

    return bytes(cramjam.gzip.compress(value, 1))


def neighbours(rng: np.random.Generator, size: int, pixel_arcsec: float, density: float) -> list[Source]:
    """Unrelated stars and galaxies in a cutout; `density` of catalogued sources an arcsec^2."""
    number = min(int(rng.poisson(density * 0.9 * (size * pixel_arcsec) ** 2)), 60)
    half = size / 2
    x, y = rng.uniform(-half, half, (2, number))
    mag = 23.3 - rng.gamma(1.5, 1.2, number)
    seen = mag < (22.5 if pixel_arcsec > 0.5 else 99)  # fainter ones drown
    x, y, mag, number = x[seen], y[seen], mag[seen], int(seen.sum())
    flux = nanojansky(mag)
    radius = np.where(rng.random(number) < 0.5, 0.0, rng.uniform(0.5, 1.5, number) / pixel_arcsec)
    flatness, angle = rng.uniform(0.3, 1, number), rng.uniform(0, np.pi, number)
    return [Source(*(float(value) for value in one)) for one in zip(x, y, flux, radius, flatness, angle, strict=True)]


__all__ = ["Scene", "Source", "as_fits", "neighbours", "psf", "stamps"]
