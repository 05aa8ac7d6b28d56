"""Only errors that may pass are tried again."""

import pytest

from fink_broker.errors import NotFound, Unavailable
from fink_broker.retry import retried


def test_unavailable_is_tried_again() -> None:
    calls: list[int] = []

    def action() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise Unavailable("not yet")
        return "there"

    assert retried(action, "test", wait_seconds=0.001) == "there"
    assert len(calls) == 3


def test_other_errors_are_raised_at_once() -> None:
    calls: list[int] = []

    def action() -> None:
        calls.append(1)
        raise NotFound("nothing")

    with pytest.raises(NotFound):
        retried(action, "test")
    assert len(calls) == 1
