"""HBase over its Thrift server: the tables, their keys, and the writer of a batch.

| table | key | holds |
|---|---|---|
| history | salt, survey, object, reversed time, alert id | an alert: neutral columns, module results; its light curve; Kafka position, and o:x if not public |
| object | salt, survey, object | a cell an alert (column as in position): the time of the earliest point of its light curve; empty without one |
| alert | salt, survey, alert id | where that alert stands in history, and its files in the lake |
| position | salt, HEALPix pixel, survey, object | narrow, a cell an alert (column: reversed time, alert id): position, time, brightness |
| topic | topic, reversed time, alert id | narrow: the latest alerts of a substream |
| sso | designation, reversed time, alert id | narrow: the alerts of a moving object |

Cells a:j (columns and results) and l:j (light curve) are JSON under zlib (`pack`, `unpack`); the others are plain text.

Keys are text of fixed width where order matters. Each alert's cells have names of their own, so that a batch which runs again
writes the same cells, and the newest comes first in whatever order alerts arrive: HBase gives the first cell of a position
row alone. In the rows of position and object the alerts that are not public come last. An alert without an object is filed under its Solar
System designation, or else its own id.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fink_broker.errors import FinkError, NotFound, StoreError, Unavailable
from fink_broker.frame import layout
from fink_broker.log import Logger
from fink_broker.retry import retried

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from fink_broker.settings import Settings

log = Logger("hbase")
TABLES: dict[str, dict[str, dict[str, str]]] = {
    "history": {"a": {}, "l": {}, "o": {}},
    "object": {"n": {}},
    "alert": {"p": {}},
    "position": {"n": {}},
    "topic": {"n": {}},
    "sso": {"n": {}},
}
LAST_MJD = 100_000  # times are stored as LAST_MJD - mjd, so that the newest sorts first
PIXEL_ORDER = 18  # of the position table: 0.8 arcseconds, so that one object has few rows
COARSE_ORDER = 4  # the salt of a position is a function of its pixel of this order (3.7 degrees)
SALTS = 16
NARROW = ("survey", "alert_id", "object_id", "ss_object_id", "ra", "dec", "mjd", "night", "band", "mag", "mag_err", "flux", "flux_err", "snr",
          "reliability", "first_mjd", "n_detections", "public")  # fmt: skip
PRIVATE = "~"  # before the column of an alert that is not public: sorts behind all times
_CURVE = "mjd array<double>, band array<string>, {}, kind array<string>"
# Six digits are more than a survey measures; in full they would be half of all that is written.
CURVE = _CURVE.format(", ".join(f"{name} array<float>" for name in ("flux", "flux_err", "mag", "mag_err", "limit_mag")))
_ROW_ONLY = ("origin", "packet", "lightcurve", "reason", "value", "content", "topics")


def salt(text: str) -> str:
    """Two hex digits that spread rows over regions; the same in the JVM (crc32) and here."""
    return f"{zlib.crc32(text.encode()) % SALTS:02x}"


def salt_sql(text: str) -> str:
    """The same as Spark SQL."""
    return f"lpad(lower(hex(pmod(crc32(cast({text} as binary)), {SALTS}))), 2, '0')"


def reversed_time(mjd: float) -> str:
    """Fixed-width text that sorts the newest time first [d to 1e-6]."""
    return f"{math.floor((LAST_MJD - mjd) * 1e6 + 0.5):012d}"


def reversed_sql(mjd: str) -> str:
    """The same as Spark SQL."""
    return f"lpad(cast(cast(round(({LAST_MJD} - {mjd}) * 1e6) as bigint) as string), 12, '0')"


def pack(text: str) -> bytes:
    """A large cell: JSON, compressed here, since HBase compresses only what it has logged and kept in memory at full length."""
    return zlib.compress(text.encode(), 1)


def unpack(cell: bytes) -> bytes:
    """The JSON of a cell, whether it is a large one or not."""
    return zlib.decompress(cell) if cell[:1] == b"x" else cell


def table_name(settings: Settings, table: str) -> str:
    """A table's name in HBase."""
    return f"{settings.hbase.prefix}_{table}"


