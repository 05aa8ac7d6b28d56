"""HBase's master killed right after it acknowledged rows: they are there after the next start, and so is its Thrift server."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import happybase
import pytest

from fink_broker.services import hbase, process
from tests.integration.test_processes import gone

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def until(ready: Callable[[], Any], seconds: float = 60) -> None:
    """Until something works: for some seconds after its start a master, or a region, is not ready."""
    last = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Exception):
            if ready():
                return
        assert time.monotonic() < last
        time.sleep(0.5)


def fill(connection: Any, number: int) -> bool:
    """Put rows; true once all are acknowledged."""
    with connection.table("kept").batch(batch_size=500) as batch:
        for row in range(number):
            batch.put(f"{number:06d}|{row:06d}".encode(), {b"f:v": os.urandom(200)})
    return True


def test_acknowledged_rows_outlive_a_sigkill(tmp_path: Path) -> None:
    home, known, wanted = tmp_path / "home", dict[str, Any](), 0
    try:
        for number in (1, 37, 3000):
            known = hbase.start(home, known)
            connection = happybase.Connection("127.0.0.1", known["port"])
            if not wanted:
                until(lambda connection=connection: connection.create_table("kept", {"f": {}}) or True)
            until(lambda connection=connection, number=number: fill(connection, number))
            os.kill(known["pid"], signal.SIGKILL)
            process.stop(known["thrift_pid"], known["mark"])
            wanted += number
        known = hbase.start(home, known)
        # a Thrift server alone is started beside the master that lives
        os.kill(known["thrift_pid"], signal.SIGKILL)
        until(lambda: not process.answers(known["port"]))
        before, known = known, hbase.start(home, known)
        assert (known["pid"], known["port"]) == (before["pid"], before["port"])
        assert known["thrift_pid"] != before["thrift_pid"]
        until(lambda known=known: happybase.Connection("127.0.0.1", known["port"]).table("kept").row(b"000037|000000"))
        rows = [key for key, _ in happybase.Connection("127.0.0.1", known["port"]).table("kept").scan()]
        assert len(rows) == len(set(rows)) == wanted
    finally:
        for key in ("thrift_pid", "pid"):
            if key in known:
                process.stop(int(known[key]), known["mark"])
        assert gone(str(home))
