"""The bytes around a packet: which schema wrote it, and where its Avro body lies."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Protocol

import fastavro

from fink_broker.errors import BadPacket, SchemaError, UnknownSchema
from fink_broker.survey import Header, Survey

MAGIC = b"Obj\x01"
SYNC = 16


class Schema(Protocol):
    """What is needed of a schema: its version and its parsed JSON."""

    @property
    def version(self) -> str:
        """Version as the folder under schemas/<survey> is called."""

    @property
    def json(self) -> Any:
        """The schema, parsed by fastavro."""


class Library(Protocol):
    """What is needed of a schema library: look-ups that raise UnknownSchema."""

    @property
    def schemas(self) -> tuple[Any, ...]:
        """All schemas, oldest first."""

    def by_fingerprint(self, fingerprint: str) -> Any:
        """Schema of that SHA-256 of its canonical form."""

    def by_confluent_id(self, identifier: int) -> Any:
        """Schema of that id in the Confluent framing."""


@dataclass(frozen=True)
class Body:
    """The Avro body of one packet, with the version of the schema that wrote it."""

    version: str
    data: bytes
    header: Header | None = None


def read_body(value: bytes, survey: Survey, library: Library) -> Body:
    """The body of a packet, read to its last byte with its writer's schema.

    Raises BadPacket for damage and UnknownSchema for a schema that nobody knows; the message is the quarantine's reason.
    """
    if not value:
        raise BadPacket("empty packet")
    if survey.framing == "container":
        return _container(value, library)
    if survey.framing == "confluent":
        return _confluent(value, library)
    return _bare(value, library)


def _container(value: bytes, library: Library) -> Body:
    from fink_broker.schema import fingerprint

    if value[:4] != MAGIC:
        raise BadPacket(f"wrong magic {value[:4].hex()}: an Avro container starts with {MAGIC.hex()}")
    try:
        reader = fastavro.block_reader(io.BytesIO(value))
        schema: Any = reader.writer_schema
        codec = reader.codec
        found: list[Any] = list(reader)
        blocks = [(block.num_records, block.bytes_.read()) for block in found]
    except SchemaError:
        raise
    except Exception as error:
        raise BadPacket(f"damaged container: {type(error).__name__}: {error}") from error
    known = library.by_fingerprint(fingerprint(schema))
    records = sum(number for number, _ in blocks)
    if records != 1:
        raise BadPacket("container without a record" if not records else f"{records} records in one packet, one expected")
    data = next(body for number, body in blocks if number)
    _decode(data, known)
    header = None
    if codec == "null" and len(blocks) == 1 and value[-SYNC:] in value[:-SYNC]:
        length = value.index(value[-SYNC:])
        header = Header(known.version, length, zlib.crc32(value[:length]))
    return Body(known.version, data, header)


def _confluent(value: bytes, library: Library) -> Body:
    if len(value) < 6 or value[0] != 0:
        raise BadPacket(f"not in Confluent framing: starts with {value[:5].hex()}, expected a zero byte and a 4-byte schema id")
    schema = library.by_confluent_id(struct.unpack(">I", value[1:5])[0])
    _decode(value[5:], schema)
    return Body(schema.version, value[5:])


def _bare(value: bytes, library: Library) -> Body:
    reasons = []
    for schema in reversed(library.schemas):
        try:
            _decode(value, schema)
            return Body(schema.version, value)
        except BadPacket as error:
            reasons.append(f"{schema.version}: {error}")
    raise BadPacket("fits no known schema: " + "; ".join(reasons))


def _decode(data: bytes, schema: Schema) -> None:
    """Decode to the last byte, or raise BadPacket."""
    stream = io.BytesIO(data)
    try:
        fastavro.schemaless_reader(stream, schema.json, None)
    except Exception as error:
        raise BadPacket(f"does not decode with schema {schema.version}: {type(error).__name__}: {error}") from error
    if left := len(data) - stream.tell():
        raise BadPacket(f"{left} bytes left over after decoding with schema {schema.version}")


def own_header(schema: Schema) -> Header:
    """The header that fastavro writes before a packet of this schema (the simulator's packets have it)."""
    stream = io.BytesIO()
    fastavro.writer(stream, schema.json, [], sync_marker=b"\0" * SYNC)
    length = len(stream.getvalue()) - SYNC
    return Header(schema.version, length, zlib.crc32(stream.getvalue()[:length]))


__all__ = ["Body", "Library", "Schema", "UnknownSchema", "own_header", "read_body"]
