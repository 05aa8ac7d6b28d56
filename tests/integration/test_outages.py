"""Kafka away, HBase away, a topic deleted, a full disk: the jobs say so in one line, wait or are started again, and go on where they were."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from fink_broker import kafka
from fink_broker.lake import Lake
from fink_broker.ledger import Ledger
from fink_broker.services import stack
from tests.integration.night import Night

pytestmark = [pytest.mark.integration, pytest.mark.slow]
AWAY_SECONDS = float(os.environ.get("FINK_AWAY_SECONDS", "12"))
LAKE_MB = 600  # of the small disk


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of a few MB in memory; gives whether it could be mounted."""
    folder.mkdir(parents=True)
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LAKE_MB}m", "tmpfs", folder], check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)


def read(night: Night) -> int:
    """Alerts that `live` is done with."""
    return sum(entry.rows_in for entry in Ledger(night.home).entries("live", "ztf"))


def go_on(night: Night, what: str) -> None:
    """Until `live` has done more than before."""
    before = read(night)
    night.wait(lambda: read(night) > before, 150, f"no batch after {what}")


def events(night: Night, name: str) -> list[str]:
    """Causes that the jobs told with an event."""
    lines = (night.home / "jobs.log").read_text(errors="replace").splitlines()
    return [json.loads(line).get("cause", "") for line in lines if line.startswith("{") and json.loads(line)["event"] == name]


def test_outages(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as mounted:
        options = {"lake": {"path": str(tmp_path / "disk"), "min_free_gb": 0.0}} if mounted else {}
        night = Night(tmp_path / "home", seed=77, rate=6.0, options=options, names=("live", "ingest"))
        try:
            night.up()
            night.start_jobs()
            night.start_simulator()
            night.wait(lambda: read(night) > 0, 200, "no batch")

            for name, key in (("kafka", "pid"), ("hbase", "pid")):
                night.say(f"{name} stands still for {AWAY_SECONDS:.0f} s")
                pid = night.service(name, key)
                os.kill(pid, signal.SIGSTOP)
                away(night)
                os.kill(pid, signal.SIGCONT)
                go_on(night, f"{name} stood still")

            for name in ("kafka", "hbase"):
                night.say(f"{name} is killed and away for {AWAY_SECONDS:.0f} s")
                known = stack.read(night.home)[name]
                for key in ("thrift_pid", "pid"):
                    if key in known:
                        os.kill(int(known[key]), signal.SIGKILL)
                away(night)
                night.up()
                go_on(night, f"{name} was away")

            night.say("a substream topic is deleted")
            topic = "fink_two_of_three_ztf"
            before = {message["alert_id"] for _, message in kafka.headers(night.settings, [topic])}
            admin = AdminClient(kafka.client_config(night.settings))  # must outlive its futures
            admin.delete_topics([topic])[topic].result()
            night.wait(lambda: topic in kafka.topics(night.settings), 150, "the topic is not there again")
            go_on(night, "its topic was deleted")

            if mounted:
                night.say("the disk of the lake is full")
                ballast = Lake(night.settings).path / "ballast"
                full(ballast)
                night.wait(lambda: any("o space left" in cause or "disk" in cause for cause in events(night, "query failed, starting again")), 120, "not said")
                away(night)
                ballast.unlink()
                go_on(night, "the disk was full")

            night.finish()
            # of the deleted topic only what was in it at the time is gone
            messages = Counter(message["alert_id"] for _, message in kafka.headers(night.settings, [topic]))
            assert set(messages.values()) == {1}
            ids = {str(one) for one in Lake(night.settings).scan("science", "ztf", ["alert_id"]).column("alert_id").to_pylist()}
            chosen = {one for one in ids if int(one) % 3 < 2}
            night.say(f"counted: {night.check(but=(topic,))}; {len(messages)} of {len(chosen)} in the topic that was deleted")
            assert set(messages) <= chosen
            assert chosen - set(messages) <= before
            assert all(end.startswith(("status 0", "status 1", "status 2")) for end in night.ends), night.ends
            assert "Traceback" not in (night.home / "jobs.log").read_text(errors="replace")
        finally:
            night.down()


def full(file: Path) -> None:
    """Fill the disk."""
    handle = os.open(file, os.O_CREAT | os.O_WRONLY)
    with contextlib.suppress(OSError):
        while os.write(handle, bytes(1 << 12)):
            pass
    os.close(handle)


def away(night: Night) -> None:
    """The time of an outage, in which what ends is started again."""
    until = time.monotonic() + AWAY_SECONDS
    while time.monotonic() < until:
        night.look_after()
        time.sleep(0.2)
