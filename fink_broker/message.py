"""The shape of a substream message: schemaless Avro, with its own schema as compact JSON in the key.

Avro writes the fields of a record one behind the other and nothing else. So a message of a whole packet is the packet's own bytes, as
the survey sent them, with ours behind them (`Encoding.rest`); its schema is then that of the packet's version. Where that cannot be
(a filter that wants less, a field of the packet that has to be filled in, rows of a table) it is written field by field, with the fields of all versions.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fink_broker.errors import FilterError
from fink_broker.filters import Filter, topic_name, understood
from fink_broker.frame import names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType, StructType

    from fink_broker.survey import Survey

# Neutral columns of an alert row that a message carries in its struct `neutral`.
NEUTRAL = (
    "survey", "schema", "alert_id", "object_id", "ss_object_id", "ra", "dec", "mjd", "night", "healpix", "band", "flux",
    "flux_err", "mag", "mag_err", "snr", "reliability", "quality", "first_mjd", "n_detections", "ss_distance_arcsec",
    "neighbour_distance_arcsec", "neighbour_star_score", "template_flux", "public",
)  # fmt: skip
_ROW_ONLY = ("origin", "packet", "lightcurve")  # structs of a row that are no module's output
ROOT = "topLevelRecord"


@dataclass(frozen=True)
class Shape:
    """Filters whose messages have the same columns share one encoding."""

    columns: tuple[str, ...]
    cutouts: bool
    filters: tuple[Filter, ...]

    @property
    def everything(self) -> bool:
        """Whether the messages have all of the packet."""
        return self.cutouts and not self.columns


def shapes(filters: Sequence[Filter]) -> list[Shape]:
    """The filters grouped by what they send."""
    grouped: dict[tuple[tuple[str, ...], bool], list[Filter]] = {}
    for rule in filters:
        grouped.setdefault((tuple(sorted(rule.columns)), rule.cutouts), []).append(rule)
    return [Shape(columns, cutouts, tuple(rules)) for (columns, cutouts), rules in grouped.items()]


@dataclass(frozen=True)
class Encoding:
    """How the messages of one shape are written: as a whole from `packet`, or what comes behind a packet's bytes.

    Each is the Spark SQL of a struct, the Avro schema that writes it, and what stands in the key: a schema, or the last fields of one.
    """

    whole: str
    whole_written: str
    key: str
    rest: str
    rest_written: str
    rest_fields: str


def intact(survey: Survey, bodies: Mapping[str, str], union: Collection[str]) -> str:
    """Spark SQL: whether a row's messages can begin with its packet's bytes; reads of a packet what `reads` names.

    `bodies`: by the value of `schema`, the fields of packets that rows have as bytes (`Decoder.bodies`); `union`: names of the union's fields.
    """
    fine = [name for name, fields in bodies.items() if _client_fits(survey, fields, union)]
    if not fine:
        return "false"
    filled = [f"(({sql}) is null or packet.{name} is not null)" for name, sql in _filled(survey, union)]
    return " and ".join([f"coalesce(schema in ({_texts(fine)}), false)", *filled])


def reads(survey: Survey, union: Collection[str]) -> list[str]:
    """What messages that begin with a packet's bytes read of the packet, for `Decoder.need`."""
    own = [sql for name, sql in survey.client.items() if name not in union]
    return [*own, *(text for name, sql in _filled(survey, union) for text in (sql, f"packet.{name}"))]


def _filled(survey: Survey, union: Collection[str]) -> list[tuple[str, str]]:
    """Fields of a packet that are filled in for fink-client where they are null, and with what."""
    return [(name, sql) for name, sql in survey.client.items() if name.split(".")[0] in union and sql != f"packet.{name}"]


def _client_fits(survey: Survey, fields: str, union: Collection[str]) -> bool:
    """Whether such packets have those of the names that fink-client touches which any packet has."""
    own = {field["name"] for field in json.loads(fields)}
    return all(top in own or top not in union for name in survey.client if (top := name.split(".")[0]))


