"""Cutouts with a source in them, as the surveys send them: FITS of science, template and difference."""

from __future__ import annotations

import gzip
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
VARIANTS = 6  # stamps of one kind and brightness that are told apart
SIZE_ZTF = 63  # [pixels]
SIZES_LSST = (51, 43, 51, 55, 61, 71)  # [pixels], by variant: the survey's grow with the source
CUT_OFF = 48  # rows that are left at the edge of a chip [pixels]


def fits(*images: tuple[str, Image]) -> bytes:
    """Images as the HDUs of a FITS file (float32)."""
    return b"".join(_hdu(name, image, index == 0, len(images) > 1) for index, (name, image) in enumerate(images))


@lru_cache(maxsize=256)
def _header(name: str, width: int, height: int, primary: bool, extend: bool) -> bytes:
    cards = ["SIMPLE  =                    T" if primary else "XTENSION= 'IMAGE   '", f"BITPIX  = {-32:>20}", f"NAXIS   = {2:>20}",
             f"NAXIS1  = {width:>20}", f"NAXIS2  = {height:>20}"]  # fmt: skip
    if primary and extend:
        cards.append(f"EXTEND  = {'T':>20}")
    if not primary:
        cards += [f"PCOUNT  = {0:>20}", f"GCOUNT  = {1:>20}"]
    if name:
        cards.append(f"EXTNAME = '{name:<8}'")
    text = "".join(f"{card:<80}" for card in [*cards, "END"]).encode()
    return text + b" " * (-len(text) % 2880)


def _hdu(name: str, image: Image, primary: bool, extend: bool) -> bytes:
    height, width = image.shape
    data = image.astype(">f4").tobytes()
    return _header(name, width, height, primary, extend) + data + b"\0" * (-len(data) % 2880)


def _psf(size: int, fwhm: float, x: float = 0.0, y: float = 0.0) -> Image:
    axis = np.arange(size) - (size - 1) / 2
    found: Image = np.exp(-4 * np.log(2) * ((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2) / fwhm**2).astype(np.float32)
    return found


@lru_cache(maxsize=512)
def stamps(kind: str, brightness: int, sign: int, variant: int, deep: bool) -> tuple[bytes, bytes, bytes]:
    """Science, template and difference of a kind of object; `brightness` is log2 of the signal-to-noise ratio.

    `deep` gives plain FITS with variance and PSF, else gzipped FITS of one image each. Difference = science - template.
    """
    size = SIZES_LSST[variant % len(SIZES_LSST)] if deep else SIZE_ZTF
    rng = np.random.default_rng([_hash(kind), brightness, sign + 2, variant, size])
    noise, fwhm = (1.0, 3.5) if deep else (10.0, 2.2)
    peak = noise * 2.0 ** (brightness + 0.5) / (0.753 * fwhm)  # of a Gaussian with that signal-to-noise ratio
    source = _psf(size, fwhm) * peak * sign
    sky = rng.normal(0, noise, (2, size, size)).astype(np.float32)
    template = sky[0] * 0.4
    if kind == "supernova":  # beside the core of a galaxy
        x, y = rng.uniform(-6, 6, 2)
        template = template + _psf(size, 9.0, x, y) * noise * 60
    elif kind in ("variable", "microlensing"):
        template = template + _psf(size, fwhm) * peak * (3 if sign < 0 else 1.5)
    if kind == "bogus":  # a cosmic ray or a bad column instead of a source
        source = np.zeros_like(source)
        row = int(rng.integers(size // 3, 2 * size // 3))
        source[row : row + 2, size // 2 - 4 : size // 2 + 5] = noise * 40 * sign
    for _ in range(int(rng.integers(1, 4))):  # neighbours, away from the middle
        angle, apart = rng.uniform(0, 2 * np.pi), rng.uniform(size / 5, size / 2)
        template = template + _psf(size, fwhm, apart * np.cos(angle), apart * np.sin(angle)) * noise * rng.uniform(5, 80)
    science = template + source + sky[1]
    images = (science, template, science - template)
    if kind == "bogus" and variant == 0:
        images = (science[:CUT_OFF], template[:CUT_OFF], (science - template)[:CUT_OFF])
    if deep:
        psf = _psf(41, fwhm)
        parts = [fits(("IMAGE", image), ("UNCERT", np.abs(image) * 0.1 + np.float32(noise**2)), ("PSFIMAGE", psf / psf.sum())) for image in images]
    else:
        parts = [gzip.compress(fits(("", image)), 1, mtime=0) for image in images]
    return parts[0], parts[1], parts[2]


def _hash(text: str) -> int:
    """A small number that is the same in every process."""
    return sum(ord(letter) * 31**place for place, letter in enumerate(text)) % 65521
