"""Alert files read for replay: Avro files, folders and tars of them, of every survey that is known."""

from __future__ import annotations

import gzip
import io
import lzma
import math
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fastavro

from fink_broker import sky
from fink_broker.conversion import Conversion, closest, foreign, name_of, resembling
from fink_broker.errors import ConfigError, SchemaError
from fink_broker.framing import MAGIC, SYNC, read_body
from fink_broker.schema import Schema, SchemaLibrary, fingerprint
from fink_broker.spool import Packet, Spool
from fink_broker.survey import Framing, Survey, load_surveys
from fink_broker.testing import frame

Say = Callable[[str], None]
PACKETS = (".avro", ".avro.gz")
TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
DAMAGED = (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error)


@dataclass
class _Writer:
    """A writer's schema met in a container: the bytes before the sync marker, its codec, and whose it is."""

    prefix: bytes
    schema: Any
    codec: str
    known: Schema | None
    survey: str | None


@dataclass
class Reader:
    """Reads files and remembers what it met: converted containers, skipped kinds, unreadable archives, packets of nobody's."""

    schemas: Path
    say: Say = print
    keep: bool = False  # the whole record beside each packet
    display: str | None = None  # dotted path of the one field to keep beside each packet
    target: Schema | None = None  # every record of its survey is converted to this schema
    framing: Framing | None = None  # instead of the survey's own
    converted: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    strangers: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.surveys = load_surveys(self.schemas)
        self.libraries = {name: SchemaLibrary.load(self.schemas, name) for name in self.surveys}
        self.default = "ztf" if "ztf" in self.surveys else next(iter(self.surveys))
        self._writers: list[_Writer] = []
        self._conversions: dict[tuple[str, str], Conversion] = {}

    def read(self, paths: Sequence[Path], only: Sequence[str] | None = None) -> Spool:
        """Packets of all files, in time order; those without a readable time come last."""
        found, others = Spool(), Counter[str]()
        for path in paths:
            if not path.exists():
                raise ConfigError(f"no file or folder {path}; give Avro files, folders or tars of them")
            for name, value in self._files(path):
                for packet in self._packets(name, value):
                    if only and packet.survey not in only:
                        others[packet.survey] += 1
                    else:
                        found.add(packet)
        for line in self.report(others):
            self.say(line)
        if not len(found):
            given = ", ".join(str(path) for path in paths)
            raise ConfigError(f"no alert packets in {given}; give .avro or .avro.gz files, or folders or tars of them")
        return found

    def report(self, others: Counter[str]) -> Iterator[str]:
        """What a reader of the log should know, a line each."""
        yield from (f"{number} records of {name}" for name, number in sorted(self.converted.items()))
        for (_, name), conversion in sorted(self._conversions.items()):
            for part, number in sorted(conversion.lost.items()):
                yield f"{number} times {part} had become a float and lost digits; left null ({name})"
        yield from (f"{number} records {text}" for text, number in sorted(self.notes.items()))
        yield from (f"{number} packets {text}, for the quarantine" for text, number in sorted(self.strangers.items()))
        yield from (f"{number} packets of {name} left out: not asked for" for name, number in sorted(others.items()))
        yield from (f"{number} files skipped: {kind} is not read" for kind, number in sorted(self.skipped.items()))
        if self.unreadable:
            yield f"{len(self.unreadable)} unreadable archives, read as far as they go: {', '.join(self.unreadable)}"

    def _files(self, path: Path) -> Iterator[tuple[str, bytes]]:
        if path.is_dir():
            for folder, inner, files in os.walk(path):
                inner.sort()
                for file in sorted(files):
                    yield from self._files(Path(folder) / file)
        elif path.name.endswith(TARS):
            try:
                with tarfile.open(path) as tar:
                    for member in tar:
                        inside = tar.extractfile(member) if member.isfile() else None
                        if inside is not None:
                            yield from self._file(f"{path.name}/{member.name}", inside.read)
            except DAMAGED:
                self.unreadable.append(path.name)
        elif path.is_file():
            yield from self._file(str(path), path.read_bytes)

    def _file(self, name: str, read: Callable[[], bytes]) -> Iterator[tuple[str, bytes]]:
        if not name.endswith(PACKETS):
            self.skipped[Path(name).suffix or "a file without an extension"] += 1
            return
        value = read()
        if name.endswith(".gz"):
            try:
                value = gzip.decompress(value)
            except DAMAGED:
                self.unreadable.append(name)
                return
        yield name, value

    def _packets(self, name: str, value: bytes) -> Iterator[Packet]:
        if value[:4] != MAGIC:
            yield self._bare(name, value)
            return
        try:
            writer, records = self._records(value)
        except Exception:  # Avro that is damaged fails in many ways; the packet is sent as it is, and the quarantine tells why
            yield Packet(self._claimed(name, "damaged container"), value)
            return
        survey = writer.survey
        if survey is None or not records:
            what = f"schema {name_of(writer.schema)}" if records else "no record"
            yield Packet(self._claimed(survey or f"{name_of(writer.schema)} {name}", what), value)
            return
        about = self.surveys[survey]
        target = self.target if self.target and self.target.survey == survey else None
        if writer.known and not target:
            whole = value if about.framing == "container" and not self.framing and len(records) == 1 else None
            yield from (self._packet(about, record, writer.known, writer, whole) for record in records)
            return
        schema = target or closest(self.libraries[survey], records[0])
        file = next((part for part in name.split("/") if part.endswith((*TARS, *PACKETS))), name)
        self.converted[f"{file} (schema {name_of(writer.schema)}) converted by name to {survey} {schema.version}"] += len(records)
        conversion = self._conversions.setdefault((survey + schema.version, file), Conversion(schema))
        yield from (self._packet(about, record, schema, writer, conversion=conversion) for record in records)

    def _records(self, value: bytes) -> tuple[_Writer, list[Any]]:
        """All records of a container, read to its last byte; the short way for a single one whose header was met before."""
        for writer in self._writers:
            if value.startswith(writer.prefix):
                record = _single(value, writer) if writer.codec == "null" else None
                if record is not None:
                    return writer, [record]
        reader = fastavro.reader(io.BytesIO(value))
        schema: Any = reader.writer_schema
        records: list[Any] = list(reader)
        sync = value[-SYNC:]
        writer = _Writer(value[: value.index(sync)], schema, str(reader.codec), *self._whose(schema))
        self._writers.insert(0, writer)
        del self._writers[8:]
        return writer, records

    def _whose(self, writer: Any) -> tuple[Schema | None, str | None]:
        mark = fingerprint(writer)
        for survey, library in self.libraries.items():
            for schema in library.schemas:
                if schema.fingerprint == mark:
                    return schema, survey
        return None, resembling(writer) if foreign(writer) or self.target else None

    def _bare(self, name: str, value: bytes) -> Packet:
        for survey, about in self.surveys.items():
            if about.framing == "confluent" and value[:1] == b"\0":
                try:
                    schema = self.libraries[survey].by_confluent_id(int.from_bytes(value[1:5], "big"))
                    record: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema.json, None)
                except (SchemaError, EOFError, ValueError, IndexError):
                    return Packet(self._claimed(survey, "bare body"), value)
                return self._packet(about, record, schema, None, value)
            if about.framing == "bare":
                try:
                    body = read_body(value, about, self.libraries[survey])
                except SchemaError:
                    continue
                schema = next(one for one in self.libraries[survey].schemas if one.version == body.version)
                return self._packet(about, fastavro.schemaless_reader(io.BytesIO(value), schema.json, None), schema, None, value)
        return Packet(self._claimed(name, "no container") if value else self._claimed(name, "empty file"), value)

    def _packet(
        self, survey: Survey, record: Any, schema: Schema, writer: _Writer | None, value: bytes | None = None, conversion: Conversion | None = None
    ) -> Packet:
        if value is None:
            try:
                written = conversion.convert(record) if conversion else record
                stream = io.BytesIO()
                fastavro.schemaless_writer(stream, schema.logical, written)
                value = frame(replace(survey, framing=self.framing) if self.framing else survey, stream.getvalue(), schema)
                record = written
            except Exception as error:  # a value that the schema does not take: sent as its writer wrote it, for the quarantine
                self.notes[f"cannot be written as {survey.name} {schema.version} ({error}): sent as they are, for the quarantine"] += 1
                stream = io.BytesIO()
                fastavro.writer(stream, writer.schema if writer else schema.logical, [record])
                value = stream.getvalue()
        facts = {name: dig(record, path) for name, path in survey.paths.items()}
        time = facts["time"]
        mjd = math.inf if not isinstance(time, float) else float(sky.mjd_tai(time)) if survey.time_scale == "jd_utc" else time
        who = facts["object_id"] or facts.get("ss_object_id") or facts["alert_id"] or ""
        return Packet(survey.name, value, str(facts["alert_id"] or ""), str(who), mjd if math.isfinite(mjd) else math.inf, self._kept(record))

    def _kept(self, record: Any) -> dict[str, Any]:
        """What is kept beside a packet: the record, or the displayed field alone, at its path."""
        if self.keep:
            return record
        kept: Any = dig(record, self.display) if self.display else None
        for part in reversed(self.display.split(".") if self.display and kept is not None else ()):
            kept = {part: kept}
        return kept or {}

    def _claimed(self, text: str, what: str) -> str:
        """The survey that a name speaks of, else the one whose quarantine takes strangers."""
        claimed = next((survey for survey in self.surveys if survey in text.lower()), None)
        self.strangers[f"fit no known schema ({what}): sent as they are to {claimed or self.default}"] += 1
        return claimed or self.default


