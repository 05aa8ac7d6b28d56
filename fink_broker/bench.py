"""Measures the whole broker on this machine: alerts per second, delay, CPU, memory and bytes, with a store that is not empty."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fink_broker import hbase, kafka
from fink_broker.balance import percentiles
from fink_broker.demo import JOB, Demo
from fink_broker.errors import StoreError
from fink_broker.filters import load_filters, topic_name
from fink_broker.ledger import Entry, Ledger
from fink_broker.services import stack
from fink_broker.settings import Settings, data_folder
from fink_broker.simulate import Sent, make_packets, send
from fink_broker.spool import Packet

MADE_FIRST = 30_000  # alerts: 2 GB of memory
TICKS = os.sysconf("SC_CLK_TCK")
# Cuts of several kinds for more filters than are shipped, each narrow; the numbers vary from filter to filter.
CUTS = (
    "mag between {a:.2f} and {a:.2f} + 0.2 and snr > {b:.1f}",
    "features.amplitude_r > {c:.3f} and n_detections between {n} and {n} + 2",
    "magnitude_rate.rate_g between {c:.3f} and {c:.3f} + 0.1 or magnitude_rate.rate_r between {c:.3f} and {c:.3f} + 0.1",
    "ra between {d:.1f} and {d:.1f} + 8 and dec > {f:.1f}",
    "neighbour_distance_arcsec between {b:.1f} and {b:.1f} + 0.3 and neighbour_star_score < {g:.2f}",
    "size(filter(lightcurve.mag, x -> x < {a:.2f})) > 2 * {n}",
    "reliability > 0.6 and band = 'r' and mjd - first_mjd between {h} and {h} + 2",
    "ss_object_id is not null and ss_distance_arcsec between {c:.2f} and {c:.2f} + 0.2",
)


@dataclass
class Bench:
    """What was measured."""

    survey: str
    alerts: int = 0
    alerts_per_s: float = 0.0  # whole chain, a backlog drained
    rate: float | None = None
    delay_s: dict[str, float | None] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)  # seconds a batch, and milliseconds an alert
    batches: list[dict[str, Any]] = field(default_factory=list)
    cpu_ms_per_alert: dict[str, float] = field(default_factory=dict)  # by process
    memory_mb: dict[str, float] = field(default_factory=dict)  # most, by process
    bytes_per_alert: dict[str, float] = field(default_factory=dict)  # lake tables, HBase, Kafka
    packet_bytes: int = 0  # on average
    published: int = 0
    filters: int = 0
    history: int = 0
    seconds: float = 0.0
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def machine() -> dict[str, Any]:
    """What it runs on, and how busy it is."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), platform.processor())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": model, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "load": [round(one, 2) for one in os.getloadavg()]}


def write_filters(folder: Path, number: int, survey: str) -> Path:
    """So many different filters of a survey: those that are shipped, and then narrow cuts; none passes more than a filter may."""
    folder.mkdir(parents=True, exist_ok=True)
    shipped = load_filters(data_folder("conf") / "filters", survey)[:number]
    for rule in shipped:
        shutil.copy(data_folder("conf") / "filters" / f"{rule.name}.toml", folder)
    for place in range(number - len(shipped)):
        step = place / max(number - len(shipped), 1)
        cut = CUTS[place % len(CUTS)].format(a=15 + 5 * step, b=1 + 20 * step, c=0.05 + step, d=350 * step, f=-30 + 60 * step, g=0.3 + 0.6 * step,
                                            h=int(5 + 60 * step), n=int(2 + 10 * step))  # fmt: skip
        (folder / f"bench_{place:03d}.toml").write_text(f'summary = "bench {place}"\nwhere = "{cut}"\nmax_rate = 1.0\n')
    return folder


