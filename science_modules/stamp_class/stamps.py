"""Cutouts as a network takes them: the middle of each, in units of its noise."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import sky

Floats = NDArray[np.float32]
NAMES = ("cutout_science", "cutout_template", "cutout_difference")
SIDE = 31  # pixels of the middle that are kept
CONTEXT_INPUTS = ("ra", "dec", "flux", "snr", "neighbour_distance_arcsec", "neighbour_star_score")
CORE = 6  # pixels on each side of the middle that are the thing's own
CONTEXT = 13
_TYPES = {-32: ">f4", -64: ">f8", 16: ">i2", 32: ">i4", 8: "u1"}


def image(value: Any) -> NDArray[np.float64] | None:
    """The first image of a FITS file, gzipped or not; None if it is none."""
    if value is None or not isinstance(value, (bytes, bytearray, memoryview)) or not len(value):
        return None
    data = bytes(value)
    try:
        data = zlib.decompress(data, 31) if data[:2] == b"\x1f\x8b" else data
        about: dict[str, int] = {}
        for start in range(0, min(len(data), 28_800), 80):
            card = data[start : start + 80]
            key = card[:8].rstrip()
            if key in (b"BITPIX", b"NAXIS", b"NAXIS1", b"NAXIS2"):
                about[key.decode()] = int(card[10:30])
            if key == b"END":
                begin = (start // 2880 + 1) * 2880
                shape = about["NAXIS2"], about["NAXIS1"]
                found = np.frombuffer(data, _TYPES[about["BITPIX"]], shape[0] * shape[1], begin)
                return found.reshape(shape).astype(float)
    except (zlib.error, ValueError, KeyError):
        return None
    return None


def scaled(found: NDArray[np.float64]) -> Floats:
    """An image less its median, in units of its noise, arcsinh; 0 where there is none."""
    good = np.isfinite(found)
    if good.sum() < 10:
        return np.zeros(found.shape, np.float32)
    level = np.median(found[good])
    noise = 1.4826 * np.median(np.abs(found[good] - level)) + 1e-9
    return np.where(good, np.arcsinh((found - level) / noise), 0).astype(np.float32)


def middle(found: Floats) -> Floats:
    """SIDE × SIDE pixels about the middle; 0 beyond the image."""
    made = np.zeros((SIDE, SIDE), np.float32)
    rows, columns = (_cut(size) for size in found.shape)
    made[rows[1], columns[1]] = found[rows[0], columns[0]]
    return made


def around(found: Floats) -> tuple[float, float]:
    """Highest and lowest value outside the very middle, where the thing itself is: what else goes on in the whole cutout."""
    row, column = (size // 2 for size in found.shape)
    rest = found.copy()
    rest[max(row - CORE, 0) : row + CORE + 1, max(column - CORE, 0) : column + CORE + 1] = 0
    return float(rest.max()), float(rest.min())


def _cut(size: int) -> tuple[slice, slice]:
    """Places of an axis of the image, and where they go, so that the middles meet."""
    shift = size // 2 - SIDE // 2
    return slice(max(shift, 0), min(shift + SIDE, size)), slice(max(-shift, 0), min(size - shift, SIDE))


def stamps(alerts: pd.DataFrame) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Images (alert, 3, SIDE, SIDE), what stands beside (alert, CONTEXT), and which alerts have all three."""
    found = np.zeros((len(alerts), len(NAMES), SIDE, SIDE), np.float32)
    rest = np.zeros((len(alerts), len(NAMES) + 1))
    some = np.ones(len(alerts), bool)
    for channel, name in enumerate(NAMES):
        for row, value in enumerate(alerts[name]):
            one = image(value)
            if one is None:
                some[row] = False
            else:
                whole = scaled(one)
                found[row, channel] = middle(whole)
                rest[row, channel], rest[row, -1] = around(whole)  # the last is the lowest of the difference
    value = {name: pd.to_numeric(alerts[name]).to_numpy(float) for name in CONTEXT_INPUTS}
    ra, dec = np.nan_to_num(value["ra"]), np.nan_to_num(value["dec"])
    near, star = value["neighbour_distance_arcsec"], value["neighbour_star_score"]
    plane = sky.galactic_latitude(ra, dec)
    columns = [
        np.sign(value["flux"]), np.log(np.maximum(np.abs(value["snr"]), 1)) / 3, np.abs(plane) / 45, np.abs(sky.ecliptic_latitude(ra, dec)) / 30,
        np.isfinite(near), np.log1p(near), near < 1.5, star, np.isfinite(star),
        *rest.T / 5,
    ]  # fmt: skip
    about = np.column_stack(columns).astype(np.float32) if len(alerts) else np.empty((0, CONTEXT), np.float32)
    return found, np.clip(np.nan_to_num(about, nan=0.0, posinf=0.0, neginf=0.0), -10, 10), some