def message(
    frame: DataFrame,
    survey: Survey,
    filters: Sequence[Filter],
    partitions: Mapping[str, int] | None = None,
    marks: Mapping[str, str] | None = None,
    narrow: bool = False,
    layout: str = "",
    bodies: Mapping[str, str] | None = None,
) -> DataFrame:
    """Kafka rows (topic, partition, key, value, headers) of the alerts that filters chose (column `topics`).

    Each object's messages stay in one partition of a topic, in order of time; `partitions` says how many each topic has
    (one where it does not). `narrow`: the rows stand in that order already, so nothing is shuffled. `marks` are headers of
    every message: checkpoint, batch. `layout`: the schema of rows with the whole packet as JSON, where that is known; to ask
    for it takes a while. `bodies` (see `intact`): rows have their packet's bytes in `body`; those that are `intact`, a column,
    are sent as they are, and need no whole `packet` unless a filter wants less; without that column all are.
    """
    made = [(shape, [topic_name(rule, survey.name) for rule in shape.filters]) for shape in shapes(filters)]
    if not made:
        return frame.sparkSession.createDataFrame([], MESSAGE)
    keys, values = {}, {}
    layout = layout or frame.schema.json()
    some = bool(bodies) and "intact" in names(frame)
    for place, (shape, topics) in enumerate(made):
        form = encoded(layout, survey, shape)
        value, key = f"to_avro({form.whole}, '{form.whole_written}')", f"'{form.key}'"
        if bodies and shape.everything:
            ours, its_key = f"concat(body.bytes, to_avro({form.rest}, '{form.rest_written}'))", _by_schema(_keys(form, bodies))
            value, key = (f"if(intact, {ours}, {value})", f"if(intact, {its_key}, {key})") if some else (ours, its_key)
        if len(made) > 1:  # each alert is encoded once for each shape that somebody wants of it
            value = f"if(arrays_overlap(topics, array({_texts(topics)})), {value}, null)"
        keys[_texts(topics)] = f"cast({key} as binary)"
        values[_texts(topics)] = (f"_value{place}", value)
    versions = {topic_name(rule, survey.name): rule.version for rule in filters}
    counts = {topic: (partitions or {}).get(topic, 1) for topic in versions}
    count = str(max(counts.values(), default=1)) if len(set(counts.values())) <= 1 else f"{_map(counts)}[topic]"
    facts = {
        **{name: f"'{value}'" for name, value in (marks or {}).items()},
        "origin": "concat_ws('|', origin.topic, origin.partition, origin.offset, origin.timestamp)",
        "alert_id": "alert_id",
        "filter_version": f"{_map(versions)}[topic]",
        "schema": "schema",
    }
    headers = ", ".join(f"named_struct('key', '{name}', 'value', cast({sql} as binary))" for name, sql in facts.items())
    who = "xxhash64(coalesce(object_id, ss_object_id, alert_id)) _who"
    kept = ("mjd", "alert_id", "schema", "origin", *(["intact"] if some else []))
    rows = frame.where("size(topics) > 0").selectExpr("topics", who, *kept, *(f"{sql} {name}" for name, sql in values.values()))
    rows = rows.selectExpr("explode(topics) topic", "_who", *kept, *(name for name, _ in values.values()))
    value = _by_topic({topics: name for topics, (name, _) in values.items()})
    rows = rows.where(f"topic in ({', '.join(values)})")
    rows = rows.selectExpr("topic", f"cast(pmod(_who, {count}) as int) partition", f"{value} value", *kept)
    if not narrow:
        rows = rows.repartition("topic", "partition").sortWithinPartitions("topic", "partition", "mjd", "alert_id")
    # the key comes after the shuffle: it is as large as a small alert
    return rows.selectExpr("topic", "partition", f"{_by_topic(keys)} key", "value", f"array({headers}) headers")


MESSAGE = "topic string, partition int, key binary, value binary, headers array<struct<key:string,value:binary>>"


def encoded(layout: str, survey: Survey, shape: Shape) -> Encoding:
    """How messages of a shape are written from rows of a layout (a schema as JSON); kept for each.

    The schema that writes and the key are the same on the wire; only the first has logical types.
    """
    facts = (tuple(survey.client.items()), _tops(survey.paths), _tops(survey.cutout_paths))
    return _encoded(layout, survey.name, *facts, shape.columns, shape.cutouts)


@lru_cache(maxsize=256)
def _encoded(
    layout: str, survey: str, client: tuple[tuple[str, str], ...], needed: frozenset[str], cutouts: frozenset[str], columns_wanted: tuple[str, ...], whole: bool
) -> Encoding:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

    frame = SparkSession.active().createDataFrame([], StructType.fromJson(json.loads(layout)))
    needed |= {name.split(".")[0] for name, _ in client}
    own = [name for name in _fields(frame, "packet") if (not columns_wanted or name in columns_wanted or name in needed) and (whole or name not in cutouts)]
    columns = {name: f"packet.`{name}`" for name in own}
    for name, sql in client:
        top, _, inner = name.partition(".")
        value = f"({sql})" if understood(frame, sql) else "cast(null as string)"  # its source, such as a module, is not there
        if not inner:
            columns[name] = f"coalesce({columns[name]}, {value})" if name in columns and sql != f"packet.{name}" else value
        elif top in columns:
            parts = {field: f"packet.`{top}`.`{field}`" for field in _fields(frame, f"packet.{top}")}
            parts[inner] = f"coalesce({parts[inner]}, {value})"
            columns[top] = f"if({columns[top]} is null and {value} is null, null, {_named_struct(parts)})"
    modules = [field.name for field in frame.schema if isinstance(field.dataType, StructType) and field.name not in _ROW_ONLY]
    if clash := sorted({*modules, "neutral", "provenance"} & set(columns)):
        both = ", ".join(clash)
        raise FilterError(f"messages of {survey} would have two columns {both}, the survey's and a module's; rename the module")
    columns |= {name: f"`{name}`" for name in modules}
    columns["neutral"] = _named_struct({name: f"`{name}`" for name in NEUTRAL if name in frame.columns})
    if "provenance" in frame.columns:
        columns["provenance"] = "provenance"
    made = frame.selectExpr(*(f"{sql} `{name}`" for name, sql in columns.items())).schema
    wanted = plain(made)
    for is_now, field in zip(made, wanted, strict=True):
        if is_now.dataType.simpleString() != field.dataType.simpleString():
            columns[field.name] = f"cast({columns[field.name]} as {field.dataType.simpleString()})"
    ours = StructType([field for field in wanted if field.name not in own])
    return Encoding(
        whole=_named_struct(columns),
        whole_written=_compact(avro_schema(wanted, logical=True)),
        key=_compact(avro_schema(wanted)),
        rest=_named_struct({name: columns[name] for name in ours.names}),
        rest_written=_compact(avro_schema(ours, logical=True)),
        rest_fields=_compact(avro_schema(ours)["fields"]),
    )


