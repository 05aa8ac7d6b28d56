"""A server process of ours: started in the background, known by its pid, stopped by it and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fink_broker.errors import Unavailable

# For servers that serve one machine: in their first ten minutes the second compiler and G1 took half or more of Kafka's CPU.
JAVA = ("-XX:+UseParallelGC", "-XX:TieredStopAtLevel=1")
AFTERWARDS = 1.0  # seconds that a process has to end after all of it is on disk


def free_port(preferred: int = 0) -> int:
    """The preferred loopback port when nobody listens there, else a free one."""
    return free_ports([preferred])[0]


def free_ports(preferred: Iterable[int]) -> list[int]:
    """The preferred loopback ports where nobody listens, else free ones; all different."""
    with contextlib.ExitStack() as held:  # all are held until the last is chosen
        return [_take(held, port) for port in preferred]


def _take(held: contextlib.ExitStack, preferred: int) -> int:
    for port in (preferred, 0):
        probe = held.enter_context(socket.socket())
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise Unavailable("no free port on 127.0.0.1; stop some server, then try again")


def answers(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


def listens(pid: int, port: int) -> bool:
    """Whether it is this process that listens on a port: a stranger may have taken it a moment before."""
    sockets = set()
    for file in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for row in file.read_text().splitlines()[1:] if file.is_file() else ():
            part = row.split()
            if part[3] == "0A" and int(part[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{part[9]}]")
    with contextlib.suppress(OSError):
        return any(str(link.readlink()) in sockets for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


class PortTaken(Unavailable):
    """Somebody else took the port of a server that was being started."""


def start(line: Sequence[str], log: Path, env: dict[str, str] | None = None) -> int:
    """Start a server that outlives us, its output in a log (the one before is kept as .1); returns its pid."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.is_file() and log.stat().st_size:
        log.replace(log.with_name(f"{log.name}.1"))
    with log.open("ab") as file:
        process = subprocess.Popen(line, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=env or os.environ.copy(), start_new_session=True)
    return process.pid


def wait(ready: Callable[[], bool], pid: int, name: str, log: Path, seconds: float = 90.0) -> None:
    """Wait until a server is ready; Unavailable with the telling line of its log when it died or took too long.

    Whatever ends the waiting early (Ctrl-C too) ends the server.
    """
    until = time.monotonic() + seconds
    try:
        while not ready():
            gone = not alive(pid)
            if gone or time.monotonic() > until:
                what = "ended" if gone else f"did not answer within {seconds:.0f} s"
                taken = gone and log.is_file() and "Address already in use" in log.read_text(errors="replace")
                raise (PortTaken if taken else Unavailable)(f"{name} {what}: {reason(log)}; see {log}, mend that, then run `fink up` again")
            time.sleep(0.1)
    except BaseException:
        stop(pid, "")
        raise


def reason(log: Path) -> str:
    """The last line of a log that tells of an error or a cause, else the last line; no stack frames."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    lines = [row.strip() for row in text.splitlines() if row.strip() and not row.lstrip().startswith(("at ", "... "))]
    telling = [row for row in lines if "Caused by" in row or "ERROR" in row or "FATAL" in row or "Exception" in row or "Error:" in row]
    return (telling or lines or ["it wrote nothing"])[-1][:300]


def alive(pid: int, mark: str = "") -> bool:
    """Whether a process runs, and has `mark` in its command line (a pid may have been given to a stranger)."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    folder = Path(f"/proc/{pid}")
    try:
        for _ in range(20):  # while a process is being started its line is empty
            if line := (folder / "cmdline").read_bytes():
                break
            time.sleep(0.005)
        state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        if not line:  # a zombie, or a thread of the kernel, which has no program
            return state != "Z" and bool((folder / "exe").readlink())
    except OSError:
        return False
    return state != "Z" and mark.encode() in line


def stop(pid: int, mark: str, seconds: float = 30.0, port: int = 0) -> bool:
    """Ask a process of ours to end, and kill it when it does not; whether there was one.

    `port`, where given, is one that the process closes when all is on disk: it is not waited for much longer than that.
    """
    if not alive(pid, mark):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + seconds
        while alive(pid, mark) and time.monotonic() < until:
            if port and not listens(pid, port):
                port, until = 0, time.monotonic() + AFTERWARDS
            time.sleep(0.05)
        if alive(pid, mark):
            os.kill(pid, signal.SIGKILL)
            while alive(pid, mark):
                time.sleep(0.05)
    return True