def connect(settings: Settings) -> Any:
    """A connection to the Thrift server; Unavailable with its address when there is none."""
    host, port = settings.thrift
    try:
        return _connection(host, port, int(settings.hbase.timeout_seconds * 1000))
    except Exception as error:
        raise failure(settings.thrift, error) from error


def failure(address: tuple[str, int], error: Exception) -> FinkError:
    """What to tell when HBase did not do what it was asked: only what may pass is Unavailable."""
    if isinstance(error, FinkError):
        return error
    where, told = f"HBase's Thrift server at {address[0]}:{address[1]}", _java_line(error)
    if "TableNotFound" in told:
        return NotFound(f"{where} has not all tables of the broker ({told}); `fink run live` or `fink run index` makes them")
    if "NoSuchColumnFamily" in told:
        return StoreError(f"{where} has tables of another version of the broker ({told}); set [hbase] prefix to a new one and run `fink run index`")
    what = f"refused: {told}" if told else f"does not answer ({type(error).__name__})"
    return Unavailable(f"{where} {what}; start it with `fink up`, or set [hbase] host and port")


def _java_line(error: Exception) -> str:
    """The first line of what Java said; empty when it said nothing."""
    said = getattr(error, "message", b"") if type(error).__name__ in ("IOError", "IllegalArgument") else b""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return text.strip().partition("\n")[0][:200]


def create_tables(settings: Settings) -> list[str]:
    """Make the tables that are missing, side by side, for each takes a second; returns their names."""

    def make() -> list[str]:
        with _asked(settings) as connection:
            there = {name.decode() for name in connection.tables()}
        missing = [table for table in TABLES if table_name(settings, table) not in there]
        if "object" in missing and "history" not in missing:
            log.warning(
                "a table of an older broker lacks its index: modules see earlier nights once `fink run index` has put the science table again", new="object"
            )
        with ThreadPoolExecutor(len(TABLES)) as pool:
            return [name for name in pool.map(lambda table: _create(settings, table), missing) if name]

    return retried(make, "HBase tables")


def _create(settings: Settings, table: str) -> str:
    """Make a table; its name, or nothing when somebody else made it meanwhile."""
    name, options = table_name(settings, table), {"max_versions": 1, "bloom_filter_type": "ROW", "compression": "GZ"}
    with _asked(settings) as connection:
        try:
            connection.create_table(name, {family: {**options, **extra} for family, extra in TABLES[table].items()})
        except Exception as error:
            if "AlreadyExists" in type(error).__name__:
                return ""
            raise
    return name


@contextmanager
def _asked(settings: Settings) -> Iterator[Any]:
    """A connection of its own; what goes wrong is told as `failure` does."""
    connection = connect(settings)
    try:
        yield connection
    except Exception as error:
        raise failure(settings.thrift, error) from error
    finally:
        connection.close()


def index_rows(frame: DataFrame, lake_prefix: str = "") -> DataFrame:
    """Keys and packed cells of alert rows, made in the JVM: workers only put bytes.

    Every column is in a history cell, null or not, so that readers get the same columns of all alerts of one version.
    """
    from pyspark.sql.types import LongType, StructType

    columns = layout(frame)
    kept = [field for field in columns if field.name not in _ROW_ONLY]
    modules = [f"`{f.name}`" for f in kept if isinstance(f.dataType, StructType)]
    neutral = [f"cast({f.name} as string) {f.name}" if isinstance(f.dataType, LongType) else f"`{f.name}`" for f in kept if f"`{f.name}`" not in modules]
    packed = ", ".join([*neutral, *modules])
    who = "coalesce(object_id, ss_object_id, alert_id)"
    pixel = f"lpad(cast(shiftright(healpix, {2 * (29 - PIXEL_ORDER)}) as string), 12, '0')"
    coarse = f"cast(shiftright(healpix, {2 * (29 - COARSE_ORDER)}) as string)"
    topics = "coalesce(topics, array())" if "topics" in columns.names else "cast(array() as array<string>)"
    return frame.selectExpr(
        f"concat_ws('|', {salt_sql(f'concat(survey, {who})')}, survey, {who}, {reversed_sql('mjd')}, alert_id) history",
        f"concat_ws('|', {salt_sql('concat(survey, alert_id)')}, survey, alert_id) alert",
        f"concat_ws('|', {salt_sql(coarse)}, {pixel}, survey, {who}) position",
        f"if(coalesce(public, false), 'n:', 'n:{PRIVATE}') side",
        f"concat_ws('|', {reversed_sql('mjd')}, alert_id) latest",
        f"{topics} topics",
        f"if(ss_object_id is null, null, concat_ws('|', lower(ss_object_id), {reversed_sql('mjd')}, alert_id)) sso",
        f"to_json(struct({packed}), map('ignoreNullFields', 'false')) neutral",
        f"to_json(struct({', '.join(NARROW)})) narrow",
        f"to_json(cast(lightcurve as struct<{CURVE}>)) lightcurve",
        "if(lightcurve is null, '', cast(coalesce(array_min(lightcurve.mjd), mjd) as string)) reach",
        "concat_ws('|', origin.topic, origin.partition, origin.offset) origin",
        f"concat_ws('|', night, '{lake_prefix}') files",
    )


