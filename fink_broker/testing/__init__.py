"""Made-up alerts for tests, demonstrations and authors of plugins: complete packets of a survey, with their truth."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Any

import fastavro

from fink_broker.errors import ConfigError
from fink_broker.schema import Schema, SchemaLibrary
from fink_broker.settings import data_folder
from fink_broker.survey import Survey, load_survey
from fink_broker.testing import damage
from fink_broker.testing.elasticc import Elasticc
from fink_broker.testing.encoder import Encode, encoder, varint
from fink_broker.testing.lsst import Lsst
from fink_broker.testing.objects import KINDS, MadeObject, first_midnight, make_objects
from fink_broker.testing.packets import BLOCK, NIGHTS, Packer
from fink_broker.testing.ztf import Ztf

PACKERS: dict[str, type[Packer]] = {"ztf": Ztf, "lsst": Lsst, "elasticc": Elasticc}
START_MJD = 61000.0  # TAI; 2025-11-21
FIRST, GROWTH = 60, 5  # things in the first night's block, and how much larger each next one is: a few alerts come at once, many are of few nights
_SYNC = bytes(range(16))
Detection = tuple[MadeObject, int]  # a thing and the place of its visit


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
    """Complete, plausible packets in time order (without end when `number` is None); the same seed gives the same alerts, however many are asked for.

    `kinds` are of supernova, variable, asteroid, microlensing, bogus; the first night is the first that begins after `start_mjd` [d, TAI].
    """
    if survey not in PACKERS:
        raise ConfigError(f"no made-up alerts for survey '{survey}'; there are {', '.join(sorted(PACKERS))}; give files instead")
    if unknown := set(kinds or ()) - set(KINDS):
        raise ConfigError(f"unknown kind {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    if number is not None and number < 0:
        raise ConfigError(f"number is {number}; expected 0 or more, or None for a stream without end")
    about = load_survey(schemas or data_folder("schemas"), survey)
    return _alerts(PACKERS[survey](newest(survey, schemas), about, seed), number, start_mjd, kinds or KINDS)


def _alerts(packer: Packer, number: int | None, start_mjd: float, kinds: Sequence[str]) -> Iterator[MadeAlert]:
    """Each night a block of things begins; the next night's is made little by little while this night's alerts go out: no pause between them."""
    about = packer.survey
    midnight = first_midnight(start_mjd, about.longitude_deg)

    def size(block: int) -> int:
        return int(min(BLOCK, FIRST * GROWTH ** min(block, 9)))

    def things(block: int) -> Iterator[MadeObject]:
        seed = packer.seed % 2**32 * 1_000_003 + block
        return make_objects(size(block), seed, about.bands, midnight + block, NIGHTS, kinds, block * BLOCK)

    made = 0
    waiting, ready, upcoming = list[Detection](), list[MadeObject](), things(0)
    for block in count():
        waiting = _in_time_order(waiting, [*ready, *upcoming], midnight + block - 0.5)
        tonight = bisect_left(waiting, midnight + block + 0.5, key=_time)
        alerts, waiting = waiting[:tonight], waiting[tonight:]
        ready, upcoming = [], things(block + 1)
        last = number is not None and made + len(alerts) >= number
        step = 0 if last else -(-size(block + 1) // max(len(alerts), 1))
        for thing, epoch in alerts if number is None else alerts[: number - made]:
            packet, alert_id, object_id = packer.pack(thing, epoch)
            yield MadeAlert(about.name, packet, alert_id, object_id, thing.mjd[epoch], {"kind": thing.kind, **thing.truth})
            made += 1
            if epoch == thing.detections[-1]:
                thing.records.clear()
            ready += islice(upcoming, step)
        if last:
            return


def _in_time_order(waiting: Sequence[Detection], objects: Sequence[MadeObject], first: float) -> list[Detection]:
    found = [(thing, epoch) for thing in objects for epoch in thing.detections if thing.mjd[epoch] >= first]
    return sorted([*waiting, *found], key=_time)


def _time(detection: Detection) -> float:
    thing, epoch = detection
    return thing.mjd[epoch]


@lru_cache(maxsize=8)
def newest(survey: str, schemas: Path | None = None) -> Schema:
    """The schema that made-up alerts of a survey are written in."""
    library = SchemaLibrary.load(schemas or data_folder("schemas"), survey)
    return library.default if survey == "elasticc" else library.newest


def encode(survey: str | Survey, packet: dict[str, Any], schema: Schema | None = None) -> bytes:
    """The packet as the survey puts it on the wire: container, Confluent framing, or bare body."""
    about = load_survey(data_folder("schemas"), survey) if isinstance(survey, str) else survey
    schema = schema or newest(about.name)
    return frame(about, _encoder(schema)(packet), schema)


def frame(survey: Survey, body: bytes, schema: Schema) -> bytes:
    """An Avro body in the survey's framing."""
    if survey.framing == "confluent":
        return b"\0" + int(schema.confluent_id or 0).to_bytes(4, "big") + body
    if survey.framing == "bare":
        return body
    return b"".join((_header(schema), _SYNC, b"\x02", varint(len(body)), body, _SYNC))


@lru_cache(maxsize=32)
def _encoder(schema: Schema) -> Encode:
    return encoder(schema.json)


@lru_cache(maxsize=32)
def _header(schema: Schema) -> bytes:
    stream = io.BytesIO()
    fastavro.writer(stream, schema.json, [], sync_marker=_SYNC)
    return stream.getvalue()[:-16]


__all__ = ["KINDS", "START_MJD", "MadeAlert", "damage", "encode", "frame", "make_alerts", "newest"]
