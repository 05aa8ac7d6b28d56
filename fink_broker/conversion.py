"""Records that somebody else wrote, turned by name into a survey's own schema: Spark's copies, a broker's enriched alerts."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fink_broker.schema import Schema, SchemaLibrary

EXACT = 2**53  # beyond it a float does not hold every whole number: an id that went through one is another id
SPARK = "topLevelRecord"  # how Spark calls the records that it writes
# What a record of each survey has, whoever wrote it.
RESEMBLES = {"ztf": {"candidate", "candid"}, "lsst": {"midpointMjdTai", "psfFlux"}, "elasticc": {"midPointTai", "psFlux"}}


def name_of(writer: Any) -> str:
    """Name of a writer's schema."""
    return str(writer.get("name", "without a name")) if isinstance(writer, dict) else "a list"


def foreign(writer: Any) -> bool:
    """Whether a schema is not one that a survey publishes: those that a survey does, but we do not know, are left alone."""
    return name_of(writer).startswith(SPARK)


def resembling(writer: Any) -> str | None:
    """The survey whose fields a schema has."""
    names: set[str] = set()

    def walk(schema: Any) -> None:
        if isinstance(schema, list):
            for part in schema:
                walk(part)
        elif isinstance(schema, dict):
            for part in schema.get("fields", []):
                names.add(part["name"])
                walk(part["type"])
            walk(schema.get("items"))
            walk(schema["type"]) if isinstance(schema.get("type"), dict | list) else None

    walk(writer)
    top = {part["name"] for part in writer.get("fields", [])} if isinstance(writer, dict) else set()
    if not ({"candidate", "objectId"} <= top or "diaSource" in top):
        return None
    return next((survey for survey, needed in RESEMBLES.items() if needed <= names), None)


def closest(library: SchemaLibrary, record: dict[str, Any]) -> Schema:
    """The newest version, or the newest of those that have more of the record's fields."""
    best = max(library.schemas, key=lambda schema: (_shared(schema, record), library.schemas.index(schema)))
    return library.newest if _shared(library.newest, record) >= _shared(best, record) else best


def _shared(schema: Schema, record: dict[str, Any]) -> int:
    source = record.get("diaSource")
    names = {field["name"] for field in schema.json["fields"]}
    inner = next((field["type"] for field in schema.json["fields"] if field["name"] == "diaSource"), None)
    known = {field["name"] for field in inner["fields"]} if isinstance(inner, dict) else set()
    return len(names & set(record)) * 3 + len(known & set(source or ()))


def convert(record: Any, schema: Schema) -> Any:
    """A record by name into a survey's own schema; see Conversion."""
    return Conversion(schema).convert(record)


@dataclass
class Conversion:
    """Converts records: fields unknown to the schema are dropped, structs with nothing in them are null again.

    Ids that had become floats too large to be exact are left null, or as they are where the schema allows no null; `lost` counts them by field.
    """

    schema: Schema
    lost: Counter[str] = field(default_factory=Counter)
    _named: dict[str, Any] = field(default_factory=dict)

    def convert(self, record: Any) -> Any:
        """The record with the fields of the schema."""
        return self._fit(record, self.schema.logical, "")

    def _fit(self, value: Any, schema: Any, name: str) -> Any:
        if isinstance(schema, list):
            kinds = [kind for kind in schema if kind != "null"]
            fitted = None if value is None or _empty(value) else self._fit(value, kinds[0], name)
            return None if "null" in schema and _inexact(fitted, kinds[0]) else fitted if fitted is not None or "null" in schema else value
        if isinstance(schema, str) and schema in self._named:
            return self._fit(value, self._named[schema], name)
        if isinstance(schema, dict) and schema["type"] == "record":
            self._named[schema["name"]] = schema
            if not isinstance(value, dict):
                return value
            return {part["name"]: self._fit(value.get(part["name"], part.get("default")), part["type"], part["name"]) for part in schema["fields"]}
        if isinstance(schema, dict) and schema["type"] == "array":
            return [self._fit(item, schema["items"], name) for item in value] if isinstance(value, list) else value
        return self._plain(value, schema, name)

    def _plain(self, value: Any, schema: Any, name: str) -> Any:
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(schema, dict) and "logicalType" in schema and not isinstance(value, int | float):
            return value
        if kind in ("int", "long") and isinstance(value, float):
            if not math.isfinite(value):
                return None
            if abs(value) >= EXACT:
                self.lost[name] += 1
                return value
            return int(value)
        if kind in ("float", "double") and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind == "long" and hasattr(value, "timestamp"):
            return int(value.timestamp() * 1e6)
        return str(value) if kind == "string" and value is not None and not isinstance(value, str) else value


def _inexact(value: Any, kind: Any) -> bool:
    return kind in ("int", "long") and isinstance(value, float)


def _empty(value: Any) -> bool:
    """Whether a struct was null before Spark rebuilt it field by field."""
    return isinstance(value, dict) and all(part is None or _empty(part) for part in value.values())
