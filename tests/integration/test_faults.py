"""A module that kills or hangs its worker in a running job: it is switched off, no filter is blamed, every alert goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import duckdb
import pytest

from fink_broker.errors import FinkError
from fink_broker.jobs.runner import Runner
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
    runner = Runner(broker.settings, ["live"], ["ztf"])
    (one,) = runner.watched
    until = time.time() + 240
    try:
        while any(broker.left("live")):
            assert time.time() < until, (one.job.cause, one.restarts)
            runner._look_after(one)
            time.sleep(0.2)
    except FinkError as error:
        pytest.fail(str(error))
    finally:
        if one.query is not None:
            one.query.stop()
    rows = duckdb.sql(f"select killer.error, killer.value, topics from read_parquet('{broker.settings.lake_path}/science/**/*.parquet')").fetchall()
    assert len(rows) == 12
    assert all("switched off" in row[0] and row[1] is None for row in rows)
    assert all("fink_brightness_ztf" in row[2] for row in rows)  # a filter that reads the module was not suspended for it
    entries = [json.loads(line) for line in (broker.settings.home / "ledger" / "live-ztf.jsonl").read_text().splitlines()]
    assert sum(counts.get("failed/killer", 0) for entry in entries for counts in entry["by_night"].values()) == 12
