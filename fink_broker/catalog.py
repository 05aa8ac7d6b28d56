"""Local catalogues: HEALPix-sorted Parquet made by `fink catalog import`, searched without a network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fink_broker import sky
from fink_broker.errors import ConfigError, NotFound

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
GROUP_ROWS = 50_000  # entries that are read together
GROUPS_KEPT = 64  # positions in memory, of all catalogues of a process: at most 77 MB
TEXTS_KEPT = 16  # names and classes
_POSITION = ("healpix", "ra", "dec")


@dataclass(frozen=True)
class Catalog:
    """Positions, names and classes of one catalogue; read from its file where the sky is asked for."""

    name: str
    radius_arcsec: float
    about: dict[str, Any]
    rows: int
    lows: Ints = field(repr=False)  # of each group: first pixel, last pixel, first row
    highs: Ints = field(repr=False)
    starts: Ints = field(repr=False)
    file: Path | None = None
    held: Any = field(default=None, repr=False)  # the Arrow table of a catalogue without a file

    @staticmethod
    def from_csv(file: Path, name: str, radius_arcsec: float) -> Catalog:
        """A small catalogue with columns name, ra, dec [deg], class, kept in memory."""
        from fink_broker.catalog_import import read_table

        return Catalog.of(name, radius_arcsec, read_table(file))

    @staticmethod
    def of(name: str, radius_arcsec: float, table: pa.Table) -> Catalog:
        """A catalogue in memory; columns ra, dec, name, class, healpix, sorted by the last."""
        pixel = table.column("healpix").to_numpy()
        low, high = _ints(pixel[:1]), _ints(pixel[-1:])
        about = {"name": name, "radius_arcsec": radius_arcsec}
        return Catalog(name, radius_arcsec, about, table.num_rows, low, high, _ints([0] * len(low)), held=table)

    @staticmethod
    def open(file: Path) -> Catalog:
        """An imported catalogue; only its index is read now."""
        import pyarrow.parquet as pq

        try:
            found = pq.read_metadata(file)
            about = json.loads((found.metadata or {})[b"fink"])
        except (KeyError, ValueError, OSError) as error:
            raise ConfigError(f"{file} is no imported catalogue; take it away, or make it with `fink catalog import FILE`") from error
        groups = [found.row_group(index) for index in range(found.num_row_groups) if found.row_group(index).num_rows]
        place = found.schema.to_arrow_schema().get_field_index("healpix")
        spans = [group.column(place).statistics for group in groups]
        starts = np.cumsum([0, *(group.num_rows for group in groups)])[:-1]
        lows, highs = _ints([span.min for span in spans]), _ints([span.max for span in spans])
        return Catalog(about["name"], about["radius_arcsec"], about, found.num_rows, lows, highs, _ints(starts), file)

    def nearest(self, ra: Any, dec: Any, pixel: Ints | None = None) -> tuple[Ints, Ints, NDArray[np.float64]]:
        """Rows of positions [deg] with an entry within the radius, the nearest entry of each, and its distance [arcsec].

        `pixel` are the order-29 pixels of the positions, where they are known.
        """
        ra, dec = np.asarray(ra, float), np.asarray(dec, float)
        usable = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        if not self.rows or not len(usable):
            return _ints([]), _ints([]), np.empty(0)
        pixels = sky.healpix(ra[usable], dec[usable]) if pixel is None else pixel[usable]
        found = [(_ints([]), _ints([]), np.empty(0)), *self._near(ra, dec, *self._spans(usable, pixels))]
        rows, entries, apart = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((apart, rows))
        chosen = order[np.diff(rows[order], prepend=-1) > 0]
        return rows[chosen], entries[chosen], apart[chosen]

    def _spans(self, usable: Ints, pixels: Ints) -> tuple[Ints, Ints, Ints]:
        """For each position, spans of order-29 pixels that cover the cone: the coarse pixel around it and its neighbours."""
        from cdshealpix.nested import neighbours

        # a pixel is 58.6 deg / 2^order wide on average; twice the radius is enough where pixels are narrow (tests)
        order = int(np.clip(math.floor(math.log2(58.6 * 3600 / (2 * self.radius_arcsec))), 0, sky.ORDER))
        shift = 2 * (sky.ORDER - order)
        around = neighbours((pixels >> shift).astype(np.uint64), order, num_threads=1).astype(np.int64)
        rows, around = np.repeat(usable, around.shape[1]), around.ravel()
        real = around >= 0
        return rows[real], around[real] << shift, (around[real] + 1) << shift

    def _near(self, ra: Any, dec: Any, rows: Ints, low: Ints, high: Ints) -> Iterator[tuple[Ints, Ints, NDArray[np.float64]]]:
        """Entries within the radius: (row, entry, distance), one group of the catalogue after the other."""
        first = np.searchsorted(self.highs, low, "left")
        number = np.searchsorted(self.lows, high - 1, "right") - first
        span, index = _expand(first, np.maximum(number, 0))
        for place in np.unique(index):
            mine = span[index == place]
            pixel, there_ra, there_dec = self._positions(int(place))
            start, stop = np.searchsorted(pixel, low[mine]), np.searchsorted(pixel, high[mine])
            which, local = _expand(start, stop - start)
            row = rows[mine][which]
            apart = sky.separation_arcsec(ra[row], dec[row], there_ra[local], there_dec[local])
            good = apart <= self.radius_arcsec
            yield row[good], local[good] + self.starts[place], apart[good]

    def names(self, entries: Ints) -> list[str | None]:
        """Names of entries."""
        return self._texts(entries, "name")

    def classes(self, entries: Ints) -> list[str | None]:
        """Classes of entries."""
        return self._texts(entries, "class")

    def _texts(self, entries: Ints, what: str) -> list[str | None]:
        found: list[str | None] = [None] * len(entries)
        places = np.searchsorted(self.starts, entries, "right") - 1
        for place in np.unique(places):
            mine = np.flatnonzero(places == place)
            texts = self.held.column(what) if self.file is None else _read_text(self.file, self._mark, int(place), what)
            values = texts.take(entries[mine] - self.starts[place]).to_pylist()
            for row, value in zip(mine.tolist(), values, strict=True):
                found[row] = value
        return found

    def _positions(self, place: int) -> tuple[Any, ...]:
        """Pixels and positions of one group, as arrays."""
        if self.file is None:
            return tuple(self.held.column(name).to_numpy() for name in _POSITION)
        return _read_positions(self.file, self._mark, place)

    @property
    def _mark(self) -> str:
        """Tells a catalogue that was imported again from the one before."""
        return str(self.about.get("sha256", ""))


def open_catalogs(folder: Path, names: Sequence[str] = ()) -> list[Catalog]:
    """The imported catalogues, all or those named; NotFound for a name that is not there."""
    files = {file.stem: file for file in sorted(folder.glob("[!.]*.parquet"))}
    if missing := [name for name in names if name not in files]:
        raise NotFound(f"no catalogue named '{missing[0]}' under {folder}; there are {', '.join(files) or 'none'}; import it: fink catalog import FILE")
    return [Catalog.open(files[name]) for name in (names or files)]


@lru_cache(maxsize=GROUPS_KEPT)
def _read_positions(file: Path, mark: str, place: int) -> tuple[Any, ...]:
    return tuple(column.to_numpy() for column in _read_columns(file, place, _POSITION))


@lru_cache(maxsize=TEXTS_KEPT)
def _read_text(file: Path, mark: str, place: int, name: str) -> Any:
    return _read_columns(file, place, (name,))[0]


def _read_columns(file: Path, place: int, names: tuple[str, ...]) -> list[Any]:
    """Columns of one row group."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(file).read_row_group(place, columns=list(names), use_threads=False).select(list(names)).columns


def _expand(first: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """For spans [first, first + count): the number of the span, and each place in it."""
    span = np.repeat(np.arange(len(first)), counts)
    return span, first[span] + np.arange(len(span)) - np.repeat(np.cumsum(counts) - counts, counts)


def _ints(values: Any) -> Ints:
    return np.asarray(values, np.int64)
