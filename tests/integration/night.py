"""A broker of real processes that tests kill and count: services, jobs and simulator under a home of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition

from fink_broker import hbase, kafka
from fink_broker.compact import Compactor
from fink_broker.history import History
from fink_broker.jobs.plans import plan
from fink_broker.lake import Lake
from fink_broker.ledger import Ledger, nights
from fink_broker.services import process, stack
from fink_broker.settings import Settings, load
from fink_broker.survey import load_survey
from tests.integration.test_processes import ROOT, gone, variables

WORKS = plan("night").works
FILTERS = {"all_of_them": "true", "two_of_three": "pmod(cast(alert_id as bigint), 3) < 2"}


@dataclass
class Night:
    """The processes, what became of them, and what they were to bring about."""

    home: Path
    seed: int
    rate: float
    options: dict[str, Any] = field(default_factory=dict)
    names: Sequence[str] = ("night",)  # of the jobs
    jobs: subprocess.Popen[bytes] | None = None
    simulator: subprocess.Popen[bytes] | None = None
    gateway: subprocess.Popen[bytes] | None = None
    ends: list[str] = field(default_factory=list)  # how each run of the jobs ended
    began: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        filters = self.home / "filters"
        filters.mkdir(parents=True)
        for name, where in FILTERS.items():
            (filters / f"{name}.toml").write_text(f'summary = "{name}"\nwhere = "{where}"\ncutouts = false\nmax_rate = 1.0\n')
        self.settings = self.load()
        self.topic = load_survey(self.settings.schemas_path, "ztf").topic
        self.notes = self.home / "confirmed.txt"

    def load(self) -> Settings:
        return load(
            options={
                "broker": {"home": str(self.home)},
                "filters": {"path": str(self.home / "filters")},
                "ingest": {"max_offsets_per_trigger": 300, "raw_trigger_seconds": 1.0},
                "science": {"modules": ["magnitude_rate"]},
                "spark": {"driver_memory": "2g", "quick_start": True},
                "kafka": {"timeout_seconds": 8.0},
                "hbase": {"timeout_seconds": 8.0},
                "jobs": {"max_restarts": 6, "backoff_seconds": 0.5, "healthy_seconds": 10.0},
                **self.options,
            }
        )

    def say(self, text: str) -> None:
        print(f"{time.time() - self.began:7.1f} s  {text}", flush=True)

    # what runs

    def up(self) -> None:
        """What `fink up` does: start the services that are not there, on the ports that they had."""
        stack.up(self.home, say=lambda text: self.say(f"fink up: {text}"))
        if "ztf_alerts" not in kafka.topics(self.settings, "input"):
            kafka.ensure_topics(self.settings, [self.topic], "input")

    def start_jobs(self) -> None:
        self.jobs = self._spawn("jobs", "-m", "fink_broker", "run", *self.names)

    def start_simulator(self) -> None:
        self.simulator = self._spawn("simulator", "-m", "tests.integration.sender", self.notes, self.seed, self.rate)

    def start_gateway(self) -> None:
        self.gateway = self._spawn("gateway", "-m", "fink_broker", "serve")

    def served(self, path: str) -> Any:
        """What the gateway answers, once it does."""
        answers: list[Any] = []

        def ask() -> bool:
            with contextlib.suppress(httpx.TransportError, KeyError):
                answers.append(httpx.get(f"http://127.0.0.1:{stack.read(self.home)['gateway']['port']}{path}", timeout=30).raise_for_status().json())
            return bool(answers)

        self.wait(ask, 60, f"no answer to {path}")
        return answers[0]

    def _spawn(self, name: str, *words: object) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.log").open("ab") as log:
            line = [sys.executable, *map(str, words)]
            return subprocess.Popen(line, env=variables(self.settings), stdout=log, stderr=log, start_new_session=True, cwd=ROOT)

    def look_after(self) -> None:
        """What a service manager does: start again what has ended."""
        if self.jobs is not None and (status := self.jobs.poll()) is not None:
            lines = [line for line in (self.home / "jobs.log").read_text(errors="replace").splitlines() if line.strip()]
            self.ends.append(f"status {status}: {lines[-1][:200] if lines else ''}")
            self.say(f"jobs ended, {self.ends[-1]}")
            self.start_jobs()
        if self.simulator is not None and (self.simulator.poll() or 0) != 0:
            self.start_simulator()
        if self.gateway is not None and self.gateway.poll() is not None:
            self.start_gateway()

    def down(self) -> None:
        """End everything, gently where it may be; what is left of the processes is killed."""
        for running in (self.simulator, self.gateway, self.jobs):
            if running is not None and running.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
                running.wait()
        stack.down(self.home)
        assert gone(str(self.home))
        shutil.rmtree(self.home / "services", ignore_errors=True)

    # who can be killed

    def jvm(self) -> int:
        """The JVM of the jobs."""
        return next((pid for pid in children(self.jobs.pid) if b"java" in line_of(pid)), 0) if self.jobs else 0

    def worker(self) -> int:
        """A Python worker of Spark (not the daemon that makes them), or 0."""
        found = [pid for pid in descendants(self.jvm()) if b"fink_broker.jobs.daemon" in line_of(pid)]
        return next((pid for pid in reversed(found) if not children(pid)), 0) if len(found) > 1 else 0

    def service(self, name: str, key: str = "pid") -> int:
        pid = int(stack.read(self.home)[name][key])
        return pid if process.alive(pid) else 0

    # what came of it

    def drained(self) -> bool:
        """Whether the jobs have gone past everything that Kafka holds."""
        ends = kafka.end_offsets(self.settings, [self.topic])[self.topic]
        done = [Ledger(self.home).done(job, "ztf").get(self.topic, {}) for job in WORKS]
        return all(one.get(part, 0) >= end for one in done for part, end in ends.items())

    def wait(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Until something is so, while what ends is started again."""
        last = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < last, f"{what}: not within {seconds:.0f} s; jobs.log ends with {(self.home / 'jobs.log').read_text()[-3000:]}"
            self.look_after()
            time.sleep(0.5)

    def finish(self, seconds: float = 300) -> None:
        """Let everything that was sent come through, then end the jobs as an operator does."""
        assert self.simulator is not None
        self.simulator.terminate()
        assert self.simulator.wait(150) == 0, (self.home / "simulator.log").read_text()[-3000:]
        self.wait(self.drained, seconds, "the jobs have not read all")
        assert self.jobs is not None
        self.jobs.terminate()
        assert self.jobs.wait(150) == 0, (self.home / "jobs.log").read_text()[-3000:]

    def check(self, but: Sequence[str] = ()) -> dict[str, int]:
        """Distinct ids and counts in Kafka's input, the tables, HBase and every topic (`but` some); how many each had."""
        settings, lake = self.settings, Lake(self.settings)
        received = list(records(settings, self.topic))
        wanted = Counter({alert: 1 for _, alert in received if alert})
        bad = sum(not alert for _, alert in received)
        told = {"received": len(received), "distinct": len(wanted), "duplicates": len(received) - len(wanted) - bad, "bad": bad}
        origins = {}
        for table in ("raw", "science"):
            files = sorted(lake.table(table).rglob("*.parquet"))
            rows = [row for file in files for row in pq.ParquetFile(file).read(columns=["alert_id", "origin"]).to_pylist()]
            held = Counter(str(row["alert_id"]) for row in rows)
            assert held == wanted, differ(table, held, wanted)
            seen = duckdb.sql(f"select alert_id, count(*) from read_parquet('{lake.table(table)}/**/*.parquet') group by 1").fetchall()
            assert Counter(dict(seen)) == wanted
            origins[table] = {str(row["alert_id"]): tuple(row["origin"][name] for name in ("topic", "partition", "offset")) for row in rows}
            told[table] = len(rows)
        assert origins["raw"] == origins["science"]  # both took the same of several packets of one id
        first = {}
        for place, alert in reversed(received):
            first[alert] = place
        assert {name: first[name] for name in wanted} == origins["raw"]  # the first
        quarantined = [row["origin"]["offset"] for row in lake.scan("quarantine", "ztf", ["origin"]).select(["origin"]).to_pylist()] if bad else []
        assert len(quarantined) == bad
        list(Compactor(settings).run([]))  # one that ended with the jobs left the folders it had exchanged; the next clears them away
        assert not (left := list(lake.path.glob("_staging/**/*.parquet"))), left
        history = keys(settings, "history")
        assert Counter(row.rsplit("|", 1)[1] for row in history) == wanted, differ("HBase history", Counter(row.rsplit("|", 1)[1] for row in history), wanted)
        assert Counter(row.rsplit("|", 1)[1] for row in keys(settings, "alert")) == wanted
        assert History(settings).holds("ztf", sorted(wanted)) == set(wanted)
        told["HBase"] = len(history)
        for name in FILTERS:
            topic = f"fink_{name}_ztf"
            if topic in but:
                continue
            chosen = Counter({alert: 1 for alert in wanted if name == "all_of_them" or int(alert) % 3 < 2})
            messages = Counter(message["alert_id"] for _, message in kafka.headers(settings, [topic]))
            assert messages == chosen, differ(topic, messages, chosen)
            told[topic] = messages.total()
            rows = sum(1 for row in keys(settings, "topic") if row.startswith(f"{topic}|"))
            assert rows == len(chosen), (topic, rows, len(chosen))
        thrown = Counter(message["origin"] for _, message in kafka.headers(settings, [kafka.quarantine_topic("ztf")])) if bad else Counter[str]()
        assert thrown.total() == len(thrown) == bad, (thrown.total(), len(thrown), bad)
        sums = nights(Ledger(self.home).entries())
        assert all(not one.differs for one in sums), sums
        ledger = {"received": sum(one.received for one in sums), "duplicates": sum(one.duplicate for one in sums),
                  "bad": sum(sum(one.quarantined.values()) for one in sums), "raw": sum(one.raw for one in sums)}  # fmt: skip
        assert ledger == {name: told[name] for name in ledger}
        assert sum(one.indexed for one in sums) == sum(one.science for one in sums) == len(wanted)
        return told


