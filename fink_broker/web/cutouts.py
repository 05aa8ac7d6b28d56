"""Cutouts out of the lake, as FITS, numbers or PNG."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fink_broker.errors import NotFound
from fink_broker.lake import Lake
from fink_broker.survey import Survey

Kind = Literal["science", "template", "difference"]
Stretch = Literal["asinh", "linear", "sqrt", "log"]
KINDS: tuple[Kind, ...] = ("science", "template", "difference")


def fetch(lake: Lake, survey: Survey, alert_id: str, files: str) -> dict[str, bytes]:
    """FITS bytes (unpacked) of an alert's cutouts by kind; NotFound when the lake has none. `files` is "NIGHT|PREFIX"."""
    night, _, prefix = files.partition("|")
    folder = lake.table("science") / f"survey={survey.name}" / f"night={night}"
    for file in sorted(folder.glob(f"{prefix}-*.parquet")) or sorted(folder.glob("*.parquet")):
        found = _in_file(file, survey, alert_id)
        if found is not None:
            return found
    raise NotFound(f"no cutouts of alert {alert_id}: not in the lake's night {night}; the night may not be stored yet")


def _in_file(file: Path, survey: Survey, alert_id: str) -> dict[str, bytes] | None:
    import pyarrow.parquet as pq

    source = pq.ParquetFile(file)
    columns = [f"packet.{path}" for path in survey.cutout_paths.values()]
    for group in range(source.num_row_groups):
        ids = source.read_row_group(group, columns=["alert_id"]).column(0).to_pylist()
        if alert_id in ids:
            packet = source.read_row_group(group, columns=columns).slice(ids.index(alert_id), 1).to_pylist()[0]
            found = {}
            for kind, path in survey.cutout_paths.items():
                value: Any = packet["packet"]
                for part in path.split("."):
                    value = value.get(part) if value else None
                if value:
                    found[kind] = gzip.decompress(value) if value[:2] == b"\x1f\x8b" else bytes(value)
            return found
    return None


def pixels(fits: bytes) -> NDArray[np.float64]:
    """The first image of FITS bytes."""
    from astropy.io import fits as reader

    with reader.open(io.BytesIO(fits)) as hdus:
        image = next(hdu.data for hdu in hdus if hdu.data is not None)
        return np.asarray(image, np.float64)


def png(image: NDArray[np.float64], stretch: Stretch = "asinh", low_percent: float = 0.5, high_percent: float = 99.5, scale: int = 1) -> bytes:
    """A grey PNG, first row at the bottom as in FITS; pixels without a value are transparent black."""
    good = np.isfinite(image)
    low, high = np.percentile(image[good], [low_percent, high_percent]) if good.any() else (0.0, 1.0)
    unit = np.clip((np.where(good, image, low) - low) / (high - low if high > low else 1.0), 0, 1)
    if stretch == "asinh":
        unit = np.arcsinh(unit / 0.1) / np.arcsinh(10.0)
    elif stretch == "sqrt":
        unit = np.sqrt(unit)
    elif stretch == "log":
        unit = np.log1p(unit * 1000) / np.log(1001)
    grey = np.stack([(unit * 255).astype(np.uint8), np.where(good, 255, 0).astype(np.uint8)], axis=-1)[::-1]
    grey = np.repeat(np.repeat(grey, scale, 0), scale, 1)
    height, width = grey.shape[:2]
    rows = np.concatenate([np.zeros((height, 1), np.uint8), grey.reshape(height, -1)], axis=1).tobytes()
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 4, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
