"""Packets waiting to be sent, in time order: few in memory, many in a temporary file."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

IN_MEMORY = 256 << 20  # [bytes]; more goes to a temporary file


@dataclass(frozen=True)
class Packet:
    """One packet ready to be sent; ids and time [d, TAI] are empty where they could not be read."""

    survey: str
    value: bytes
    alert_id: str = ""
    object_id: str = ""
    mjd: float = math.inf
    display: dict[str, Any] = field(default_factory=dict, repr=False)
    chunk: int | None = None  # of a simulated campaign that has several


class Spool:
    """Packets by time, earliest first; those without a time come last, in the order in which they came."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - lives as long as the spool
        self._index: list[tuple[float, str, str, str, int, int, dict[str, Any]]] = []
        self._sorted = True
        self._end = 0

    def add(self, packet: Packet) -> None:
        """Take in one packet."""
        self._file.seek(self._end)
        self._file.write(packet.value)
        self._index.append((packet.mjd, packet.survey, packet.alert_id, packet.object_id, self._end, len(packet.value), packet.display))
        self._end += len(packet.value)
        self._sorted = False

    @property
    def surveys(self) -> dict[str, int]:
        """Number of packets of each survey."""
        found: dict[str, int] = {}
        for entry in self._index:
            found[entry[1]] = found.get(entry[1], 0) + 1
        return found

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[Packet]:
        if not self._sorted:
            self._index.sort(key=lambda entry: entry[0])
            self._sorted = True
        for mjd, survey, alert_id, object_id, start, length, display in self._index:
            self._file.seek(start)
            yield Packet(survey, self._file.read(length), alert_id, object_id, mjd, display)
