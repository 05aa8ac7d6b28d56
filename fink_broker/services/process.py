"""A server process of ours: started in the background, known by its pid, stopped by it and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fink_broker.errors import Unavailable


def free_port(preferred: int = 0) -> int:
    """The preferred loopback port when nobody listens there, else a free one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Unavailable("no free port on 127.0.0.1; stop some server, then try again")


def answers(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


def start(line: Sequence[str], log: Path, env: dict[str, str] | None = None) -> int:
    """Start a server that outlives us, its output appended to a log; returns its pid."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(line, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=env or os.environ.copy(), start_new_session=True)
    return process.pid


def wait(ready: Callable[[], bool], pid: int, name: str, log: Path, seconds: float = 90.0) -> None:
    """Wait until a server is ready; Unavailable with the last line of its log when it died or took too long."""
    until = time.monotonic() + seconds
    while not ready():
        gone = not alive(pid)
        if gone or time.monotonic() > until:
            stop(pid, "")
            last = [row.strip() for row in log.read_text(errors="replace").splitlines() if row.strip()][-1:]
            what = "ended" if gone else f"did not answer within {seconds:.0f} s"
            raise Unavailable(f"{name} {what}: {' '.join(last)[:200]}; see {log}, then run `fink up` again")
        time.sleep(0.1)


def alive(pid: int, mark: str = "") -> bool:
    """Whether a process runs, and has `mark` in its command line (a pid may have been given to a stranger)."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    if state == "Z":
        return False
    return not line or mark.encode() in line  # empty for a moment while the process is being started


def stop(pid: int, mark: str, seconds: float = 30.0) -> bool:
    """Ask a process of ours to end, and kill it when it does not; whether there was one."""
    if not alive(pid, mark):
        return False
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + seconds
    while alive(pid, mark) and time.monotonic() < until:
        time.sleep(0.05)
    if alive(pid, mark):
        os.kill(pid, signal.SIGKILL)
    return True
