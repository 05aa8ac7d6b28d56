"""Servers of ours: whose port it is, what their log tells, and that nothing of them is left when a start fails."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fink_broker.errors import FinkError, Unavailable
from fink_broker.services import jars, kafka, process, stack
from tests.conftest import missing

LISTEN = "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen(); time.sleep(60)"


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_busy_port_is_replaced_and_all_are_different() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        busy = server.getsockname()[1]
        found = process.free_ports([busy, 0, 0, busy])
    assert busy not in found
    assert len(set(found)) == 4


def test_a_port_is_told_by_whom_it_belongs_to(tmp_path: Path) -> None:
    port = process.free_port()
    pid = process.start(python(LISTEN.format(port=port)), tmp_path / "log")
    try:
        process.wait(lambda: process.listens(pid, port), pid, "it", tmp_path / "log", 20)
        assert process.answers(port)
        assert not process.listens(os.getpid(), port)
    finally:
        assert process.stop(pid, LISTEN.format(port=port)[:20])
    assert not process.alive(pid)


def test_a_process_that_has_saved_all_is_not_waited_for(tmp_path: Path) -> None:
    port = process.free_port()
    code = f"import signal, socket, time; s = socket.create_server(('127.0.0.1', {port})); signal.signal(signal.SIGTERM, lambda *_: s.close())\n"
    pid = process.start(python(code + "while True: time.sleep(60)"), tmp_path / "log")
    process.wait(lambda: process.listens(pid, port), pid, "it", tmp_path / "log", 20)
    assert process.stop(pid, "", seconds=3600, port=port)
    assert not process.alive(pid)


def test_a_start_that_fails_tells_the_cause_and_leaves_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    pid = process.start(python("raise SystemExit('ERROR no disk\\n\\tat frame')"), log)
    with pytest.raises(Unavailable, match=rf"the server ended: ERROR no disk; see {log}, mend that, then run `fink up` again"):
        process.wait(lambda: False, pid, "the server", log)
    pid = process.start(python("import time; time.sleep(60)"), log)
    with pytest.raises(Unavailable, match="the server did not answer within 0 s"):
        process.wait(lambda: False, pid, "the server", log, 0.2)
    assert not process.alive(pid)


def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    pid = process.start(python("import time; time.sleep(60)"), tmp_path / "log")

    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.wait(interrupted, pid, "the server", tmp_path / "log")
    assert not process.alive(pid)


def test_a_stranger_with_our_pid_is_left_alone() -> None:
    with subprocess.Popen(python("import time; time.sleep(60)")) as stranger:
        assert not process.stop(stranger.pid, "server.properties of ours")
        assert stranger.poll() is None
        stranger.kill()


def test_a_port_taken_during_the_start_means_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def start(home: Path, known: dict[str, Any]) -> dict[str, Any]:
        tries.append(len(tries))
        if len(tries) == 1:
            log = tmp_path / "log"
            pid = process.start(python("raise SystemExit('BindException: Address already in use')"), log)
            process.wait(lambda: False, pid, "the server", log)
        return {"port": 1, "pid": 0}

    server = SimpleNamespace(start=start, PORT=2)
    said: list[str] = []
    monkeypatch.setattr(stack, "kafka", server)
    monkeypatch.setattr(stack, "hbase", SimpleNamespace(start=lambda *_: {"port": 3, "pid": 0}, PORT=3))
    ensured: Callable[..., Path] = lambda *_: tmp_path  # noqa: E731
    monkeypatch.setattr(stack.jars, "ensure", ensured)
    stack.up(tmp_path, said.append)
    assert tries == [0, 1]
    assert "kafka up on port 1" in said[0]
    assert said[0].endswith("; port 2 was busy")
    assert "busy" not in said[1]
    assert {name: known["running"] for name, known in stack.status(tmp_path).items()} == {"kafka": False, "hbase": False, "gateway": False}


def test_a_cluster_id_may_start_with_a_dash(tmp_path: Path) -> None:
    """One in 64 does."""
    try:
        run = [jars.java(), "-Xmx256m", "-cp", f"{jars.ensure('kafka')}/*"]
    except FinkError as error:
        missing(str(error))
    conf = tmp_path / "server.properties"
    conf.write_text(kafka.PROPERTIES.format(port=9092, controller=9093, data=tmp_path / "data"))
    kafka.prepare(run, conf, b"\xfb" * 16)
    assert "cluster.id=-_v7" in (tmp_path / "data/meta.properties").read_text()
    with pytest.raises(Unavailable, match=rf"Kafka's storage cannot be formatted: .*; remove {tmp_path}, then run `fink up` again") as caught:
        kafka.prepare(run, tmp_path / "nowhere", b"\xfb" * 16)
    assert "\n" not in str(caught.value)
