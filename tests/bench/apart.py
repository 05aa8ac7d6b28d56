"""Alerts a CPU-second of jobs by themselves, Kafka to raw table and raw to science table: `python -m tests.bench.apart [--alerts N] [--warm N]`."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from fink_broker import bench, kafka
from fink_broker.jobs.runner import make_job
from fink_broker.jobs.session import session
from fink_broker.ledger import Ledger
from fink_broker.services import stack
from fink_broker.settings import Settings, load
from fink_broker.simulate import make_packets, send

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TOPIC = "ztf_alerts"


def spent(home: Path) -> Counter[str]:
    """CPU seconds of Spark's JVM and its Python workers until now."""
    found: Counter[str] = Counter()
    for name, seconds, _ in bench.Watch(home).cpu().values():
        if name in ("Spark JVM", "python workers"):
            found[name] += seconds  # type: ignore[assignment]
    return found


def measured(spark: SparkSession, settings: Settings, name: str, warm: int, number: int) -> str:
    """Run a job over alerts that wait for it, the first `warm` of which do not count; a row of the table."""

    def done() -> int:
        return sum(entry.rows_in for entry in Ledger(settings.home).entries(name))

    query = make_job(spark, settings, name, "ztf").start()
    while done() < warm:
        query.awaitTermination(0.1)
    first, before, started = done(), spent(settings.home), time.time()
    while done() < warm + number:
        query.awaitTermination(0.1)
    alerts, seconds = done() - first, time.time() - started
    cpu = spent(settings.home) - before
    query.stop()
    told = ", ".join(f"{what} {1000 * value / alerts:.2f}" for what, value in cpu.items())
    return f"| {name} | {alerts / cpu.total():.0f} | {told} | {alerts / seconds:.0f} | {bench.machine()['load'][0]} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=15_000)
    parser.add_argument("--warm", type=int, default=20_000)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="fink-apart-"))
    try:
        stack.up(home)
        settings = load(options={"broker": {"home": str(home)}, "ingest": {"duplicate_days": 0.0, "raw_trigger_seconds": 1.0}})
        kafka.ensure_topics(settings, [TOPIC], "input")
        packets = list(make_packets(["ztf"], settings.schemas_path, 6000, 7))
        for start in range(0, options.warm + options.alerts, len(packets)):
            send(settings, packets[: min(len(packets), options.warm + options.alerts - start)])
        spark = session(settings, "apart")
        print("| job | alerts a CPU-second | ms an alert | alerts/s | load |\n|---|---|---|---|---|", flush=True)
        for name in ("ingest", "enrich"):
            print(measured(spark, settings, name, options.warm, options.alerts), flush=True)
    finally:
        stack.down(home)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
