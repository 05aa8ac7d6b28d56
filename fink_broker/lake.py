"""The Parquet lake: one folder a table, partitioned by survey and night; a batch writes its files exactly once.

Layout: LAKE/<table>/survey=<survey>/night=<YYYYMMDD>/<prefix>-….parquet with tables raw, science and quarantine.
Files are staged in LAKE/_staging and renamed into place, so that a reader which is not Spark never meets half a file.
A night's files may be merged later (compact.py) into compacted-<id>-….parquet beside which late alerts' files appear.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fink_broker.errors import StoreError
from fink_broker.frame import layout
from fink_broker.jvm import java_class
from fink_broker.log import Logger

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from fink_broker.settings import Settings

log = Logger("lake")
# Most of a packet's bytes are stamps, compressed already, and hardly any number comes twice: trying harder costs time and saves little.
WRITER = {"parquet.compression.codec.zstd.level": "1", "parquet.enable.dictionary": "false"}
STATISTICS = "parquet.column.statistics.enabled"
TABLES = ("raw", "science", "quarantine")
ROW_GROUP = 128 << 20  # Parquet's own size of one
COMPACTED = "compacted-"  # begins the name of a merged file
BATCH_FILES = "????????-????????-*.parquet"  # what batches write, and not what is merged of it
SCANS = 5  # times that a night is read when files vanish: it is being exchanged for a merged one
_COPIERS = ThreadPoolExecutor(2)  # kept, as each thread has its own connection to the JVM, for whose answers it mostly waits
_RANDOM = re.compile(r"(?<=-\d{5})-[0-9a-f-]{36}|\.c000|\.(?:zstd|snappy|lz4raw|lz4)(?=$|\.)")  # Spark's random part of a file's name


class Lake:
    """Writes and reads the tables of one lake."""

    def __init__(self, settings: Settings) -> None:
        if "://" in settings.lake_path and not settings.lake_path.startswith("file://"):
            raise StoreError(f"the lake at {settings.lake_path} is not on a mounted file system; mount it and set [lake] path to the mount")
        self.path = Path(settings.lake_path.removeprefix("file://"))
        self.codec = settings.lake.codec
        self._fewer: tuple[Any, frozenset[str], Any] | None = None  # a file's schema, columns, and the schema with those alone

    @property
    def linked(self) -> bool:
        """Whether one of its folders is a link, such as of an old night on another disk."""
        return any(folder.is_symlink() for level in ("*", "*/*", "*/*/*") for folder in self.path.glob(level))

    def table(self, name: str) -> Path:
        """Folder of a table."""
        return self.path / name

    def stage(self, frame: DataFrame, name: str, prefix: str, partitions: Iterable[str] = ("survey", "night")) -> Path:
        """Write a frame under LAKE/_staging as one file a task and partition; returns the staged folder."""
        staged = self.path / "_staging" / f"{name}-{prefix}"
        (
            frame.write.mode("overwrite")
            .option("mapreduce.output.basename", prefix)
            .option("compression", "uncompressed" if self.codec == "none" else self.codec)
            .options(**WRITER, **_statistics(layout(frame)))
            .partitionBy(*partitions)
            .parquet(str(staged))
        )
        return staged

    def stage_columns(self, spark: SparkSession, staged: Path, name: str, prefix: str, columns: Iterable[str]) -> Path:
        """Stage the same rows for another table with some of their columns, copied as they stand: nothing is decoded or compressed. The staged folder."""
        copied, kept = self.path / "_staging" / f"{name}-{prefix}", frozenset(columns)
        shutil.rmtree(copied, ignore_errors=True)
        files = sorted(staged.rglob("*.parquet"))
        for file in files:
            (copied / file.relative_to(staged)).parent.mkdir(parents=True, exist_ok=True)
        list(_COPIERS.map(lambda file: self._copy_columns(spark, file, copied / file.relative_to(staged), kept), files))
        return copied

    def _copy_columns(self, spark: SparkSession, file: Path, target: Path, columns: frozenset[str]) -> None:
        """A Parquet file's row groups with only these columns of its top; Spark takes their types from the file's own schema."""
        parquet, path = "org.apache.parquet.hadoop", java_class(spark, "org.apache.hadoop.fs.Path")
        conf = spark._jsc.hadoopConfiguration()
        source = java_class(spark, f"{parquet}.util.HadoopInputFile").fromPath(path(str(file)), conf)
        reader = java_class(spark, f"{parquet}.ParquetFileReader").open(source)
        try:
            footer = reader.getFooter()
            schema = self._with_columns(spark, footer.getFileMetaData().getSchema(), columns)
            sink = java_class(spark, f"{parquet}.util.HadoopOutputFile").fromPath(path(str(target)), conf)
            create = java_class(spark, f"{parquet}.ParquetFileWriter$Mode").CREATE
            made = java_class(spark, f"{parquet}.ParquetFileWriter")(sink, schema, create, ROW_GROUP, 0)
            made.start()
            stream = source.newStream()
            made.appendRowGroups(stream, footer.getBlocks(), True)
            stream.close()
            about = java_class(spark, "java.util.HashMap")()
            about.put("org.apache.spark.version", spark.version)
            made.end(about)
        finally:
            reader.close()

    def _with_columns(self, spark: SparkSession, schema: Any, columns: frozenset[str]) -> Any:
        """A Parquet schema with only these columns of its top; kept, since a hundred calls of Java are 50 ms for each file."""
        if self._fewer is None or self._fewer[1] != columns or not self._fewer[0].equals(schema):
            kept = java_class(spark, "java.util.ArrayList")()
            for field in schema.getFields():
                if field.getName() in columns:
                    kept.add(field)
            self._fewer = schema, columns, java_class(spark, "org.apache.parquet.schema.MessageType")(schema.getName(), kept)
        return self._fewer[2]

    def commit(self, staged: Path, name: str, label: str = "") -> list[Path]:
        """Move the staged files of one table into place; returns the new files.

        Their names are the batch's prefix, the number of the task and a label, so that a batch which runs again puts the same
        rows into files of the same names: no reader, and no stream that has seen a file, meets them twice.
        """
        placed = []
        for file in sorted(staged.rglob("*.parquet")):
            target = self.table(name) / file.relative_to(staged).parent / f"{_RANDOM.sub('', file.name.removesuffix('.parquet'))}{label}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            placed.append(file.rename(target))
        shutil.rmtree(staged, ignore_errors=True)
        return placed

    def discard(self, staged: Iterable[Path]) -> None:
        """Remove what is left of staged folders."""
        for folder in staged:
            shutil.rmtree(folder, ignore_errors=True)

    def remove(self, name: str, prefix: str, but: Iterable[Path] = ()) -> int:
        """Remove files that a batch left behind before it ran again, but not these; returns how many there were."""
        kept = set(but)
        found = [file for file in self.table(name).glob(f"survey=*/night=*/{prefix}-*.parquet") if file not in kept]
        for file in found:
            file.unlink(missing_ok=True)
        return len(found)

    def nights(self, name: str, survey: str) -> list[int]:
        """Nights that a table holds of a survey, oldest first."""
        return sorted(int(folder.name.removeprefix("night=")) for folder in self.table(name).glob(f"survey={survey}/night=*"))

    def read(self, spark: SparkSession, name: str, survey: str, nights: Iterable[int] | None = None) -> DataFrame:
        """A table as a frame of one survey; fields that some files lack are null there, numbers as wide as in any file."""
        from pyspark.sql.pandas.types import from_arrow_schema

        folder = self.table(name)
        paths = [f"{folder}/survey={survey}/night={night}" for night in (nights or self.nights(name, survey))]
        reader = spark.read.option("basePath", str(folder)).option("mergeSchema", "true")
        reader = reader.option("ignoreMissingFiles", "false")  # rather an error than half a night
        if (columns := _joined(Path(path) for path in paths)) is not None:
            reader = reader.schema(from_arrow_schema(columns))
        return reader.parquet(*paths)

    def scan(self, name: str, survey: str, columns: list[str], night: int | None = None) -> pa.Table:
        """Some columns of a table, or one night of it, without Spark, as Arrow; dotted names reach into structs."""
        import pyarrow as pa

        parts = []
        for folder in sorted(self.table(name).glob(f"survey={survey}/night={night or '*'}")):
            for read in _columns(folder, columns):
                parts.append(read.append_column("night", pa.array([int(folder.name[6:])] * read.num_rows, pa.int32())))
        return pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({name: pa.nulls(0) for name in columns})


def _statistics(columns: StructType) -> dict[str, str]:
    """Options of the writer: smallest and largest values of the columns at the top alone, which readers choose rows by.

    To find them for each text of an alert's earlier points took a third of the time of the jobs' tasks. Merged files have them all.
    """
    plain = [field.name for field in columns if field.dataType.typeName() not in ("struct", "array", "map", "binary")]
    return {STATISTICS: "false", **{f"{STATISTICS}#{name}": "true" for name in plain}}


def _joined(folders: Iterable[Path]) -> pa.Schema | None:
    """The columns of files that differ in theirs; None where they are the same, or cannot be joined."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[pa.Schema, None] = {}
    for folder in folders:
        for file in folder.glob("*.parquet"):
            with contextlib.suppress(FileNotFoundError):  # merged meanwhile
                found[pq.read_schema(file).remove_metadata()] = None
    if len(found) < 2:
        return None
    try:
        return pa.unify_schemas(list(found), promote_options="permissive")
    except pa.ArrowTypeError:
        return None


def _columns(folder: Path, columns: list[str]) -> list[pa.Table]:
    """Some columns of all files of a night, as they stand at one moment."""
    import pyarrow.parquet as pq

    for left in reversed(range(SCANS)):
        try:
            return [pq.ParquetFile(file).read(columns=columns) for file in sorted(folder.glob("*.parquet"))]
        except FileNotFoundError:
            if not left:
                raise
    return []


def merged_id(name: str) -> str:
    """What the names of one compaction's files begin with: compacted-<id>."""
    return "-".join(name.split("-")[:2])


def exchange(one: Path, other: Path) -> None:
    """Let two folders take each other's place, in one step: at no moment is either of them missing."""
    at_cwd, flag = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    code = errno.ENOSYS if swap is None else 0
    if swap is not None and swap(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), flag):
        code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.ENOTSUP):
        why = f"the file system under {one} cannot exchange two folders in one step ({os.strerror(code)})"
        raise StoreError(f"{why}; expected one like ext4, xfs, btrfs or tmpfs on Linux, with {other.parent} on it too")
    if code:
        raise StoreError(f"{one} and {other} cannot be exchanged: {os.strerror(code)}; nothing was changed")
