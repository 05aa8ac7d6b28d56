"""The services of one machine, all together: `up`, `down`, `status`; what runs stands in HOME/services.json."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from fink_broker.services import hbase, jars, kafka, process

Say = Callable[[str], None]
TRIES = 3
PIDS = {"kafka": ("pid",), "hbase": ("thrift_pid", "pid"), "gateway": ("pid",)}  # in the order in which they stop

SAVED = {"hbase": "region_port"}  # closed when all is on disk; what follows waits 20 s for a ZooKeeper that has ended before it


def up(home: Path, say: Say = print) -> dict[str, Any]:
    """Start Kafka and HBase, or find them running; returns what services.json holds."""
    home.mkdir(parents=True, exist_ok=True)
    for kind in jars.KINDS:
        jars.ensure(kind, say)
    with _locked(home):
        for name, server in (("kafka", kafka), ("hbase", hbase)):
            known = read(home).get(name, {})
            if running(name, known):
                continue
            stop(name, {key: value for key, value in known.items() if key not in server.left(known)})
            started = time.monotonic()
            found = _started(server, home, known)
            _write(home, name, found)
            wanted = known.get("port", server.PORT)
            moved = f"; port {wanted} was busy" if found["port"] != wanted else ""
            say(f"{name} up on port {found['port']} in {time.monotonic() - started:.1f} s{moved}")
    return read(home)


def _started(server: ModuleType, home: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Start a server, on other ports when somebody took one while it started."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(process.PortTaken):
            return dict(server.start(home, known))
    return dict(server.start(home, known))


def down(home: Path) -> list[str]:
    """Stop what runs under a home; ports are kept for the next start. Returns the names of what was stopped."""
    with _locked(home):
        return [name for name, known in read(home).items() if name in PIDS and stop(name, known)]


def status(home: Path) -> dict[str, Any]:
    """Each service with its address, if it ever ran here, and whether it runs and answers."""
    found = read(home)
    return {name: {**found.get(name, {}), "running": running(name, found.get(name, {}))} for name in (*PIDS, *(set(found) - set(PIDS)))}


def running(name: str, known: dict[str, Any]) -> bool:
    """Whether all processes of a service live and its port answers."""
    pids = [int(known[key]) for key in PIDS.get(name, ()) if key in known]
    return bool(pids) and all(process.alive(pid, known.get("mark", "")) for pid in pids) and process.answers(int(known["port"]))


def stop(name: str, known: dict[str, Any]) -> bool:
    """Stop the processes of one service; whether any ran."""
    port = int(known.get(SAVED.get(name, ""), 0))
    return any([process.stop(int(known[key]), known.get("mark", ""), port=port if key == "pid" else 0) for key in PIDS[name] if key in known])


def read(home: Path) -> dict[str, Any]:
    """What services.json holds; empty at first."""
    file = home / "services.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return found


def update(home: Path, name: str, found: dict[str, Any]) -> None:
    """Write one service into services.json, after whoever is at it."""
    with _locked(home):
        _write(home, name, found)


def _write(home: Path, name: str, found: dict[str, Any]) -> None:
    """The same while the file is locked; readers see all or nothing of it."""
    part = home / f".services.{name}.json"
    part.write_text(json.dumps({**read(home), name: found}, indent=2) + "\n")
    part.rename(home / "services.json")


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".services.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
