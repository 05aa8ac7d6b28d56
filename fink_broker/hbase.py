"""HBase over its Thrift server: the tables, their keys, and the writer of a batch.

| table | key | holds |
|---|---|---|
| history | salt, survey, object, reversed time, alert id | one alert: neutral columns and module results; its light curve; Kafka position |
| alert | salt, survey, alert id | where that alert stands in history, and its files in the lake |
| position | salt, HEALPix pixel, survey, object, reversed night | narrow: position, time, brightness |
| topic | topic, reversed time, alert id | narrow: the latest alerts of a substream |
| sso | designation, reversed time, alert id | narrow: the alerts of a moving object |

Keys are text of fixed width where order matters. Each alert's rows have keys of their own, so that a batch which runs again
writes the same cells, and the newest comes first in whatever order alerts arrive. An alert without an object is filed
under its Solar System designation, or else its own id.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fink_broker.errors import Unavailable
from fink_broker.retry import retried

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from fink_broker.settings import Settings

TABLES: dict[str, dict[str, dict[str, str]]] = {
    "history": {"a": {}, "l": {}, "o": {}},
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
          "reliability", "n_detections", "public")  # fmt: skip
_ROW_ONLY = ("origin", "packet", "lightcurve", "reason", "value", "content", "topics")


def salt(text: str) -> str:
    """Two hex digits that spread rows over regions; the same in the JVM (crc32) and here."""
    return f"{zlib.crc32(text.encode()) % SALTS:02x}"


def salt_sql(text: str) -> str:
    """The same as Spark SQL."""
    return f"lpad(lower(hex(pmod(crc32(cast({text} as binary)), {SALTS}))), 2, '0')"


def reversed_time(mjd: float) -> str:
    """Fixed-width text that sorts the newest time first [d to 1e-6]."""
    return f"{round((LAST_MJD - mjd) * 1e6):012d}"


def reversed_sql(mjd: str) -> str:
    """The same as Spark SQL."""
    return f"lpad(cast(cast(round(({LAST_MJD} - {mjd}) * 1e6) as bigint) as string), 12, '0')"


def table_name(settings: Settings, table: str) -> str:
    """A table's name in HBase."""
    return f"{settings.hbase.prefix}_{table}"


def connect(settings: Settings) -> Any:
    """A connection to the Thrift server; Unavailable with its address when there is none."""
    host, port = settings.thrift
    try:
        return _connection(host, port, int(settings.hbase.timeout_seconds * 1000))
    except Exception as error:
        raise unavailable(settings, error) from error


def unavailable(settings: Settings, error: Exception) -> Unavailable:
    """What to tell when HBase does not answer."""
    host, port = settings.thrift
    return Unavailable(
        f"HBase's Thrift server at {host}:{port} does not answer ({type(error).__name__}); start it with `fink up`, or set [hbase] host and port"
    )


def create_tables(settings: Settings) -> list[str]:
    """Make the tables that are missing; returns their names."""

    def make() -> list[str]:
        connection = connect(settings)
        try:
            there = {name.decode() for name in connection.tables()}
            made = []
            for table, families in TABLES.items():
                name = table_name(settings, table)
                if name not in there:
                    options = {"max_versions": 1, "bloom_filter_type": "ROW"}
                    connection.create_table(name, {family: {**options, **extra} for family, extra in families.items()})
                    made.append(name)
            return made
        except Unavailable:
            raise
        except Exception as error:
            if "AlreadyExists" in type(error).__name__:
                return []
            raise unavailable(settings, error) from error
        finally:
            connection.close()

    return retried(make, "HBase tables")


def index_rows(frame: DataFrame, lake_prefix: str = "") -> DataFrame:
    """Keys and packed cells of alert rows, made in the JVM: workers only put bytes."""
    from pyspark.sql.types import StructType

    modules = [f.name for f in frame.schema if isinstance(f.dataType, StructType) and f.name not in _ROW_ONLY]
    neutral = [f"`{f.name}`" for f in frame.schema if not isinstance(f.dataType, StructType) and f.name not in _ROW_ONLY]
    packed = ", ".join([*neutral, *(f"`{name}`" for name in modules)])
    who = "coalesce(object_id, ss_object_id, alert_id)"
    pixel = f"lpad(cast(shiftright(healpix, {2 * (29 - PIXEL_ORDER)}) as string), 12, '0')"
    coarse = f"cast(shiftright(healpix, {2 * (29 - COARSE_ORDER)}) as string)"
    topics = "coalesce(topics, array())" if "topics" in frame.columns else "cast(array() as array<string>)"
    return frame.selectExpr(
        f"concat_ws('|', {salt_sql(f'concat(survey, {who})')}, survey, {who}, {reversed_sql('mjd')}, alert_id) history",
        f"concat_ws('|', {salt_sql('concat(survey, alert_id)')}, survey, alert_id) alert",
        f"concat_ws('|', {salt_sql(coarse)}, {pixel}, survey, {who}, lpad(cast(99999999 - night as string), 8, '0')) position",
        f"concat_ws('|', {reversed_sql('mjd')}, alert_id) latest",
        f"{topics} topics",
        f"if(ss_object_id is null, null, concat_ws('|', lower(ss_object_id), {reversed_sql('mjd')}, alert_id)) sso",
        f"to_json(struct({packed})) neutral",
        f"to_json(struct({', '.join(NARROW)})) narrow",
        "to_json(lightcurve) lightcurve",
        "concat_ws('|', origin.topic, origin.partition, origin.offset) origin",
        f"concat_ws('|', night, '{lake_prefix}') files",
    )


def write(settings: Settings, rows: DataFrame) -> int:
    """Put the rows of `index_rows` from the workers; returns how many alerts were written."""

    def work(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import pandas as pd

        for part in parts:
            retried(lambda part=part: _put(settings, part), "HBase put")  # type: ignore[misc]
            yield pd.DataFrame({"n": [len(part)]})

    put = rows.mapInPandas(work, "n bigint")  # type: ignore[arg-type]
    return int(sum(row[0] for row in put.collect()))


def _put(settings: Settings, rows: pd.DataFrame) -> None:
    name = settings.hbase.prefix
    try:
        connection = _kept(*settings.thrift, int(settings.hbase.timeout_seconds * 1000))
        batches = {table: connection.table(f"{name}_{table}").batch(batch_size=settings.hbase.batch_rows) for table in TABLES}
        records: list[Any] = list(rows.itertuples(index=False))
        for row in records:
            narrow = {b"n:j": row.narrow.encode()}
            curve = {b"l:j": row.lightcurve.encode()} if isinstance(row.lightcurve, str) else {}
            batches["history"].put(row.history.encode(), {b"a:j": row.neutral.encode(), b"o:p": row.origin.encode(), **curve})
            batches["alert"].put(row.alert.encode(), {b"p:h": row.history.encode(), b"p:f": row.files.encode()})
            batches["position"].put(row.position.encode(), narrow)
            for topic in row.topics:
                batches["topic"].put(f"{topic}|{row.latest}".encode(), narrow)
            if isinstance(row.sso, str):
                batches["sso"].put(row.sso.encode(), narrow)
        for batch in batches.values():
            batch.send()
    except Unavailable:
        raise
    except Exception as error:
        _kept.cache_clear()
        raise unavailable(settings, error) from error


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
