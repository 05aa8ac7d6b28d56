"""SIGKILL to any process at random moments under load: every alert is in every store once, and the ledger balances.

FINK_CHAOS_SECONDS is how long is killed (default 60; the rest of the test takes two minutes), FINK_CHAOS_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.night import Night

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SECONDS = float(os.environ.get("FINK_CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("FINK_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
RATE = 8.0


def test_killed_at_any_moment(tmp_path: Path) -> None:
    choose = random.Random(SEED)
    night = Night(tmp_path / "home", SEED, RATE)
    night.say(f"seed {SEED}, {SECONDS:.0f} s of kills")
    victims: dict[str, Callable[[], int]] = {
        "JVM of the jobs": night.jvm,
        "Python of the jobs": lambda: night.jobs.pid if night.jobs else 0,
        "Python worker": night.worker,
        "Kafka": lambda: night.service("kafka"),
        "HBase master": lambda: night.service("hbase"),
        "Thrift server": lambda: night.service("hbase", "thrift_pid"),
        "gateway": lambda: night.gateway.pid if night.gateway else 0,
        "simulator": lambda: night.simulator.pid if night.simulator else 0,
    }
    kills = dict.fromkeys(victims, 0)
    try:
        night.up()
        night.start_jobs()
        night.start_simulator()
        night.start_gateway()
        night.wait(lambda: (night.home / "ledger/live-ztf.jsonl").is_file(), 200, "no batch")
        until, left = time.monotonic() + SECONDS, []
        while time.monotonic() < until or 0 in kills.values():
            left = left or choose.sample(list(victims), len(victims))  # each once before any comes again
            pause(night, choose.uniform(0.5, 6.0))
            name = left[-1]
            pid = victims[name]()
            if not pid:
                if name != "Python worker" and name != "JVM of the jobs":
                    left.pop()
                continue
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # a worker that had just ended
            left.pop()
            kills[name] += 1
            night.say(f"SIGKILL {name} ({pid})")
            if name in ("Kafka", "HBase master", "Thrift server"):
                pause(night, choose.uniform(0.0, 4.0))
                night.up()
        night.say(f"killed: {kills}")
        noted = night.notes.stat().st_size
        night.wait(lambda: night.notes.stat().st_size > noted, 100, "the simulator sends no more")  # it may have been the last victim
        night.finish()
        told = night.check()
        night.say(f"counted: {told}")
        assert sum(one["received"] for one in night.served("/api/v1/ledger")) == told["received"]
        assert all(number > 0 for number in kills.values())
    finally:
        night.down()


def pause(night: Night, seconds: float) -> None:
    """Let it run on, and start again what has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        night.look_after()
        time.sleep(0.1)
