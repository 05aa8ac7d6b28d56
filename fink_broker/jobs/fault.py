"""Packets that make their batch fail: found by halving it, left out from then on, quarantined by `ingest` or `night`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fink_broker.errors import one_line
from fink_broker.frame import at
from fink_broker.log import Logger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Place = tuple[str, int, int]  # topic, partition, offset
REASON = "made its batch fail"
MOST = 16  # packets at fault in one batch; more is no fault of packets

log = Logger("fault")


class Faults:
    """The packets that are known to break a batch, kept in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.known: dict[Place, str] = {}
        if file.is_file():
            self.known = {(topic, part, offset): cause for topic, part, offset, cause in json.loads(file.read_text())}

    def left_out(self, records: DataFrame) -> DataFrame:
        """Kafka records without those packets."""
        if not self.known:
            return records
        return records.where(f"not {at(self.known)}")

    def among(self, records: DataFrame) -> list[Place]:
        """Those that are in a batch."""
        if not self.known:
            return []
        here = records.where(at(self.known))
        return [(row[0], row[1], row[2]) for row in here.select("topic", "partition", "offset").collect()]

    def find(self, records: DataFrame, decode: Callable[[DataFrame], DataFrame], cause: str) -> list[Place]:
        """Halve the batch until the packets are found that cannot be decoded; they are remembered."""
        rows = self.left_out(records).select("topic", "partition", "offset").collect()
        places = sorted((row[0], row[1], row[2]) for row in rows)
        found: list[Place] = []
        left = [places] if places and not _decodes(records, places, decode) else []
        while left and len(found) + len(left) <= MOST:
            part = left.pop()
            if len(part) == 1:
                found += part
                continue
            middle = len(part) // 2
            left += [half for half in (part[:middle], part[middle:]) if not _decodes(records, half, decode)]
        if left or not found:
            return []
        self.known |= dict.fromkeys(found, cause)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_suffix(".new")  # a kill must not leave half of it: the job could not start
        new.write_text(json.dumps([[*place, why] for place, why in self.known.items()]))
        new.rename(self.file)
        log.warning("packets at fault left out", packets=",".join(map(_key, found)), cause=cause)
        return found


def works(frame: DataFrame) -> bool:
    """Whether all columns of all rows can be computed."""
    try:
        frame.write.format("noop").mode("overwrite").save()
    except Exception as error:  # whatever Spark, Java or a worker make of it
        log.debug("columns cannot be computed", cause=one_line(error))
        return False
    return True


def _decodes(records: DataFrame, places: list[Place], decode: Callable[[DataFrame], DataFrame]) -> bool:
    return works(decode(records.where(at(places))))


def _key(place: Place) -> str:
    return "/".join(map(str, place))