def _compact(schema: Any) -> str:
    return json.dumps(schema, separators=(",", ":"))


def _named_struct(columns: Mapping[str, str]) -> str:
    parts = (f"'{name}', {sql}" for name, sql in columns.items())
    return f"named_struct({', '.join(parts)})"


def _tops(paths: Mapping[str, str]) -> frozenset[str]:
    return frozenset(path.split(".")[0] for path in paths.values())


def plain(kind: DataType) -> Any:
    """The type as a message has it: all nullable, and nothing that Avro needs a decimal or a fixed for."""
    from pyspark.sql import types as T

    if isinstance(kind, T.StructType):
        return T.StructType([T.StructField(field.name, plain(field.dataType)) for field in kind])
    if isinstance(kind, T.ArrayType):
        return T.ArrayType(plain(kind.elementType))
    if isinstance(kind, T.MapType):
        return T.MapType(T.StringType(), plain(kind.valueType))
    if isinstance(kind, T.DecimalType):
        return T.DoubleType()
    if isinstance(kind, T.ByteType | T.ShortType):
        return T.IntegerType()
    return kind if type(kind).typeName() in {**_AVRO, **_LOGICAL} else T.StringType()


_AVRO = {
    "boolean": "boolean", "integer": "int", "long": "long", "float": "float", "double": "double", "string": "string",
    "binary": "bytes",
}  # fmt: skip
_LOGICAL = {
    "timestamp": ("long", "timestamp-micros"),
    "timestamp_ntz": ("long", "local-timestamp-micros"),
    "date": ("int", "date"),
}


def avro_schema(layout: StructType, logical: bool = False, name: str = ROOT, namespace: str = "") -> dict[str, Any]:
    """Avro schema of a plain struct: every record inline under a name of its own, as Spark would write it.

    Without logical types a time is a long [microseconds since 1970], since fink-client refuses them.
    """
    inside = f"{namespace}.{name}" if namespace else name
    fields = [{"name": field.name, "type": _union(field.dataType, logical, field.name, inside)} for field in layout]
    return {"type": "record", "name": name, **({"namespace": namespace} if namespace else {}), "fields": fields}


def _union(kind: DataType, logical: bool, name: str, namespace: str) -> list[Any]:
    from pyspark.sql import types as T

    if isinstance(kind, T.StructType):
        return [avro_schema(kind, logical, name, namespace), "null"]
    if isinstance(kind, T.ArrayType):
        return [{"type": "array", "items": _union(kind.elementType, logical, name, namespace)}, "null"]
    if isinstance(kind, T.MapType):
        return [{"type": "map", "values": _union(kind.valueType, logical, name, namespace)}, "null"]
    text = type(kind).typeName()
    if text in _LOGICAL:
        stored, meaning = _LOGICAL[text]
        return [{"type": stored, "logicalType": meaning} if logical else stored, "null"]
    return [_AVRO[text], "null"]


def _fields(frame: DataFrame, path: str) -> list[str]:
    kind: Any = frame.schema
    for part in path.split("."):
        kind = kind[part].dataType
    return list(kind.names)


def _by_topic(choices: Mapping[str, str]) -> str:
    """SQL that chooses by topic; each key is the topics of one choice, as they stand in an IN."""
    *first, (_, last) = choices.items()
    whens = " ".join(f"when topic in ({topics}) then {sql}" for topics, sql in first)
    return f"case {whens} else {last} end" if first else last


def _keys(form: Encoding, bodies: Mapping[str, str]) -> dict[str, str]:
    """By schema of a packet: that of the message which begins with its bytes."""
    return {name: f'{{"type":"record","name":"{ROOT}","fields":{fields[:-1]},{form.rest_fields[1:]}}}' for name, fields in bodies.items()}


def _by_schema(texts: Mapping[str, str]) -> str:
    """SQL that chooses a text by the row's schema."""
    *first, (_, last) = texts.items()
    whens = [f"when '{name}' then '{text}'" for name, text in first]
    return f"case schema {' '.join(whens)} else '{last}' end" if whens else f"'{last}'"


def _texts(values: Sequence[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _map(values: Mapping[str, object]) -> str:
    pairs = (f"'{key}', {value!r}" for key, value in sorted(values.items()))
    return f"map({', '.join(pairs)})"
