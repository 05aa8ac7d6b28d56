"""The whole broker on one machine: services, jobs, gateway and alerts, started, watched and stopped together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fink_broker.balance import Balance, Spans, balance
from fink_broker.errors import FinkError, StoreError
from fink_broker.jobs.plans import plan
from fink_broker.ledger import Ledger
from fink_broker.services import stack
from fink_broker.settings import Settings
from fink_broker.simulate import Sent, make_packets, read_alerts, recent_mjd, send
from fink_broker.spool import Packet, Spool

JOB = plan("night")
STOP_SECONDS = 150.0  # longer than a job waits for the batch in hand
Say = Callable[[str], None]


@dataclass
class Demo:
    """One run of the demonstration."""

    settings: Settings
    alerts: Sequence[Path] = ()
    surveys: Sequence[str] = ()
    number: int | None = None
    rate: float | None = None
    seed: int = 1
    say: Say = print
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    quick: bool = True  # Spark compiles for minutes, not for a night
    url: str = ""
    sent: Sent = field(default_factory=Sent)
    started: float = field(default_factory=time.time)

    @property
    def home(self) -> Path:
        """Folder of all state."""
        return self.settings.home

    def packets(self) -> Spool | Iterator[Packet]:
        """What is sent: files, or made-up alerts of recent nights, the surveys in turn."""
        if self.alerts:
            return read_alerts(self.alerts, self.settings.schemas_path, say=self.say, surveys=self.surveys or None)
        return make_packets(self.names(), self.settings.schemas_path, self.number, self.seed, start_mjd=recent_mjd())

    def names(self) -> list[str]:
        """Surveys that take part."""
        return list(self.surveys) or list(self.settings.broker.surveys)

    def up(self, surveys: Sequence[str], page: bool = True) -> None:
        """Services, jobs and gateway; each is reported when it answers."""
        found = stack.up(self.home, say=self.say)
        self.say(f"Kafka at {found['kafka']['bootstrap_servers']}, HBase Thrift at {found['hbase']['host']}:{found['hbase']['port']}")
        self.spawn("jobs", "run", JOB.name, *(part for name in surveys for part in ("--survey", name)))
        if page:
            self.spawn("gateway", "serve")
        self.say(f"Spark job {JOB.name} starting; its log: {self.home / 'logs' / 'jobs.log'}")

    def spawn(self, name: str, *arguments: str) -> None:
        """Start `fink` with some arguments as a process of its own, its output in HOME/logs."""
        logs = self.home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        names = {"FINK_SPARK__QUICK_START": str(self.quick).lower(), **os.environ}
        with (logs / f"{name}.log").open("ab") as file:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "fink_broker", "--home", str(self.home), *arguments],
                stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=names, start_new_session=True,
            )  # fmt: skip

    def check(self) -> None:
        """Raise StoreError when a process has died, with the last line of its log."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                file = self.home / "logs" / f"{name}.log"
                last = [line for line in file.read_text(errors="replace").splitlines() if line.strip()][-1:]
                raise StoreError(f"the {name} process ended with status {process.returncode}: {' '.join(last)[:300]}; see {file}")

    def page(self) -> str:
        """Address of the pages, once the gateway answers."""
        if not self.url:
            self.url = str(self.settings.service("gateway").get("url", ""))
        return self.url

    def done(self, spans: Spans, survey: str) -> bool:
        """Whether all of a survey's work has gone past these offsets."""
        ledger = Ledger(self.home)
        for work in JOB.works:
            ends = ledger.done(work, survey)
            for topic, partitions in spans.items():
                if any(ends.get(topic, {}).get(partition, 0) <= last for partition, (_, last) in partitions.items()):
                    return False
        return True

    def down(self) -> None:
        """Stop what was started here, the jobs first and gently."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            if process.poll() is None:
                process.kill()
        stack.down(self.home)

    def send_all(self, packets: Iterator[Packet]) -> threading.Thread:
        """Send in the background; `sent` fills up as Kafka confirms."""

        def work() -> None:
            send(self.settings, packets, rate=self.rate, number=self.number, into=self.sent)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread


def once(demo: Demo, live: Callable[[Demo], None], timeout_seconds: float = 3600.0) -> Balance:
    """Send all alerts, wait until each has come out of every sink, and count what arrived where."""
    packets = demo.packets()
    surveys = sorted(packets.surveys) if isinstance(packets, Spool) else demo.names()
    if not surveys:
        raise FinkError("no alerts to send: none of the given files holds an Avro packet; see `fink simulate --help`")
    demo.up(surveys)
    demo.started = time.time()
    thread = demo.send_all(iter(packets))
    deadline = time.time() + timeout_seconds
    while thread.is_alive() or not all(demo.done(demo.sent.spans(name), name) for name in surveys):
        demo.check()
        live(demo)
        if time.time() > deadline:
            break
        time.sleep(1.0)
    seconds = time.time() - demo.started
    return balance(demo.settings, {name: demo.sent.spans(name) for name in surveys}, demo.sent.number, seconds, demo.started)


def forever(demo: Demo, live: Callable[[Demo], None]) -> None:
    """Keep alerts flowing until Ctrl-C."""
    demo.up(demo.names())
    demo.send_all(iter(demo.packets()))
    while True:
        demo.check()
        live(demo)
        time.sleep(1.0)


def progress(demo: Demo) -> str:
    """One line: in, enriched, published, indexed, lag, delay of the last batch."""
    entries = [entry for entry in Ledger(demo.home).entries("live") if entry.time >= demo.started]
    rows = sum(entry.rows_in for entry in entries)
    text = (
        f"in {demo.sent.number:,}  enriched {sum(e.rows_out for e in entries):,}  published {sum(sum(e.published.values()) for e in entries):,}"
        f"  indexed {sum(e.indexed for e in entries):,}  lag {max(0, demo.sent.number - rows):,}"
    )
    return text + (f"  last batch {entries[-1].rows_in} in {entries[-1].seconds:.1f} s" if entries else "  Spark is starting")


def write_json(result: dict[str, Any], file: Path) -> None:
    """What was counted or measured, as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")


def stop_on_signals() -> None:
    """Turn SIGTERM into KeyboardInterrupt, so that everything is stopped in order."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
