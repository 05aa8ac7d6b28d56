"""The running broker merges the small files of closed nights, and goes on writing beside them."""

from __future__ import annotations

import pytest

from fink_broker import hbase
from fink_broker.jobs.runner import Runner
from fink_broker.lake import COMPACTED, Lake
from fink_broker.ledger import Ledger
from tests.integration.test_recovery import Broker, broker

__all__ = ["broker"]
pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_closed_nights_are_compacted_beside_the_jobs(broker: Broker) -> None:
    _, query = broker.start("night")
    query.processAllAvailable()
    query.stop()
    for seed in (981, 982):
        broker.send(70, seed=seed)
        broker.run("night")
    lake = Lake(broker.settings)
    before = {table: len(list(lake.table(table).rglob("*.parquet"))) for table in ("raw", "science")}

    off = broker.settings.model_copy(update={"lake": broker.settings.lake.model_copy(update={"compact": False})})
    idle = Runner(off, ["night"], ["ztf"])
    idle._compact()
    assert idle.compacting is None

    runner = Runner(broker.settings, ["night"], ["ztf"])
    runner._compact()
    assert runner.compacting is not None
    first = runner.compacting
    runner._compact()  # one at a time
    assert runner.compacting is first
    broker.send(30, seed=983)  # the jobs go on meanwhile
    broker.run("night")
    log = (broker.settings.home / "logs/compact.log").read_text() if first.wait(240) else ""
    assert first.returncode == 0, log
    merged = {table: len(list(lake.table(table).rglob(f"{COMPACTED}*.parquet"))) for table in before}
    for table in before:
        assert merged[table] == len(lake.nights(table, "ztf")) < before[table]
    broker.check()

    # HBase has lost everything (its disk, or a machine that went down): a new `index` puts all again, from merged files too
    connection = hbase.connect(broker.settings)
    for table in hbase.TABLES:
        connection.delete_table(hbase.table_name(broker.settings, table), disable=True)
    connection.close()
    broker.run("index")
    broker.check()
    rows = sum(entry.rows_in for entry in Ledger(broker.settings.home).entries("index"))
    assert rows == 170
