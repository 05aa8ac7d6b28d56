"""Packets spoilt on purpose, for tests: of bytes (a packet as sent) or of a packet (a dict)."""

from __future__ import annotations

import math
import re
from copy import deepcopy
from typing import Any

from fink_broker.errors import ConfigError
from fink_broker.survey import Survey

Packet = dict[str, Any]
MAGIC = b"Obj\x01"
UNKNOWN_ID = 12345


def empty(value: bytes) -> bytes:
    """Nothing of it."""
    return value[:0]


def truncated(value: bytes, share: float = 0.6) -> bytes:
    """Its beginning."""
    return value[: int(len(value) * share)]


def trailing(value: bytes, extra: bytes = b"\n") -> bytes:
    """With bytes after its end."""
    return value + extra


def wrong_magic(value: bytes) -> bytes:
    """Its first four bytes replaced: neither a container nor in Confluent framing."""
    return b"\xca\xfe\xba\xbe" + value[4:]


def flipped(value: bytes, place: int = -1) -> bytes:
    """One bit the other way round; in the last byte of a container it breaks the sync marker."""
    spoilt = bytearray(value)
    spoilt[place] ^= 1
    return bytes(spoilt)


def newlines_lost(value: bytes) -> bytes:
    """Each carriage return before a line feed taken out, as a text conversion does."""
    return value.replace(b"\r\n", b"\n")


def unknown_schema(value: bytes) -> bytes:
    """Written in a schema that nobody knows: another field name in a container's header, or another id in Confluent framing."""
    if value[:1] == b"\0":
        return b"\0" + UNKNOWN_ID.to_bytes(4, "big") + value[5:]
    found = re.search(rb'"fields": ?\[\{[^}]*?"name": ?"(\w)', value) if value[:4] == MAGIC else None
    if found is None:
        raise ConfigError("a bare body carries no schema; give a packet in a container or in Confluent framing")
    letter = b"x" if found.group(1) != b"x" else b"y"
    return value[: found.start(1)] + letter + value[found.end(1) :]


def _put(packet: Packet, path: str, value: Any) -> Packet:
    spoilt = deepcopy(packet)
    *way, last = path.split(".")
    inner = spoilt
    for name in way:
        inner = inner[name]
    inner[last] = value
    return spoilt


def nan_position(packet: Packet, survey: Survey) -> Packet:
    """Right ascension not a number."""
    return _put(packet, survey.paths["ra"], math.nan)


def off_sky(packet: Packet, survey: Survey) -> Packet:
    """Declination beyond the pole."""
    return _put(packet, survey.paths["dec"], 123.0)


def no_id(packet: Packet, survey: Survey) -> Packet:
    """Alert id 0."""
    return _put(packet, survey.paths["alert_id"], 0)


def no_time(packet: Packet, survey: Survey) -> Packet:
    """Time 0, which is long before 1990 in any scale."""
    return _put(packet, survey.paths["time"], 0.0)


def changed(packet: Packet, survey: Survey) -> Packet:
    """The same id with another position, a degree to the east."""
    path = survey.paths["ra"]
    value: Any = packet
    for name in path.split("."):
        value = value[name]
    return _put(packet, path, (value + 1) % 360)


# What the quarantine must catch in every framing, by name; a bare body does not show the other kinds.
BYTES = {"empty": empty, "truncated": truncated}
PACKETS = {"nan_position": nan_position, "off_sky": off_sky, "no_id": no_id, "no_time": no_time}
