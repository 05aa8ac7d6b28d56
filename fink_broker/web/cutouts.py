"""Cutouts out of the lake, as FITS, numbers or PNG."""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import struct
import threading
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fink_broker.errors import NotFound
from fink_broker.lake import SCANS, Lake
from fink_broker.survey import Survey

Kind = Literal["science", "template", "difference"]
Stretch = Literal["asinh", "linear", "sqrt", "log", "sigmoid", "power", "zscale"]
KINDS: tuple[Kind, ...] = get_args(Kind)
STRETCHES: tuple[Stretch, ...] = get_args(Stretch)
# Colours at equal steps from low to high; between them they are mixed.
COLORMAPS = {
    "gray": ("000000", "ffffff"),
    "gray_r": ("ffffff", "000000"),
    "heat": ("000000", "7a0403", "d7301f", "fdae61", "ffffbf", "ffffff"),
    "blue": ("08122b", "1b4f8a", "4ca3c9", "b8e2d4", "ffffff"),
    "diverging": ("2166ac", "92c5de", "f7f7f7", "f4a582", "b2182b"),
}
KEPT = 200  # alerts whose cutouts stay in memory: a page asks for each of three


class Cutouts:
    """Reads cutouts; those of the last alerts stay at hand."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._kept: OrderedDict[tuple[str, str], dict[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, survey: Survey, alert_id: str, files: str) -> dict[str, bytes]:
        """FITS bytes (unpacked) of an alert's cutouts by kind; NotFound when the lake has none. `files` is "NIGHT|PREFIX"."""
        key = survey.name, alert_id
        with self._lock:  # one reader at a time: the three images of a page are one reading
            if key not in self._kept:
                self._kept[key] = fetch(self.lake, survey, alert_id, files)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]


def fetch(lake: Lake, survey: Survey, alert_id: str, files: str) -> dict[str, bytes]:
    """FITS bytes (unpacked) of an alert's cutouts by kind, from its batch's files or else from all of its night."""
    if not survey.cutout_paths:
        return {}
    night, _, prefix = files.partition("|")
    folder = lake.table("science") / f"survey={survey.name}" / f"night={night}"
    for _ in range(SCANS):
        with contextlib.suppress(FileNotFoundError):  # the night's files have just been exchanged for merged ones
            return _in_folder(folder, prefix, survey, alert_id)
    raise NotFound(f"no cutouts of alert {alert_id} now: the files of night {night} are being replaced; try again in a minute")


def _in_folder(folder: Path, prefix: str, survey: Survey, alert_id: str) -> dict[str, bytes]:
    own = sorted(folder.glob(f"{prefix}-*.parquet")) if prefix else []
    others = (file for file in sorted(folder.glob("*.parquet")) if file not in own)
    for file in (*own, *others):
        found = _in_file(file, survey, alert_id)
        if found is not None:
            return found
    raise NotFound(
        f"no cutouts of alert {alert_id}: it is not in {folder.name.replace('=', ' ')} of the lake; the batch may not be stored yet, try again in a minute"
    )


def _in_file(file: Path, survey: Survey, alert_id: str) -> dict[str, bytes] | None:
    import pyarrow.parquet as pq

    source = pq.ParquetFile(file)
    columns = [f"packet.{path}" for path in survey.cutout_paths.values()]
    for group in range(source.num_row_groups):
        ids = source.read_row_group(group, columns=["alert_id"]).column(0).to_pylist()
        if alert_id not in ids:
            continue
        at = ids.index(alert_id)
        for batch in source.iter_batches(batch_size=64, row_groups=[group], columns=columns):
            if at < len(batch):
                return _bytes(batch.slice(at, 1).to_pylist()[0]["packet"], survey)
            at -= len(batch)
    return None


def _bytes(packet: Any, survey: Survey) -> dict[str, bytes]:
    found = {}
    for kind, path in survey.cutout_paths.items():
        value = packet
        for part in path.split("."):
            value = value.get(part) if value else None
        if value:
            found[kind] = gzip.decompress(value) if value[:2] == b"\x1f\x8b" else bytes(value)
    return found


def pixels(fits: bytes) -> NDArray[np.float64]:
    """The first image of FITS bytes (LSST puts variance and PSF behind it); NotFound when there is none."""
    from astropy.io import fits as reader

    try:
        with reader.open(io.BytesIO(fits)) as hdus:
            image = next((hdu.data for hdu in hdus if getattr(hdu.data, "ndim", 0) == 2), None)
            if image is not None:
                return np.asarray(image, np.float64)
    except OSError as error:
        raise NotFound(f"the cutout is not readable as FITS: {error}; ask for format=FITS to get its bytes") from error
    raise NotFound("the cutout holds no image; ask for format=FITS to get its bytes")


def numbers(fits: bytes) -> list[list[float | None]]:
    """Lines of pixels; what has no value is null."""
    return [[value if math.isfinite(value) else None for value in line] for line in pixels(fits).tolist()]


def png(
    image: NDArray[np.float64],
    stretch: Stretch = "asinh",
    low_percent: float = 0.5,
    high_percent: float = 99.5,
    scale: int = 1,
    colormap: str = "gray",
) -> bytes:
    """A PNG with the first row at the bottom as in FITS; pixels without a value are transparent."""
    good = np.isfinite(image)
    unit = np.clip(_stretched(np.where(good, image, 0.0), image[good], stretch, low_percent, high_percent), 0, 1)
    colours = np.array([list(bytes.fromhex(code)) for code in COLORMAPS[colormap]], float)
    steps = np.linspace(0, 1, len(colours))
    painted = [np.interp(unit, steps, colours[:, channel]) for channel in range(3)]
    rgba = np.stack([*painted, np.where(good, 255, 0)], axis=-1).round().astype(np.uint8)[::-1]
    rgba = np.repeat(np.repeat(rgba, scale, 0), scale, 1)
    height, width = rgba.shape[:2]
    rows = np.concatenate([np.zeros((height, 1), np.uint8), rgba.reshape(height, -1)], axis=1).tobytes()
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)


def _stretched(image: NDArray[np.float64], good: NDArray[np.float64], stretch: Stretch, low_percent: float, high_percent: float) -> NDArray[np.float64]:
    """The image between 0 (dark) and 1 (bright), and beyond where pixels lie outside the limits."""
    if not good.size:
        return np.zeros_like(image)
    if stretch == "zscale":
        from astropy.visualization import ZScaleInterval

        low, high = ZScaleInterval().get_limits(good)
    else:
        low, high = np.percentile(good, [low_percent, high_percent])
    unit = (image - low) / (high - low if high > low else 1.0)
    inside = np.clip(unit, 0, 1)
    curves: dict[str, NDArray[np.float64]] = {
        "asinh": np.arcsinh(inside / 0.1) / np.arcsinh(10.0),
        "sqrt": np.sqrt(inside),
        "log": np.log1p(inside * 1000) / np.log(1001),
        "sigmoid": 1 / (1 + np.exp(-10 * (inside - 0.5))),
        "power": inside**2,
    }
    return curves.get(stretch, unit)
