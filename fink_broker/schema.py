"""Avro schemas of the surveys: known by their fingerprint, joined into one union schema a survey."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint as avro_fingerprint
from fastavro.schema import to_parsing_canonical_form

from fink_broker.errors import ConfigError, SchemaError, UnknownSchema
from fink_broker.schema_registry import RegistryClient

_WIDER = ("int", "long", "float", "double")
_OTHER = ("enum", "fixed", "map")  # types that stay as they are written
_TAGS = ("first", "second")  # of two schemas that call themselves the same version


def fingerprint(schema: Any) -> str:
    """SHA-256 (hex) of a schema's Parsing Canonical Form: the same for all spellings of one schema."""
    try:
        return avro_fingerprint(to_parsing_canonical_form(schema), "SHA-256")
    except Exception as error:
        raise UnknownSchema(f"schema cannot be parsed: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Schema:
    """One version of a survey's schema, as the folder schemas/<survey>/<version> holds it."""

    survey: str
    version: str
    source: str = field(repr=False)
    confluent_id: int | None = None

    @cached_property
    def json(self) -> Any:
        """The schema as fastavro parsed it, without logical types: real packets hold times that are none."""
        return fastavro.parse_schema(_physical(json.loads(self.source)))

    @cached_property
    def logical(self) -> Any:
        """The same with logical types, for records that were read with them."""
        return fastavro.parse_schema(json.loads(self.source))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of its canonical form."""
        return fingerprint(json.loads(self.source))

    @cached_property
    def text(self) -> str:
        """The schema as compact JSON, without logical types."""
        return _compact(_physical(json.loads(self.source)))


@dataclass
class SchemaLibrary:
    """All schemas of one survey, oldest first; a registry may add some while alerts are read."""

    survey: str
    schemas: tuple[Schema, ...]
    registry: RegistryClient | None = None
    learned: dict[int, Schema] = field(default_factory=dict)  # by the id that the registry gave them
    kept: Path | None = None  # folder where schemas that only the registry has are kept for the next start, as <id>.avsc
    files: frozenset[tuple[str, int]] = frozenset()  # path and time of change [ns] of what was read

    @staticmethod
    def load(folder: Path, survey: str, registry_url: str = "", kept: Path | None = None) -> SchemaLibrary:
        """The schemas under `folder`/`survey`, and those kept under `kept`/`survey`; ConfigError when there are none."""
        seen = SchemaLibrary.marks(folder, survey)
        files = sorted((folder / survey).glob("*/*.avsc"), key=lambda file: _order(file.parent.name))
        if not files:
            raise ConfigError(f"no schema under {folder / survey}; add one as {survey}/<version>/alert.avsc, see schemas/README.md")
        found = tuple(Schema(survey, file.parent.name, file.read_text(), _confluent_id(file.parent.name)) for file in files)
        registry = RegistryClient(registry_url) if registry_url else None
        library = SchemaLibrary(survey, found, registry, kept=kept / survey if kept else None, files=seen)
        for file in sorted(library.kept.glob("*.avsc")) if library.kept else ():
            library.learned[int(file.stem)] = library._registered(int(file.stem), json.loads(file.read_text()))
        return library

    @staticmethod
    def marks(folder: Path, survey: str) -> frozenset[tuple[str, int]]:
        """What a survey's folder holds: it differs from `files` once a version was added, or survey.toml changed."""
        files = [*(folder / survey).glob("*/*.avsc"), *(folder / survey).glob("survey.toml")]
        return frozenset((str(file), file.stat().st_mtime_ns) for file in files)

    @property
    def newest(self) -> Schema:
        """The newest version."""
        return self.schemas[-1]

    @property
    def default(self) -> Schema:
        """The version that a bare body is tried with first: the campaign's, where there are two of one name."""
        tagged = [schema for schema in self.schemas if schema.version.endswith(_TAGS[-1])]
        return tagged[-1] if tagged else self.newest

    def by_fingerprint(self, value: str) -> Schema:
        """The schema of that fingerprint; UnknownSchema naming the known versions."""
        for schema in reversed(self.writers()):
            if schema.fingerprint == value:
                return schema
        raise UnknownSchema(f"unknown schema: {value[:16]}… is none of {self.survey} {self._known()}")

    def by_version(self, version: str) -> Schema:
        """The schema of that version; UnknownSchema naming the known ones."""
        for schema in self.writers():
            if schema.version == version:
                return schema
        raise UnknownSchema(f"unknown schema: no version {version} of {self.survey}; known: {self._known()}")

    def by_confluent_id(self, identifier: int) -> Schema:
        """The schema of an id in the Confluent framing; a registry is asked, once, for one that schemas/ does not have."""
        for schema in self.schemas:
            if schema.confluent_id == identifier:
                return schema
        if identifier not in self.learned:
            if self.registry is None:
                ids = ", ".join(str(schema.confluent_id) for schema in self.schemas)
                raise UnknownSchema(f"unknown schema: id {identifier} is none of {self.survey}'s {ids}; name the registry in [kafka] schema_registry_url")
            self.learned[identifier] = self._registered(identifier, self.registry.get(identifier))
        return self.learned[identifier]

    def ids(self) -> dict[int, Schema]:
        """Every id in the Confluent framing that is known by now."""
        return self.learned | {schema.confluent_id: schema for schema in self.schemas if schema.confluent_id is not None}

    def writers(self) -> tuple[Schema, ...]:
        """Every schema that a packet may have been written with: those of schemas/, then those that only the registry has."""
        return (*self.schemas, *(schema for schema in dict.fromkeys(self.learned.values()) if schema not in self.schemas))

    def _registered(self, identifier: int, found: Any) -> Schema:
        """The schema that a registry gave for an id: one of ours, or a new version."""
        with contextlib.suppress(UnknownSchema):
            return self.by_fingerprint(fingerprint(found))
        name = str(found.get("namespace", "")) + str(found["name"]) if isinstance(found, dict) and "name" in found else ""
        stated = re.search(r"v(\d+)_(\d+)", name)
        version = f"{stated[1]}.{stated[2]}" if stated else f"id{identifier}"
        if any(schema.version == version for schema in self.writers()):
            version = f"{version}-id{identifier}"
        if not isinstance(found, dict) or found.get("type") != "record":
            raise UnknownSchema(f"unknown schema: id {identifier} of the registry is not a record; a packet of {self.survey} is one")
        own, expected = (str(record["name"]).rpartition(".")[2] for record in (found, json.loads(self.newest.source)))
        if own != expected:
            raise UnknownSchema(f"unknown schema: id {identifier} of the registry is '{own}', no {expected} of {self.survey}")
        new = Schema(self.survey, version, json.dumps(_readable(found), separators=(",", ":")), identifier)
        replace(self, learned={**self.learned, identifier: new}).union()  # SchemaError when it does not fit the others
        return new

    def keep(self, identifier: int) -> None:
        """Write a schema that the registry gave to the folder of kept ones, for the next start."""
        if self.kept is not None:
            self.kept.mkdir(parents=True, exist_ok=True)
            part = self.kept / f".{identifier}-{os.getpid()}"
            part.write_text(self.learned[identifier].source)
            part.rename(self.kept / f"{identifier}.avsc")

    def union(self) -> dict[str, Any]:
        """One schema with all fields of all versions, each nullable; records merged, numbers widened.

        Where a field changed its type past that, the newest version's type stands (see schemas/README.md). A field that a version
        renamed (its old name is an alias) keeps its first name, so that expressions, filters and past nights go on.
        """
        union: dict[str, Any] = _inline(self._merged(), "union", nullable=True)
        return union

    def text(self, schema: Schema) -> str:
        """A version's schema as `Schema.text`, with the names that its fields have in the union: bytes of Avro hold no names."""
        if '"aliases"' not in schema.source:
            return schema.text
        return _compact(_renamed(_physical(json.loads(schema.source)), self._merged()))

    def fields(self, schema: Schema) -> str:
        """The fields of `text` as a list in compact JSON, each record in it written out under a name of its own.

        Empty for a version with types that fink-client does not read: one of several, enum, fixed, map.
        """
        try:
            return _compact(_inline(_expand(json.loads(self.text(schema)), {}), "packet", nullable=False)["fields"])
        except SchemaError:
            return ""

    def _merged(self) -> Any:
        merged: Any = None
        for schema in self.writers():
            expanded = _expand(_physical(json.loads(schema.source)), {})
            merged = expanded if merged is None else _merge(merged, expanded)
        return merged

    def _known(self) -> str:
        return ", ".join(schema.version for schema in self.writers())


def _physical(schema: Any) -> Any:
    """The schema with each logical type replaced by the type that carries it."""
    if isinstance(schema, list):
        return [_physical(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "logicalType" in schema:
        return schema["type"]
    return {key: _physical(value) if key in ("type", "items", "fields") else value for key, value in schema.items()}


def _order(version: str) -> tuple[Any, ...]:
    numbers = re.match(r"[\d.]*", version)
    parts = [int(part) for part in (numbers.group() if numbers else "").split(".") if part]
    return (*parts, *([0] * (4 - len(parts))), version)


def _confluent_id(version: str) -> int | None:
    parts = version.split(".")
    return 100 * int(parts[0]) + int(parts[1]) if len(parts) == 2 and all(part.isdigit() for part in parts) else None


def _expand(schema: Any, known: dict[str, Any], namespace: str = "") -> Any:
    """The schema with each reference to a named record replaced by that record, names without their namespace."""
    if isinstance(schema, list):
        return [_expand(part, known, namespace) for part in schema]
    if isinstance(schema, str):
        return known.get(schema) or known.get(f"{namespace}.{schema}") or schema
    kind = schema["type"]
    if kind == "array":
        return {"type": "array", "items": _expand(schema["items"], known, namespace)}
    if kind != "record":
        return schema if kind in _OTHER else _expand(kind, known, namespace)
    full = schema["name"] if "." in schema["name"] else ".".join(filter(None, (schema.get("namespace", namespace), schema["name"])))
    inner = full.rpartition(".")[0]
    fields = {part["name"]: _expand(part["type"], known, inner) for part in schema["fields"]}
    aliases = {part["name"]: part["aliases"] for part in schema["fields"] if part.get("aliases")}
    known[full] = {"type": "record", "name": full.rpartition(".")[2], "fields": fields, "aliases": aliases, "first": {}}
    return known[full]


def _bare(kind: Any) -> Any:
    """The one type of a nullable union."""
    if not isinstance(kind, list):
        return kind
    rest = [part for part in kind if part != "null"]
    if len(rest) != 1:
        raise SchemaError(f"a field may be one type or null, not {kind}; write the schema with one type")
    return rest[0]


def _merge(old: Any, new: Any) -> Any:
    old, new = _bare(old), _bare(new)
    if isinstance(old, dict) and isinstance(new, dict) and old["type"] == new["type"] == "record":
        fields, first = dict(old["fields"]), dict(old["first"])  # `first`: the first name of a field, by each later one
        for name in new["fields"]:
            known = [first.get(alias, alias) for alias in new["aliases"].get(name, ()) if first.get(alias, alias) in fields]
            if known and name not in fields and known[0] not in new["fields"]:
                first[name] = known[0]
        renamed = {first.get(name, name): kind for name, kind in new["fields"].items()}
        for name, kind in renamed.items():
            fields[name] = _merge(fields[name], kind) if name in fields else kind
        order = [*renamed, *(name for name in fields if name not in renamed)]
        return {"type": "record", "name": new["name"], "fields": {name: fields[name] for name in order}, "aliases": {}, "first": first}
    if isinstance(old, dict) and isinstance(new, dict) and old["type"] == new["type"] == "array":
        return {"type": "array", "items": _merge(old["items"], new["items"])}
    if old in _WIDER and new in _WIDER:
        return max(old, new, key=_WIDER.index)
    return new


def _readable(schema: Any) -> Any:
    """What is needed to read with a schema; no default that a strict parser might refuse."""
    if isinstance(schema, list):
        return [_readable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _readable(schema[key]) for key in ("type", "items", "values", "fields") if key in schema}
    return {**inner, **{key: schema[key] for key in ("name", "namespace", "aliases", "size", "symbols") if key in schema}}


def _renamed(schema: Any, merged: Any) -> Any:
    """A version's schema with fields under the first names that the merged one has of them."""
    merged = _bare(merged)
    if isinstance(schema, list):
        return [_renamed(part, merged) for part in schema]
    if not isinstance(schema, dict) or not isinstance(merged, dict) or schema.get("type") not in ("record", "array"):
        return {**schema, "type": _renamed(schema["type"], merged)} if isinstance(schema, dict) and isinstance(schema.get("type"), dict) else schema
    if schema["type"] == "array":
        return {**schema, "items": _renamed(schema["items"], merged.get("items"))}
    fields = []
    for part in schema["fields"]:
        name = merged["first"].get(part["name"], part["name"])
        kept = {key: value for key, value in part.items() if key != "aliases"}
        fields.append({**kept, "name": name, "type": _renamed(part["type"], merged["fields"][name])})
    return {**schema, "fields": fields}


def _inline(schema: Any, path: str, nullable: bool) -> Any:
    """Avro JSON of an expanded schema, each record written out under a name of its own; `nullable`: every field and item may be null."""

    def part(kind: Any, path: str) -> Any:
        return ["null", _inline(kind, path, nullable)] if nullable else _inline(kind, path, nullable)

    bare = _bare(schema)
    if isinstance(schema, list) and not nullable:
        return [kind if kind == "null" else _inline(bare, path, nullable) for kind in schema]
    if isinstance(bare, dict) and bare["type"] == "record":
        default = {"default": None} if nullable else {}
        fields = [{"name": name, "type": part(kind, f"{path}.{name}"), **default} for name, kind in bare["fields"].items()]
        return {"type": "record", "name": bare["name"], "namespace": path, "fields": fields}
    if isinstance(bare, dict) and bare["type"] == "array":
        return {"type": "array", "items": part(bare["items"], path)}
    if isinstance(bare, dict) and not nullable:
        raise SchemaError(f"{path} is of type {bare['type']}, which cannot be written out")
    return bare


def _compact(schema: Any) -> str:
    return json.dumps(schema, separators=(",", ":"))
