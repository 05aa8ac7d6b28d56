"""`fink bench` from its start to its file, small: that it measures everything, not how fast it is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_processes import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_bench_measures_all_that_it_names(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    size = ["--alerts", "120", "--history", "300", "--warm", "150", "--filters", "3", "--rate", "30", "--seconds", "3", "--stages"]
    line = [sys.executable, "-m", "fink_broker", "bench", *size, "--json", str(file)]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            told, errors = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # so that it ends what it has started
            told, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors[-2000:]
    found = json.loads(file.read_text())
    for measured, alerts in ((found, 120), (found["at_rate"], 90)):
        assert (measured["alerts"], measured["filters"]) == (alerts, 3)
        assert measured["history"] >= 300
        assert measured["published"] > 0
        assert measured["alerts_per_s"] > 0
        assert 60_000 < measured["packet_bytes"] < 75_000  # as ZTF's
        assert {"p50", "p95", "p99"} == set(measured["delay_s"])
        assert 0 < measured["delay_s"]["p50"] <= measured["delay_s"]["p99"]
        assert {"Kafka", "HBase", "Thrift", "Spark JVM", "driver", "python workers"} <= set(measured["memory_mb"])
        assert set(measured["cpu_ms_per_alert"]) == {*measured["memory_mb"], "all"}
        assert measured["bytes_per_alert"]["lake raw"] > 20_000
        assert sum(batch["rows"] for batch in measured["batches"]) >= alerts
        assert {"live.science", "live.store", "live.index", "live.publish"} <= set(measured["stages"])
    assert found["delay_s"] == found["at_rate"]["delay_s"]
    assert f"packets of {found['packet_bytes'] / 1000:.0f} kB" in told