def _single(value: bytes, writer: _Writer) -> Any:
    """The record of a container of one uncompressed block with one record, or None when it is no such container."""
    place = len(writer.prefix) + SYNC
    stream = io.BytesIO(value)
    stream.seek(place)
    count, size = _varint(stream), _varint(stream)
    end = stream.tell() + size
    if count != 1 or size < 0 or value[end:] != value[place - SYNC : place]:
        return None
    record: Any = fastavro.schemaless_reader(stream, writer.schema, None)
    return record if stream.tell() == end else None


def _varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while byte := stream.read(1):
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value >> 1 ^ -(value & 1)
        shift += 7
    return -1


def dig(record: Any, path: str) -> Any:
    """The value at a dotted path of a packet, None where it ends early."""
    for part in path.split("."):
        record = record.get(part) if isinstance(record, dict) else None
    return record


def load_target(file: Path, schemas: Path) -> Schema:
    """A schema to convert to, out of an .avsc file, a gzipped one, or an Avro file that holds it."""
    try:
        value = file.read_bytes()
        value = gzip.decompress(value) if file.name.endswith(".gz") else value
        source = _header_schema(value) if value[:4] == MAGIC else value.decode()
        schema = Schema("", file.name, source)
        survey, mark = resembling(schema.json), schema.fingerprint
    except FileNotFoundError as error:
        raise ConfigError(f"no schema file {file}; give an .avsc file, a gzipped one, or an Avro file") from error
    except Exception as error:
        raise ConfigError(f"{file} holds no Avro schema: {type(error).__name__}: {error}; give an .avsc file, a gzipped one, or an Avro file") from error
    if survey is None:
        raise ConfigError(f"the schema in {file} resembles no known survey; known: {', '.join(load_surveys(schemas))}")
    known = [one for one in SchemaLibrary.load(schemas, survey).schemas if one.fingerprint == mark]
    return known[-1] if known else replace(schema, survey=survey)


def _header_schema(value: bytes) -> str:
    import json

    return json.dumps(fastavro.reader(io.BytesIO(value)).writer_schema)
