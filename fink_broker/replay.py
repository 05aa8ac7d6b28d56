"""Alert files read for replay: Avro files, folders and tars of them, of every survey that is known."""

from __future__ import annotations

import gzip
import io
import lzma
import math
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro

from fink_broker import sky
from fink_broker.errors import ConfigError, SchemaError
from fink_broker.schema import Schema, SchemaLibrary, fingerprint
from fink_broker.survey import Survey, load_surveys
from fink_broker.testing import frame

Say = Callable[[str], None]
PACKETS = (".avro", ".avro.gz")
TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
# What a record of each survey has, whoever wrote it.
SPARK = "topLevelRecord"  # how Spark calls the records that it writes
RESEMBLES = {"ztf": {"candidate", "candid"}, "lsst": {"midpointMjdTai", "psfFlux"}, "elasticc": {"midPointTai", "psFlux"}}


@dataclass(frozen=True)
class Packet:
    """One packet ready to be sent; ids and time are empty where they could not be read."""

    survey: str
    value: bytes
    alert_id: str = ""
    object_id: str = ""
    mjd: float = math.inf
    display: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass
class Reader:
    """Reads files and remembers what it met: converted containers, skipped kinds, unreadable tars."""

    schemas: Path
    say: Say = print
    keep: bool = False  # the decoded record, for a display field
    converted: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.surveys = load_surveys(self.schemas)
        self.libraries = {name: SchemaLibrary.load(self.schemas, name) for name in self.surveys}

    def read(self, paths: Sequence[Path], only: Sequence[str] | None = None) -> Iterator[Packet]:
        """Packets of all files, in time order; those without a readable time come last."""
        found: list[Packet] = []
        for path in paths:
            if not path.exists():
                raise ConfigError(f"no file or folder {path}; give Avro files, folders or tars of them")
            for name, value in self._files(path):
                found += self._packets(name, value)
        found = [packet for packet in found if not only or packet.survey in only]
        for name, number in sorted(self.converted.items()):
            self.say(f"{number} records of {name}")
        for kind, number in sorted(self.skipped.items()):
            self.say(f"{number} files skipped: {kind} is no alert stream")
        for name in self.unreadable:
            self.say(f"unreadable archive left out: {name}")
        yield from sorted(found, key=lambda packet: packet.mjd)

    def _files(self, path: Path) -> Iterator[tuple[str, bytes]]:
        if path.is_dir():
            for inner in sorted(path.iterdir()):
                yield from self._files(inner)
        elif path.name.endswith(TARS):
            try:
                with tarfile.open(path) as tar:
                    for member in tar:
                        file = tar.extractfile(member) if member.isfile() else None
                        if file is not None:
                            yield from self._file(f"{path.name}/{member.name}", file.read)
            except (tarfile.TarError, EOFError, OSError, lzma.LZMAError):
                self.unreadable.append(path.name)
        else:
            yield from self._file(str(path), path.read_bytes)

    def _file(self, name: str, read: Callable[[], bytes]) -> Iterator[tuple[str, bytes]]:
        if not name.endswith(PACKETS):
            self.skipped[Path(name).suffix or "a file without an extension"] += 1
            return
        value = read()
        yield name, gzip.decompress(value) if name.endswith(".gz") else value

    def _packets(self, name: str, value: bytes) -> list[Packet]:
        if value[:4] != b"Obj\x01":
            return [self._bare(name, value)]
        try:
            reader = fastavro.reader(io.BytesIO(value))
            writer: Any = reader.writer_schema
            records: list[Any] = list(reader)
        except Exception:
            return [Packet(self._named(name) or "ztf", value)]  # damaged: sent as it is, for the quarantine
        survey = self._known(writer)
        if survey is None:
            survey = _resembling(writer) if _name(writer).startswith(SPARK) else None
            if survey is None or not records:
                return [Packet(survey or self._named(_name(writer)) or self._named(name) or "ztf", value)]
            version = _version(self.libraries[survey], records[0])
            file = next((part for part in name.split("/") if part.endswith((*TARS, ".avro"))), name)
            self.converted[f"{file} (schema {_name(writer)}) converted by name to {survey} {version.version}"] += len(records)
            return [self._packet(self.surveys[survey], convert(record, version), version) for record in records]
        schema = self.libraries[survey].by_fingerprint(fingerprint(writer))
        about = self.surveys[survey]
        if about.framing == "container" and len(records) <= 1:
            return [self._packet(about, records[0], schema, value)] if records else [Packet(survey, value)]
        return [self._packet(about, record, schema) for record in records]

    def _bare(self, name: str, value: bytes) -> Packet:
        for survey, about in self.surveys.items():
            if about.framing == "confluent" and value[:1] == b"\0":
                try:
                    schema = self.libraries[survey].by_confluent_id(int.from_bytes(value[1:5], "big"))
                    record: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema.json, None)
                except (SchemaError, EOFError, ValueError, IndexError):
                    return Packet(survey, value)
                return self._packet(about, record, schema, value)
        return Packet(self._named(name) or "ztf", value)

    def _packet(self, survey: Survey, record: Any, schema: Schema, value: bytes | None = None) -> Packet:
        if value is None:
            stream = io.BytesIO()
            try:
                fastavro.schemaless_writer(stream, schema.logical, record)
                value = frame(survey, stream.getvalue(), schema)
            except Exception as error:  # a value that the schema does not take: sent as text, for the quarantine
                value = f"cannot be written as {survey.name} {schema.version}: {error}".encode()
        facts = {name: dig(record, path) for name, path in survey.paths.items()}
        time = facts["time"]
        mjd = math.inf if not isinstance(time, float) else float(sky.mjd_tai(time)) if survey.time_scale == "jd_utc" else time
        if not math.isfinite(mjd):
            mjd = math.inf
        who = facts["object_id"] or facts.get("ss_object_id") or facts["alert_id"] or ""
        return Packet(survey.name, value, str(facts["alert_id"] or ""), str(who), mjd, record if self.keep else {})

    def _known(self, writer: Any) -> str | None:
        mark = fingerprint(writer)
        for survey, library in self.libraries.items():
            if any(schema.fingerprint == mark for schema in library.schemas):
                return survey
        return None

    def _named(self, name: str) -> str | None:
        return next((survey for survey in self.surveys if survey in name.lower()), None)


