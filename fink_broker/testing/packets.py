"""What the packers of all surveys share: empty records of a schema, ids, stamps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fink_broker.schema import Schema
from fink_broker.survey import Survey
from fink_broker.testing.objects import EPOCHS, MadeObject
from fink_broker.testing.stamps import VARIANTS, stamps

LN = 2.5 / float(np.log(10))
BLOCK = 5000  # things that are made at once, at most
NIGHTS = 3  # nights on which the detections of a block become alerts, of which a new one begins each night


def blank(schema: Any, named: dict[str, Any] | None = None) -> Any:
    """A value of a schema with nothing in it: null where it may be, else 0, "" or empty."""
    named = {} if named is None else named
    if isinstance(schema, list):
        return None if "null" in schema else blank(schema[0], named)
    if isinstance(schema, str):
        return blank(named[schema], named) if schema in named else {"string": "", "bytes": b"", "boolean": False}.get(schema, 0)
    if schema["type"] == "record":
        named[schema["name"]] = schema
        return {field["name"]: blank(field["type"], named) for field in schema["fields"]}
    return [] if schema["type"] == "array" else blank(schema["type"], named)


def record_of(schema: Any, *path: str) -> Any:
    """The record schema at a path of field names."""
    for name in path:
        kind = next(field["type"] for field in schema["fields"] if field["name"] == name)
        kind = next(part for part in kind if part != "null") if isinstance(kind, list) else kind
        schema = kind["items"] if isinstance(kind, dict) and kind["type"] == "array" else kind
    return schema


def filled(record: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The record with those of the values that it has a field for."""
    return record | {name: value for name, value in values.items() if name in record}


class Packer:
    """Turns a detection of a made-up object into (packet, alert id, object id)."""

    def __init__(self, schema: Schema, survey: Survey, seed: int) -> None:
        self.schema, self.survey, self.seed = schema, survey, seed
        self.empty = blank(schema.json)

    def pack(self, thing: MadeObject, epoch: int) -> tuple[dict[str, Any], str, str]:
        """The packet of one detection."""
        raise NotImplementedError

    def _stamps(self, thing: MadeObject, epoch: int, deep: bool) -> tuple[bytes, bytes, bytes]:
        flux = thing.flux[epoch]
        brightness = int(min(max(np.log2(abs(flux) / thing.flux_err[epoch]), 2), 7))
        return stamps(thing.kind, brightness, 1 if flux > 0 else -1, int(thing.dice[epoch][9] * VARIANTS), deep)

    each = 8  # detections of a moving thing

    def _number(self, thing: MadeObject, epoch: int) -> int:
        """A number of its own for each object of one seed; each detection of a moving thing is an object."""
        return thing.number * self.each + (epoch - thing.detections[0] if thing.moving else 0) % self.each

    @staticmethod
    def _count(thing: MadeObject, epoch: int) -> int:
        """A number of its own for each visit of the things that give alerts in one night, below a million."""
        return thing.number % (NIGHTS * BLOCK) * EPOCHS + epoch


def kept(thing: MadeObject, epoch: int, make: Callable[[MadeObject, int], dict[str, Any]]) -> dict[str, Any]:
    """A copy of the record of a detection, which is made once; all go when the last detection was packed."""
    found = thing.records.get(epoch)
    if found is None:
        found = thing.records[epoch] = make(thing, epoch)
    return dict(found)
