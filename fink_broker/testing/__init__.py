"""Made-up alerts for tests, demonstrations and authors of plugins: complete packets of a survey, with their truth."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import fastavro

from fink_broker.errors import ConfigError
from fink_broker.schema import Schema, SchemaLibrary
from fink_broker.settings import data_folder
from fink_broker.survey import Survey, load_survey
from fink_broker.testing.objects import KINDS, MadeObject, make_objects
from fink_broker.testing.packets import PACKERS

START_MJD = 61000.0  # TAI; 2025-11-21
NIGHTS = 3  # nights whose detections become alerts, in one block of objects
_SYNC = bytes(range(16))


@dataclass(frozen=True)
class MadeAlert:
    """One made-up alert: its packet as a dict of the survey's newest schema, and what it truly is."""

    survey: str
    packet: dict[str, Any]
    alert_id: str
    object_id: str
    mjd: float
    truth: dict[str, Any] = field(default_factory=dict)


def make_alerts(
    survey: str,
    number: int | None = None,
    seed: int = 1,
    start_mjd: float = START_MJD,
    kinds: Sequence[str] | None = None,
    schemas: Path | None = None,
) -> Iterator[MadeAlert]:
    """Complete, plausible packets in time order (without end when `number` is None); the same seed gives the same alerts.

    `kinds` are of supernova, variable, asteroid, microlensing, bogus; `start_mjd` is the first night [d, TAI].
    """
    if survey not in PACKERS:
        raise ConfigError(f"no made-up alerts for survey '{survey}'; there are {', '.join(sorted(PACKERS))}; give files instead")
    if unknown := set(kinds or ()) - set(KINDS):
        raise ConfigError(f"unknown kind {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    about = load_survey(schemas or data_folder("schemas"), survey)
    packer = PACKERS[survey](newest(survey, schemas), about, seed)
    made, block = 0, 0
    while number is None or made < number:
        size = 60 if number is None else max(12, min(400, (number - made) // 3))
        first = start_mjd + block * NIGHTS
        objects = make_objects(size, seed * 1_000_003 + block, about.bands, first, NIGHTS, kinds or KINDS)
        for thing, epoch in _in_time_order(objects, first):
            packet, alert_id, object_id = packer.pack(thing, epoch)
            yield MadeAlert(survey, packet, alert_id, object_id, float(thing.mjd[epoch]), {"kind": thing.kind, **thing.truth})
            made += 1
            if made == number:
                return
        block += 1


def _in_time_order(objects: Sequence[MadeObject], first: float) -> list[tuple[MadeObject, int]]:
    found = [(thing, epoch) for thing in objects for epoch in thing.detections if thing.mjd[epoch] >= first]
    return sorted(found, key=lambda pair: pair[0].mjd[pair[1]])


@lru_cache(maxsize=8)
def newest(survey: str, schemas: Path | None = None) -> Schema:
    """The schema that made-up alerts of a survey are written in."""
    library = SchemaLibrary.load(schemas or data_folder("schemas"), survey)
    return library.default if survey == "elasticc" else library.newest


def encode(survey: str | Survey, packet: dict[str, Any], schema: Schema | None = None) -> bytes:
    """The packet as the survey puts it on the wire: container, Confluent framing, or bare body."""
    about = load_survey(data_folder("schemas"), survey) if isinstance(survey, str) else survey
    schema = schema or newest(about.name)
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema.json, packet)
    return frame(about, stream.getvalue(), schema)


def frame(survey: Survey, body: bytes, schema: Schema) -> bytes:
    """An Avro body in the survey's framing."""
    if survey.framing == "confluent":
        return b"\0" + int(schema.confluent_id or 0).to_bytes(4, "big") + body
    if survey.framing == "bare":
        return body
    sync = os.urandom(16) if survey.framing != "container" else _SYNC
    return b"".join((_header(schema), sync, b"\x02", _varint(len(body)), body, sync))


@lru_cache(maxsize=32)
def _header(schema: Schema) -> bytes:
    stream = io.BytesIO()
    fastavro.writer(stream, schema.json, [], sync_marker=_SYNC)
    return stream.getvalue()[:-16]


def _varint(value: int) -> bytes:
    value <<= 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


__all__ = ["KINDS", "MadeAlert", "encode", "frame", "make_alerts", "newest"]
