"""What the runner forgives a query that failed, without Spark."""

from __future__ import annotations

import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fink_broker.jobs.runner import Runner, Watched
from fink_broker.settings import load


@pytest.mark.parametrize(
    ("fresh", "since", "ran", "left"),
    [
        (False, 0.0, 400.0, 0),  # has brought batches to their end
        (True, 0.0, 400.0, 0),  # waits for alerts
        (False, 1.0, 400.0, 0),
        (True, 1.0, 400.0, 3),  # still at the batch that failed before
        (False, 0.0, 200.0, 3),
    ],
)
def test_restarts_are_forgiven_after_a_batch_that_was_done(fresh: bool, since: float, ran: float, left: int, tmp_path: Path) -> None:
    """A batch that takes minutes to fail, as on a full disk, must not be tried for ever as if it were the first time."""
    job: Any = SimpleNamespace(fresh=fresh, since=since and time.time(), cause="")
    query: Any = SimpleNamespace(isActive=True)
    runner = Runner.__new__(Runner)
    runner.settings = load(options={"broker": {"home": str(tmp_path)}, "jobs": {"healthy_seconds": 300}})
    watched = Watched(job, query, restarts=3, started=time.time() - ran)
    runner._look_after(watched)
    assert watched.restarts == left


def test_what_a_failed_batch_leaves_behind_is_let_go(tmp_path: Path) -> None:
    class Frame:
        """Refers to itself, as a traceback does to what it was raised in."""

        def __init__(self) -> None:
            self.own = self

    runner = Runner.__new__(Runner)
    runner.settings = load(options={"broker": {"home": str(tmp_path)}})
    left = weakref.ref(Frame())
    assert left() is not None
    job: Any = SimpleNamespace(name="night-ztf", checkpoint=tmp_path)
    watched = Watched(job)
    runner._failed(watched, "it broke")
    assert left() is None
    assert watched.restarts == 1
