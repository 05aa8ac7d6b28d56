"""What makes a job fail: a module that kills or hangs its worker is switched off, a packet that breaks its batch left out; the others go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from pyspark.sql.functions import expr

from fink_broker.errors import FinkError
from fink_broker.jobs.fault import REASON
from fink_broker.jobs.job import Job
from fink_broker.jobs.runner import Runner
from fink_broker.ledger import Ledger, nights
from tests.integration.test_recovery import Broker, broker

__all__ = ["broker"]
pytestmark = [pytest.mark.integration, pytest.mark.slow]

KILLER = '''
import os, time
from fink_broker.science import ScienceModule

class Killer(ScienceModule):
    """Ends its worker."""
    name = "killer"
    version = "1.0"
    inputs = ("mjd",)
    outputs = {{"value": "double"}}

    def process(self, alerts):
        {body}
'''


def supervise(broker: Broker, names: list[str], prepare: Callable[[Job], None] = lambda job: None) -> None:
    """Run jobs as `fink run` does, started again after each failure, until they have read all that was sent."""
    runner = Runner(broker.settings, names, ["ztf"])
    for one in runner.watched:
        prepare(one.job)
    until = time.time() + 240
    try:
        while any(left for name in names for left in broker.left(name)):
            assert time.time() < until, [(one.job.cause, one.restarts) for one in runner.watched]
            for one in runner.watched:
                runner._look_after(one)
            time.sleep(0.2)
    except FinkError as error:
        pytest.fail(str(error))
    finally:
        for one in runner.watched:
            if one.query is not None:
                one.query.stop()


@pytest.mark.parametrize(("body", "seconds"), [("os._exit(3)", 600.0), ("time.sleep(10000)", 12.0)], ids=["kills", "hangs"])
def test_a_module_that_takes_its_worker_along_is_switched_off(broker: Broker, tmp_path: Path, body: str, seconds: float) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "killer.py").write_text(KILLER.format(body=body))
    (tmp_path / "filters" / "brightness.toml").write_text('summary = "reads a module"\nwhere = "killer.value is null and snr > 0"\nmax_rate = 1.0\n')
    own = {
        "science": broker.settings.science.model_copy(update={"modules": ("killer",), "path": folder, "budget_seconds": 3.0}),
        "jobs": broker.settings.jobs.model_copy(update={"batch_seconds": seconds, "backoff_seconds": 0.1}),
    }
    broker.settings = broker.settings.model_copy(update=own)
    _, query = broker.start("live")
    query.processAllAvailable()
    query.stop()
    broker.send(12, seed=970)
    supervise(broker, ["live"])
    rows = duckdb.sql(f"select killer.error, killer.value, topics from read_parquet('{broker.settings.lake_path}/science/**/*.parquet')").fetchall()
    assert len(rows) == 12
    assert all("switched off" in row[0] and row[1] is None for row in rows)
    assert all("fink_brightness_ztf" in row[2] for row in rows)  # a filter that reads the module was not suspended for it
    entries = [json.loads(line) for line in (broker.settings.home / "ledger" / "live-ztf.jsonl").read_text().splitlines()]
    assert sum(counts.get("failed/killer", 0) for entry in entries for counts in entry["by_night"].values()) == 12


@pytest.mark.parametrize("names", [["live", "ingest"], ["night"]], ids=["live and ingest", "night"])
def test_a_packet_that_breaks_its_batch_is_left_out(broker: Broker, names: list[str]) -> None:
    broker.settings = broker.settings.model_copy(update={"jobs": broker.settings.jobs.model_copy(update={"backoff_seconds": 0.1})})
    for name in names:
        _, query = broker.start(name)
        query.processAllAvailable()
        query.stop()
    broker.send(20, seed=975)
    breaker = broker.packets[7].alert_id

    def prepare(job: Job) -> None:
        # no packet is known that does this to Spark's decoder, so one is chosen
        real, bad = job.decoder.decode, f"if(alert_id = '{breaker}', raise_error('cannot be decoded'), night)"
        job.decoder.decode = lambda records: real(records).withColumn("night", expr(bad))  # type: ignore[method-assign]

    supervise(broker, names, prepare)
    for table in ("raw", "science"):
        rows = duckdb.sql(f"select alert_id from read_parquet('{broker.settings.lake_path}/{table}/**/*.parquet')").fetchall()
        assert sorted(row[0] for row in rows) == sorted(packet.alert_id for packet in broker.packets if packet.alert_id != breaker), table
    ((reason, value),) = duckdb.sql(f"select reason, value from read_parquet('{broker.settings.lake_path}/quarantine/**/*.parquet')").fetchall()
    assert reason.startswith(REASON)
    assert "cannot be decoded" in reason
    assert value == broker.packets[7].value
    told = nights(Ledger(broker.settings.home).entries())
    assert not any(night.differs for night in told), told
    assert sum(night.quarantined.get(REASON, 0) for night in told) == 1
