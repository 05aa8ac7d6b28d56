"""Things between two of their alerts: those that are due soonest are kept, with what their packets said of earlier visits."""

from __future__ import annotations

from heapq import heappop, heappush

from fink_broker.skysim.packets import SkyThing

ROOM = 500_000  # records of visits
SCENE = 20  # what the images of a thing take beside its records


class Shelf:
    """So many things as there is room for. What is not on it has to be made anew, and is the same then; when it is full, what is due last goes."""

    def __init__(self, room: int = ROOM) -> None:
        self.room, self.filled = room, 0
        self._things: dict[int, tuple[SkyThing, int, int]] = {}  # by number: thing, when due, what it takes
        self._last: list[tuple[int, int]] = []  # (-when due, number), a heap; may name things that have gone

    def take(self, number: int) -> SkyThing | None:
        """The thing of a number off the shelf, if it is there."""
        thing, _, size = self._things.pop(number, (None, 0, 0))
        self.filled -= size
        return thing

    def put(self, thing: SkyThing, due: int) -> None:
        """Keep a thing for the alert of a place in the stream."""
        size = len(thing.records) + len(thing.mjd) // 8 + SCENE
        self._things[thing.number] = thing, due, size
        heappush(self._last, (-due, thing.number))
        self.filled += size
        while self.filled > self.room:
            due, number = heappop(self._last)
            if number in self._things and self._things[number][1] == -due:
                self.take(number)