class Watch:
    """CPU seconds and memory of the broker's processes, by what they are."""

    def __init__(self, home: Path) -> None:
        self.home = str(home)
        self.peak: dict[str, float] = defaultdict(float)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self.before = self.cpu()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.after = self.cpu()
        self._stop.set()
        self._thread.join()

    def spent(self) -> dict[str, float]:
        """CPU seconds by process between entering and leaving."""
        found: dict[str, float] = defaultdict(float)
        for pid, (name, seconds, _) in self.after.items():
            found[name] += seconds - self.before.get(pid, ("", 0.0, 0.0))[1]
        return dict(found)

    def cpu(self) -> dict[int, tuple[str, float, float]]:
        """Name, CPU seconds and memory [MB] of each process by pid."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                name = self._name(line, int(folder.name))
                if name:
                    parts = (folder / "stat").read_text().rpartition(")")[2].split()
                    if (Path("/proc") / parts[1] / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") == line and name != "python workers":
                        continue  # a process that is about to become another shares its parent's memory
                    found[int(folder.name)] = name, (int(parts[11]) + int(parts[12])) / TICKS, int(parts[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            except (OSError, IndexError):
                continue
        return found

    def _name(self, line: str, pid: int) -> str:
        if "fink_broker.jobs.daemon" in line and "SparkSubmit" not in line:  # which names it among its settings
            return "python workers" if self._ours(pid) else ""
        if self.home not in line:
            return ""
        marks = {"kafka.Kafka": "Kafka", "HMaster": "HBase", "ThriftServer": "Thrift", "SparkSubmit": "Spark JVM", " run ": "driver", " serve": "gateway"}
        return next((name for mark, name in marks.items() if mark in line), "")

    def _ours(self, pid: int) -> bool:
        for _ in range(6):
            try:
                pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                if self.home in Path(f"/proc/{pid}/cmdline").read_text():
                    return True
            except (OSError, ValueError):
                return False
        return False

    def _look(self) -> None:
        while not self._stop.wait(1.0):
            now: dict[str, float] = defaultdict(float)
            for name, _, memory in self.cpu().values():
                now[name] += memory
            for name, memory in now.items():
                self.peak[name] = max(self.peak[name], memory)


class Run:
    """One broker, started, warmed and measured."""

    def __init__(self, settings: Settings, survey: str, filters: int, say: Callable[[str], None]) -> None:
        self.settings, self.survey, self.say, self.number = settings, survey, say, filters
        self.demo = Demo(settings, surveys=[survey], say=say, quick=False)
        self.sent = Sent()
        self.seed = 100

    def up(self, warm: int) -> None:
        """Services, jobs, and alerts until plans are compiled."""
        stack.up(self.settings.home, say=self.say)
        self.demo.spawn("jobs", "run", JOB.name, "--survey", self.survey)
        for part in (warm // 3, warm // 3, warm - 2 * (warm // 3)):
            self.send(self.packets(part))
            self.wait()

    def packets(self, number: int) -> Iterator[Packet]:
        """Made-up alerts that were not sent before."""
        self.seed += 1
        return make_packets([self.survey], self.settings.schemas_path, number, self.seed)

    def send(self, packets: Iterable[Packet], rate: float | None = None) -> Sent:
        """Send them, at a rate or as fast as Kafka takes them."""
        return send(self.settings, packets, rate=rate, into=self.sent)

    def wait(self, seconds: float = 1800) -> float:
        """Until both jobs are through; the time when the last batch was done."""
        until = time.time() + seconds
        while not self.demo.done(self.sent.spans(self.survey), self.survey):
            self.demo.check()
            if time.time() > until:
                raise StoreError(f"the jobs did not finish within {seconds:.0f} s; see {self.settings.home / 'logs' / 'jobs.log'}")
            time.sleep(0.1)
        return max(entry.time for entry in Ledger(self.settings.home).entries() if entry.job in JOB.works)

    def fill(self, number: int) -> int:
        """Copies of what HBase holds under other names, so that no table is empty; how many alerts were added."""
        connection = hbase.connect(self.settings)
        prefix, added = self.settings.hbase.prefix, 0
        tables = {name: list(connection.table(f"{prefix}_{name}").scan(limit=4000)) for name in ("history", "object", "alert", "position")}
        copies = -(-number // max(len(tables["alert"]), 1))
        for copy in range(copies):
            for name, rows in tables.items():
                with connection.table(f"{prefix}_{name}").batch(batch_size=1000) as batch:
                    for key, cells in rows:
                        batch.put(_copied(key, name, copy), cells)
            added += len(tables["alert"])
        connection.close()
        return added

    def down(self) -> None:
        """Stop all of it."""
        self.demo.down()

    def entries(self, since: float) -> list[Entry]:
        """What the jobs did since a time."""
        return [entry for entry in Ledger(self.settings.home).entries() if entry.time >= since and entry.job in JOB.works]

    def delays(self, since: float) -> Iterator[float]:
        """Seconds from the input record to each message."""
        rules = load_filters(self.settings.filters_path, self.survey)
        for _, message in kafka.headers(self.settings, [topic_name(rule, self.survey) for rule in rules], since):
            if kafka.origin_of(message):
                yield kafka.delay_of(message)


def measure(run: Run, alerts: int, rate: float | None = None, history: int = 0) -> Bench:
    """Send so many alerts, at a rate or as fast as Kafka takes them, and measure until all are through.

    They are made before the clock starts (more than `MADE_FIRST` while it runs), since it is not the broker that makes alerts.
    """
    packets: Iterable[Packet] = run.packets(alerts)
    if alerts <= MADE_FIRST:
        packets = list(packets)
    home = run.settings.home
    found = Bench(run.survey, alerts, rate=rate, filters=run.number, history=history, machine=machine())
    before = _sizes(home)
    started = time.time()
    sizes: list[int] = []
    with Watch(home) as watch:
        run.send(_weighed(packets, sizes), rate)
        ended = run.wait()
    found.seconds = round(ended - started, 2)
    found.alerts_per_s = round(alerts / (ended - started), 1)
    delays = list(run.delays(started))
    found.published = len(delays)
    found.packet_bytes = round(statistics.fmean(sizes))
    found.delay_s = percentiles(delays)
    entries = run.entries(started)
    for job in JOB.works:
        mine = [entry for entry in entries if entry.job == job]
        rows = sum(entry.rows_in for entry in mine) or 1
        for stage in dict.fromkeys(name for entry in mine for name in entry.stages):
            took = [entry.stages.get(stage, 0.0) for entry in mine]
            found.stages[f"{job}.{stage}"] = {"median_s": round(statistics.median(took), 3), "ms_per_alert": round(1000 * sum(took) / rows, 3)}
        found.batches += [{"job": job, "rows": entry.rows_in, "seconds": entry.seconds, **entry.stages} for entry in mine]
    found.cpu_ms_per_alert = {name: round(1000 * seconds / alerts, 3) for name, seconds in sorted(watch.spent().items())}
    found.cpu_ms_per_alert["all"] = round(sum(found.cpu_ms_per_alert.values()), 3)
    found.memory_mb = {name: round(memory) for name, memory in sorted(watch.peak.items())}
    found.bytes_per_alert = {name: round((size - before.get(name, 0)) / alerts) for name, size in _sizes(home).items()}
    found.machine["load_after"] = machine()["load"]
    return found


def _weighed(packets: Iterable[Packet], into: list[int]) -> Iterator[Packet]:
    """The same packets; their sizes [bytes] are noted while they pass."""
    for packet in packets:
        into.append(len(packet.value))
        yield packet


def _sizes(home: Path) -> dict[str, int]:
    folders = {
        **{f"lake {name}": home / "lake" / name for name in ("raw", "science")},
        "HBase": home / "services" / "hbase",
        "Kafka": home / "services" / "kafka",
    }
    return {name: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for name, folder in folders.items()}


def _copied(key: bytes, table: str, copy: int) -> bytes:
    """A key of the same table for another object."""
    parts = key.decode().split("|")
    parts[{"history": 2, "object": 2, "alert": 2, "position": 3}[table]] += f"x{copy}"
    if table != "position":
        parts[0] = hbase.salt(parts[1] + parts[2])
    return "|".join(parts).encode()