def dig(record: Any, path: str) -> Any:
    """The value at a dotted path of a packet, None where it ends early."""
    for part in path.split("."):
        record = record.get(part) if isinstance(record, dict) else None
    return record


def _version(library: SchemaLibrary, record: dict[str, Any]) -> Schema:
    """The newest version, or the newest of the same kind where a record has fields that the newest does not."""
    best = max(library.schemas, key=lambda schema: (_shared(schema, record), library.schemas.index(schema)))
    return library.newest if _shared(library.newest, record) >= _shared(best, record) else best


def _shared(schema: Schema, record: dict[str, Any]) -> int:
    source = record.get("diaSource")
    names = {field["name"] for field in schema.json["fields"]}
    inner = next((field["type"] for field in schema.json["fields"] if field["name"] == "diaSource"), None)
    known = {field["name"] for field in inner["fields"]} if isinstance(inner, dict) else set()
    return len(names & set(record)) * 3 + len(known & set(source or ()))


def _name(writer: Any) -> str:
    return str(writer.get("name", "without a name")) if isinstance(writer, dict) else "a list"


def _resembling(writer: Any) -> str | None:
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


def convert(record: Any, schema: Schema) -> Any:
    """A record by name into a survey's own schema: fields unknown to it dropped, structs with nothing in them null again."""
    named: dict[str, Any] = {}
    return _fit(record, schema.logical, named)


def _fit(value: Any, schema: Any, named: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        kinds = [kind for kind in schema if kind != "null"]
        fitted = None if value is None or _empty(value) else _fit(value, kinds[0], named)
        return fitted if fitted is not None or "null" in schema else value
    if isinstance(schema, str) and schema in named:
        return _fit(value, named[schema], named)
    if isinstance(schema, dict) and schema["type"] == "record":
        named[schema["name"]] = schema
        if not isinstance(value, dict):
            return value
        return {field["name"]: _fit(value.get(field["name"], field.get("default")), field["type"], named) for field in schema["fields"]}
    if isinstance(schema, dict) and schema["type"] == "array":
        return [_fit(item, schema["items"], named) for item in value] if isinstance(value, list) else value
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(schema, dict) and "logicalType" in schema and not isinstance(value, int | float):
        return value
    if kind in ("int", "long") and isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    if kind in ("float", "double") and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == "long" and hasattr(value, "timestamp"):
        return int(value.timestamp() * 1e6)
    return str(value) if kind == "string" and value is not None and not isinstance(value, str) else value


def _empty(value: Any) -> bool:
    """Whether a struct was null before Spark rebuilt it field by field."""
    return isinstance(value, dict) and all(part is None or _empty(part) for part in value.values())
