"""How the cost of job `night` grows: `python -m tests.bench.growth [WHAT…] [--json FILE] [--plot FILE]` prints a table each.

WHAT: batch (alerts a batch), filters, modules, points (of an alert's light curve), slots (tasks at a time). Services and jobs are its own; every
point is measured in batches that come after a first one of the same kind, with HBase, topics and the lake behind them.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import fastavro

from fink_broker import bench, kafka
from fink_broker.framing import read_body
from fink_broker.jobs.runner import make_job
from fink_broker.jobs.session import session
from fink_broker.ledger import Ledger
from fink_broker.schema import SchemaLibrary
from fink_broker.services import stack
from fink_broker.settings import Settings, load
from fink_broker.simulate import make_packets, send
from fink_broker.spool import Packet
from fink_broker.survey import load_survey

MODULES = load().science.modules
TOPIC = "ztf_alerts"


@dataclass(frozen=True)
class Case:
    """One point of a curve."""

    what: str
    value: int
    batch: int = 1000
    filters: int = 25
    modules: int = len(MODULES)
    slots: int = 4
    packets: str = "all"  # or those of short, middle or long light curves
    alerts_per_s: float = 0.0
    cpu_ms: float = 0.0  # an alert, Spark's JVM and its Python workers
    seconds: float = 0.0  # a batch


def cases(what: str) -> Iterator[Case]:
    """The points of a curve, in the order in which they are measured."""
    if what == "batch":
        yield from (Case(what, size, batch=size) for size in (30, 100, 300, 1000, 3000))
    if what == "filters":
        yield from (Case(what, number, filters=number) for number in (1, 25, 100, 400))
    if what == "modules":
        yield from (Case(what, number, modules=number) for number in (0, 3, 6, 11))
    if what == "points":
        yield from (Case(what, 0, packets=kind) for kind in ("short", "middle", "long"))
    if what == "slots":
        yield from (Case(what, number, slots=number) for number in (4, 2, 1))


def chosen(packets: Sequence[Packet], kind: str) -> list[Packet]:
    """A third of the packets by their size, which the number of points makes."""
    third = len(packets) // 3
    by_size = sorted(packets, key=lambda packet: len(packet.value))
    return list(packets) if kind == "all" else by_size[{"short": slice(third), "middle": slice(third, 2 * third), "long": slice(2 * third, None)}[kind]]


def points(packets: Sequence[Packet]) -> int:
    """Median number of points in the light curves."""
    settings = load()
    library, site = SchemaLibrary.load(settings.schemas_path, "ztf"), load_survey(settings.schemas_path, "ztf")
    found = []
    for packet in packets[:: max(len(packets) // 50, 1)]:
        body = read_body(packet.value, site, library)
        alert: Any = fastavro.schemaless_reader(io.BytesIO(body.data), library.by_version(body.version).json, None)
        found.append(1 + len(alert["prv_candidates"] or ()) + len(alert["fp_hists"] or ()))
    return sorted(found)[len(found) // 2]


def measured(case: Case, home: Path, packets: Sequence[Packet], number: int) -> Case:
    """Send the packets once to warm, then so many batches, and look what those cost."""
    own = home / f"{case.what}-{case.value}-{case.packets}"
    own.mkdir()
    shutil.copy(home / "services.json", own)
    filters = bench.write_filters(own / "filters", case.filters, "ztf")
    settings: Settings = load(options={
        "broker": {"home": str(own)}, "filters": {"path": str(filters)},
        "hbase": {"prefix": f"b{own.name.replace('-', '')}"}, "science": {"modules": MODULES[: case.modules]},
        "spark": {"master": f"local[{case.slots}]"},
        "ingest": {"starting_offsets": "latest", "max_offsets_per_trigger": case.batch, "duplicate_days": 0.0},
    })  # fmt: skip
    spark = session(load(options={"broker": {"home": str(home)}, "spark": {"master": f"local[{case.slots}]"}}), "growth")
    job = make_job(spark, settings, "night", "ztf")
    query = job.start()
    query.processAllAvailable()
    mine = chosen(packets, case.packets)
    send(settings, mine[: min(len(mine), 1500)])
    query.processAllAvailable()
    query.stop()
    before = len(Ledger(own).entries("live", "ztf"))
    send(settings, [mine[place % len(mine)] for place in range(case.batch + number)])
    query = job.start()
    while len(Ledger(own).entries("live", "ztf")) == before:  # the first batch after a start is another matter
        query.awaitTermination(0.05)
    first = len(Ledger(own).entries("live", "ztf"))
    with bench.Watch(home) as watch:
        query.processAllAvailable()
    query.stop()
    entries = Ledger(own).entries("live", "ztf")[first:]
    rows, seconds = sum(entry.rows_in for entry in entries), sum(entry.seconds for entry in entries)
    cpu = sum(value for name, value in watch.spent().items() if name in ("Spark JVM", "python workers"))
    found = replace(case, alerts_per_s=round(rows / seconds, 1), cpu_ms=round(1000 * cpu / rows, 2), seconds=round(seconds / len(entries), 2))
    return replace(found, value=points(mine)) if case.what == "points" else found


def main() -> None:
    """Measure, print, plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["batch", "filters", "modules", "points", "slots"])
    parser.add_argument("--alerts", type=int, default=3000, help="measured for each point")
    parser.add_argument("--warm", type=int, default=20_000, help="sent before anything is measured")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="fink-growth-"))
    found: list[Case] = []
    try:
        stack.up(home)
        settings = load(options={"broker": {"home": str(home)}})
        kafka.ensure_topics(settings, [TOPIC], "input")
        packets = list(make_packets(["ztf"], settings.schemas_path, 6000, 7))
        slots = 4
        measured(Case("warm", 0, batch=2000), home, packets, options.warm)  # until the JVM has compiled
        for what in options.what:
            print(f"\n| {what} | alerts/s | CPU ms an alert | seconds a batch | load |\n|---|---|---|---|---|", flush=True)
            for case in cases(what):
                if case.slots != slots:
                    session(settings, "growth").stop()
                    slots = case.slots
                few = case.batch * 6 if case.batch < 500 else options.alerts
                one = measured(case, home, packets, few)
                found.append(one)
                print(f"| {one.value} | {one.alerts_per_s} | {one.cpu_ms} | {one.seconds} | {bench.machine()['load'][0]} |", flush=True)
    finally:
        stack.down(home)
        shutil.rmtree(home, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps({"machine": bench.machine(), "cases": [asdict(one) for one in found]}, indent=2) + "\n")
    if options.plot:
        plot(found, options.plot)


def plot(found: Sequence[Case], file: Path) -> None:
    """A panel a curve."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(one.what for one in found))
    labels = {
        "batch": "alerts a batch",
        "filters": "filters",
        "modules": "science modules",
        "points": "points of a light curve",
        "slots": "task slots of Spark",
    }
    figure, panels = plt.subplots(1, len(names), figsize=(3.2 * len(names), 3.2), squeeze=False)
    for panel, what in zip(panels[0], names, strict=True):
        mine = sorted((one for one in found if one.what == what), key=lambda one: one.value)
        panel.plot([one.value for one in mine], [one.alerts_per_s for one in mine], "o-", color="tab:blue")
        panel.set(xlabel=labels[what], ylim=(0, 1.1 * max(one.alerts_per_s for one in mine)), xscale="log" if what == "batch" else "linear")
    panels[0][0].set_ylabel("alerts/s of job night")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