def write(settings: Settings, rows: DataFrame) -> int:
    """Put the rows of `index_rows` from the workers; returns how many alerts were written."""
    options = settings.hbase
    address, milliseconds = settings.thrift, int(options.timeout_seconds * 1000)

    def work(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import pandas as pd

        for part in parts:
            retried(lambda part=part: put(address, options.prefix, part, options.batch_rows, milliseconds), "HBase put")  # type: ignore[misc]
            yield pd.DataFrame({"n": [len(part)]})

    from pyspark.errors import PythonException

    try:
        done = rows.mapInPandas(work, "n bigint").collect()  # type: ignore[arg-type]
    except PythonException as error:
        told = [line for line in str(error).splitlines() if line.startswith("fink_broker.errors.Unavailable: ")]
        if not told:
            raise
        raise Unavailable(told[-1].partition(": ")[2]) from error
    return int(sum(row[0] for row in done))


def put(address: tuple[str, int], prefix: str, rows: pd.DataFrame, batch_rows: int = 500, timeout_ms: int = 15_000) -> None:
    """Put rows of `index_rows` through this process's kept connection; all again after a failure gives the same cells."""
    try:
        connection = _kept(*address, timeout_ms)
        batches = {table: connection.table(f"{prefix}_{table}").batch(batch_size=batch_rows) for table in TABLES}
        records: list[Any] = list(rows.itertuples(index=False))
        for row in records:
            narrow = row.narrow.encode()
            curve = {b"l:j": pack(row.lightcurve)} if isinstance(row.lightcurve, str) else {}
            private = {b"o:x": b""} if row.side.endswith(PRIVATE) else {}
            batches["history"].put(row.history.encode(), {b"a:j": pack(row.neutral), b"o:p": row.origin.encode(), **private, **curve})
            batches["object"].put(row.history.rsplit("|", 2)[0].encode(), {f"{row.side}{row.latest}".encode(): row.reach.encode()})
            batches["alert"].put(row.alert.encode(), {b"p:h": row.history.encode(), b"p:f": row.files.encode()})
            batches["position"].put(row.position.encode(), {f"{row.side}{row.latest}".encode(): narrow})
            for topic in row.topics:
                batches["topic"].put(f"{topic}|{row.latest}".encode(), {b"n:j": narrow})
            if isinstance(row.sso, str):
                batches["sso"].put(row.sso.encode(), {b"n:j": narrow})
        for batch in batches.values():
            batch.send()
    except Exception as error:
        _kept.cache_clear()
        raise failure(address, error) from error


@lru_cache(maxsize=1)
def _kept(host: str, port: int, timeout: int) -> Any:
    """One connection a worker process, kept open."""
    return _connection(host, port, timeout)


def _connection(host: str, port: int, timeout: int) -> Any:
    """happybase over thriftpy2's compiled protocol: the one that it picks by itself is Python and five times slower."""
    import happybase
    from thriftpy2.protocol.cybin import TCyBinaryProtocol  # type: ignore[attr-defined]
    from thriftpy2.transport.buffered import TCyBufferedTransport  # type: ignore[attr-defined]

    made = happybase.Connection(host, port, timeout=timeout, autoconnect=False)
    made._transport_class = TCyBufferedTransport
    made._protocol_class = TCyBinaryProtocol
    made._refresh_thrift_client()
    made.open()
    return made
