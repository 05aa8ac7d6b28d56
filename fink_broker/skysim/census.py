"""Which alerts a campaign has: its blocks of things counted once, then looked at again for the alerts of any span of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.observation import BLOCK, Observed, Sky

AT_ONCE = 30_000  # alerts whose blocks are kept rather than looked at again


@dataclass(frozen=True)
class Group:
    """Things of one kind and block with alerts in a span of time, and all visits of each."""

    seen: Observed
    origin: Ints  # of each thing: places in the whole block that its visits are further on than here
    number: Ints  # of the thing, its own in the campaign


@dataclass(frozen=True)
class Span:
    """Alerts of a span of time, in time order: time [d, TAI], which group, thing in it, and visit in its block."""

    groups: list[Group]
    mjd: Floats
    group: Ints
    thing: Ints
    visit: Ints


class Census:
    """The blocks of a sky that give a number of alerts, and which of their detections those alerts are; the same for the same sky and number."""

    def __init__(self, model: Sky, number: int) -> None:
        self.model, self.size = model, min(BLOCK, max(number, 20))
        self._counts: list[int] = []
        self._kept: list[list[Observed]] = []
        while sum(self._counts) < number:  # each thing gives at least one
            block = model.block(len(self._counts), self.size)
            self._counts.append(sum(int(seen.usable.sum()) for seen in block))
            if number <= AT_ONCE:
                self._kept.append(block)
        total = sum(self._counts)
        self._chosen = np.ones(total, bool)
        if total > number:
            self._chosen[:] = False
            self._chosen[np.random.default_rng([model.seed, 0xC4053]).permutation(total)[:number]] = True

    def _blocks(self) -> Iterator[list[Observed]]:
        return iter(self._kept) if self._kept else (self.model.block(index, self.size) for index in range(len(self._counts)))

    def span(self, begin: float, end: float) -> Span:
        """The alerts from `begin` to before `end` [d, TAI]."""
        groups: list[Group] = []
        found: list[tuple[Floats, Ints, Ints, Ints, Ints]] = []
        place = 0
        for index, block in enumerate(self._blocks()):
            before = index * BLOCK
            for seen in block:
                usable = np.flatnonzero(seen.usable)
                taken = self._chosen[place : place + len(usable)] & (seen.mjd[usable] >= begin) & (seen.mjd[usable] < end)
                place += len(usable)
                if taken.any():
                    groups.append(_group(seen, usable[taken], before, found, len(groups)))
                before += len(seen.begin)
        if not found:
            none = np.empty(0, np.int64)
            return Span([], np.empty(0), none, none, none)
        mjd, number, group, thing, visit = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((number, mjd))
        return Span(groups, mjd[order], group[order], thing[order], visit[order])


def _group(seen: Observed, alerts: Ints, before: int, found: list[tuple[Floats, Ints, Ints, Ints, Ints]], place: int) -> Group:
    """The things of some alerts, which are added to those found: time, number of the thing, group, thing in it, visit."""
    who: NDArray[np.int64] = np.searchsorted(seen.end, alerts, side="right")
    things, thing = np.unique(who, return_inverse=True)
    own = seen.take(things)
    origin = seen.begin[things] - own.begin
    found.append((seen.mjd[alerts], before + who, np.full(len(alerts), place), thing, alerts))
    return Group(own, origin, before + things)
