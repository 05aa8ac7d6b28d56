"""The one retry helper: only errors that may pass (Unavailable) are tried again, with growing waits and a log line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from fink_broker.errors import Unavailable
from fink_broker.log import Logger

T = TypeVar("T")
log = Logger("retry")


def retried(action: Callable[[], T], label: str, times: int = 4, wait_seconds: float = 0.5) -> T:
    """What `action` returns, tried up to `times` times while it raises Unavailable."""
    for attempt in range(1, times):
        try:
            return action()
        except Unavailable as error:
            wait = wait_seconds * 2 ** (attempt - 1)
            log.warning("trying again", what=label, attempt=attempt, wait_seconds=wait, cause=str(error))
            time.sleep(wait)
    return action()
