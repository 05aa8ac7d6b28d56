"""Merges Parquet files of a table, a few row groups in memory at a time; files whose columns differ get the union of them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fink_broker.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_BYTES = 64_000_000  # unpacked
TIME = "mjd"  # rows are sorted by it inside a row group, files come in the order of their first


@dataclass
class Group:
    """Files that can be written as one without a value changing, with the columns of all."""

    schema: pa.Schema
    files: list[Path] = field(default_factory=list)
    alerts: int = 0


@dataclass(frozen=True)
class Merged:
    """A file that was made."""

    file: Path
    alerts: int
    bytes: int


def groups(files: Sequence[Path]) -> list[Group]:
    """The files by what can be written together, each group in order of time."""
    import pyarrow.parquet as pq

    found: list[Group] = []
    first: dict[Path, float] = {}
    for file in files:
        source = pq.ParquetFile(file)
        first[file] = _first_time(source.metadata)
        schema = source.schema_arrow.remove_metadata()
        for group in found:
            union = unified(group.schema, schema)
            if union is not None:
                group.schema = union
                break
        else:
            found.append(group := Group(schema))
        group.files.append(file)
        group.alerts += source.metadata.num_rows
    for group in found:
        group.files.sort(key=lambda file: (first[file], file.name))
    return found


def unified(one: pa.Schema, other: pa.Schema) -> pa.Schema | None:
    """The columns of both; None where a value of one of them would change, such as a long integer that became a float."""
    import pyarrow as pa

    if one.equals(other):
        return one
    try:
        union = pa.unify_schemas([one, other], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    whole = pa.struct(list(union))
    return union if all(_holds(pa.struct(list(part)), whole) for part in (one, other)) else None


def _holds(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether every value of one type is the same in the other."""
    from pyarrow import types as t

    if old.equals(new) or t.is_null(old):
        return True
    if t.is_struct(old) and t.is_struct(new):
        return all(_holds(part.type, new.field(part.name).type) for part in old)
    if t.is_list(old) and t.is_list(new):
        return _holds(old.value_type, new.value_type)
    if t.is_map(old) and t.is_map(new):
        return _holds(old.key_type, new.key_type) and _holds(old.item_type, new.item_type)
    if t.is_signed_integer(old):
        return (t.is_signed_integer(new) and new.bit_width >= old.bit_width) or (t.is_float64(new) and old.bit_width <= 32)
    return bool(t.is_floating(old) and t.is_floating(new) and new.bit_width >= old.bit_width)


def merge(group: Group, folder: Path, name: str, target_bytes: int, codec: str) -> Iterator[Merged]:
    """Write a group's rows into files NAME-NNNNN.parquet of at least so many bytes, but the last; each is read back and compared."""
    writer: _Writer | None = None
    number = len(list(folder.glob(f"{name}-*.parquet")))
    for rows in _row_groups(group):
        writer = writer or _Writer(folder / f"{name}-{number:05d}.parquet", group.schema, codec)
        if writer.write(rows) >= target_bytes:
            yield writer.close()
            writer, number = None, number + 1
    if writer:
        yield writer.close()


def _row_groups(group: Group) -> Iterator[pa.Table]:
    """All rows, cut into row groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    held: list[pa.Table] = []
    size = 0
    for file in group.files:
        source = pq.ParquetFile(file)
        for number in range(source.num_row_groups):
            held.append(_shaped(source.read_row_group(number), group.schema))
            size += held[-1].nbytes
            if size >= ROW_GROUP_BYTES:
                whole = pa.concat_tables(held)
                rows = max(1, math.ceil(whole.num_rows * ROW_GROUP_BYTES / size))
                full = whole.num_rows // rows * rows
                for start in range(0, full, rows):
                    yield _in_time(whole.slice(start, rows))
                rest = whole.slice(full)
                held, size = ([rest.combine_chunks()], size * rest.num_rows // whole.num_rows) if rest.num_rows else ([], 0)
    if held:
        yield _in_time(pa.concat_tables(held))


def _shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of a wider schema, null where it has none."""
    import pyarrow as pa

    table = table.replace_schema_metadata(None)
    return table if table.schema.equals(schema) else pa.concat_tables([schema.empty_table(), table], promote_options="permissive").cast(schema)


def _in_time(table: pa.Table) -> pa.Table:
    import numpy as np

    if TIME not in table.column_names:
        return table
    times = table.column(TIME).to_numpy()
    return table if (np.diff(times) >= 0).all() else table.take(np.argsort(times, kind="stable"))


class _Writer:
    """One file that is being made."""

    def __init__(self, file: Path, schema: pa.Schema, codec: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.file, self.ids = file, list[Any]()
        self._stream = pa.OSFile(str(file), "wb")
        self._writer = pq.ParquetWriter(
            self._stream, schema, compression=codec, compression_level=1 if codec == "zstd" else None, use_dictionary=False, store_schema=False
        )  # fmt: skip

    def write(self, rows: pa.Table) -> int:
        """Add a row group; returns the bytes written so far."""
        self.ids.extend(rows.column("alert_id").to_pylist())
        self._writer.write_table(rows, row_group_size=rows.num_rows)
        return int(self._stream.tell())

    def close(self) -> Merged:
        """Bring it to the disk and compare what was written with what was read."""
        import pyarrow.parquet as pq

        self._writer.close()
        self._stream.close()
        flush(self.file)
        found = pq.ParquetFile(self.file).read(columns=["alert_id"]).column(0).to_pylist()
        if found != self.ids:
            raise StoreError(f"{self.file} holds {len(found)} alerts and not the {len(self.ids)} that were written; the files it was made of are kept")
        return Merged(self.file, len(found), self.file.stat().st_size)


def flush(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _first_time(metadata: Any) -> float:
    """The earliest time in a file, from its statistics; infinity without."""
    found = math.inf
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            if chunk.path_in_schema == TIME:
                if chunk.is_stats_set and chunk.statistics.has_min_max:
                    found = min(found, chunk.statistics.min)
                break
    return found