def records(settings: Settings, topic: str) -> list[tuple[tuple[str, int, int], str]]:
    """Place and alert id (empty: no alert) of every record of the input, in order of their Kafka time."""
    ends = {part: end for part, end in kafka.end_offsets(settings, [topic])[topic].items() if end}
    found = []
    consumer = Consumer({**kafka.client_config(settings), "group.id": "count", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, part, 0) for part in ends])
    try:
        while ends:
            record = consumer.poll(10)
            assert record is not None
            assert not record.error(), record.error()
            part, offset, alert = record.partition(), record.offset(), dict(record.headers())["alert"].decode()
            found.append((record.timestamp()[1], part, offset, alert))
            if offset + 1 >= ends[part]:
                consumer.incremental_unassign([TopicPartition(topic, part)])
                del ends[part]
    finally:
        consumer.close()
    return [((topic, part, offset), alert) for _, part, offset, alert in sorted(found)]


def keys(settings: Settings, table: str) -> list[str]:
    """Row keys of an HBase table."""
    connection = hbase.connect(settings)
    try:
        return [key.decode() for key, _ in connection.table(hbase.table_name(settings, table)).scan(filter=b"KeyOnlyFilter()", batch_size=2000)]
    finally:
        connection.close()


def differ(where: str, held: Counter[str], wanted: Counter[str]) -> str:
    """What is lost and what is there twice."""
    lost, more = wanted - held, held - wanted
    return f"{where}: lost {lost.total()} ({sorted(lost)[:5]}), too many {more.total()} ({sorted(more)[:5]})"


def children(pid: int) -> list[int]:
    """Child processes, oldest first."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(word) for word in (task / "children").read_text().split()]
    return sorted(found)


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    return [one for child in children(pid) for one in (child, *descendants(child))] if pid else []


def line_of(pid: int) -> bytes:
    """Command line of a process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
