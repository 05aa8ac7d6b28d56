"""Cutouts with a source in them, as the surveys send them: FITS of science, template and difference."""

from __future__ import annotations

import gzip
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
VARIANTS = 6  # stamps of one kind and brightness that are told apart


def fits(*images: tuple[str, Image]) -> bytes:
    """Images as the HDUs of a FITS file (float32)."""
    return b"".join(_hdu(name, image, primary=index == 0) for index, (name, image) in enumerate(images))


def _hdu(name: str, image: Image, primary: bool) -> bytes:
    height, width = image.shape
    cards = ["SIMPLE  =                    T" if primary else "XTENSION= 'IMAGE   '", f"BITPIX  = {-32:>20}", f"NAXIS   = {2:>20}",
             f"NAXIS1  = {width:>20}", f"NAXIS2  = {height:>20}"]  # fmt: skip
    if not primary:
        cards += [f"PCOUNT  = {0:>20}", f"GCOUNT  = {1:>20}", f"EXTNAME = '{name:<8}'"]
    header = "".join(f"{card:<80}" for card in [*cards, "END"]).encode()
    data = image.astype(">f4").tobytes()
    return header + b" " * (-len(header) % 2880) + data + b"\0" * (-len(data) % 2880)


def _psf(size: int, fwhm: float, x: float = 0.0, y: float = 0.0) -> Image:
    axis = np.arange(size) - (size - 1) / 2
    found: Image = np.exp(-4 * np.log(2) * ((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2) / fwhm**2).astype(np.float32)
    return found


@lru_cache(maxsize=512)
def stamps(kind: str, brightness: int, sign: int, variant: int, size: int, lsst: bool) -> tuple[bytes, bytes, bytes]:
    """Science, template and difference of a kind of object; `brightness` is log2 of the signal-to-noise ratio."""
    rng = np.random.default_rng([hash_of(kind), brightness, sign + 2, variant, size])
    noise = 1.0 if lsst else 10.0
    source = _psf(size, 3.0 if lsst else 2.2) * noise * 2.0**brightness * sign
    sky = rng.normal(0, noise, (2, size, size)).astype(np.float32)
    template = sky[0] * 0.4
    if kind == "supernova":  # beside the core of a galaxy
        x, y = rng.uniform(-6, 6, 2)
        template = template + _psf(size, 9.0, x, y) * noise * 60
    elif kind in ("variable", "microlensing"):
        template = template + _psf(size, 2.2) * noise * 2.0 ** (brightness + 1)
    if kind == "bogus":  # a cosmic ray or a bad column instead of a source
        source = np.zeros_like(source)
        row = int(rng.integers(size // 3, 2 * size // 3))
        source[row : row + 2, size // 2 - 4 : size // 2 + 5] = noise * 40
    for _ in range(int(rng.integers(1, 4))):  # neighbours
        x, y = rng.uniform(-size / 2, size / 2, 2)
        template = template + _psf(size, 2.2, x, y) * noise * rng.uniform(5, 80)
    science = template + source + sky[1]
    difference = science - template
    images = (science, template, difference)
    if lsst:
        spread = np.full((size, size), noise**2, np.float32) + np.abs(template) * 0.1
        psf = _psf(41, 3.0)
        return _three([fits(("IMAGE", image), ("UNCERT", spread), ("PSFIMAGE", psf / psf.sum())) for image in images])
    return _three([gzip.compress(fits(("", image)), 1, mtime=0) for image in images])


def _three(parts: list[bytes]) -> tuple[bytes, bytes, bytes]:
    return parts[0], parts[1], parts[2]


def hash_of(text: str) -> int:
    """A small number that is the same in every process."""
    return sum(ord(letter) * 31**place for place, letter in enumerate(text)) % 65521
