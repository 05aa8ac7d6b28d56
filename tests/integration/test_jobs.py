"""The jobs, with real Kafka, HBase and lake: every alert comes out of every sink once, bad ones are quarantined."""

from __future__ import annotations

import shutil
import time
import uuid
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import pytest

from fink_broker.balance import balance
from fink_broker.history import History
from fink_broker.jobs.runner import make_job
from fink_broker.ledger import Ledger
from fink_broker.replay import Packet
from fink_broker.settings import Settings
from fink_broker.simulate import send
from fink_broker.testing import encode, make_alerts
from tests.integration.conftest import Filled, Start, wait

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration


def ids(filled: Filled, survey: str) -> set[str]:
    return {packet.alert_id for packet in filled.packets[survey]}


def bad_packets() -> list[Packet]:
    return [Packet("ztf", value) for value in (b"", b"not an alert", b"Obj\x01cut")]


@pytest.mark.parametrize("survey", ["ztf", "lsst", "elasticc"])
def test_every_alert_comes_out_of_every_sink_once(settings: Settings, filled: Filled, survey: str) -> None:
    spans, number = filled.sent[survey].spans(survey), len(filled.packets[survey])
    result = balance(settings, {survey: spans}, number, 1.0, filled.since)
    assert result.balanced, result
    assert (result.raw_rows, result.science_rows, result.hbase_rows) == (number, number, number)
    assert sum(result.published.values()) > number / 6
    assert result.delay_s["p50"] is not None


def test_bad_duplicated_and_changed_alerts(settings: Settings, filled: Filled, started: Start) -> None:
    since = time.time()
    made = next(islice(make_alerts("ztf", seed=31), 20, None))
    made.packet["candidate"]["magpsf"] += 0.5
    changed = replace(filled.packets["ztf"][20], value=encode("ztf", made.packet))
    assert changed.alert_id == made.alert_id
    sent = send(settings, [*filled.packets["ztf"][3:13], changed, *bad_packets()])
    wait(settings, [started("night", "ztf")], sent.spans("ztf"))
    result = balance(settings, {"ztf": sent.spans("ztf")}, 14, 1.0, since)
    assert result.balanced, result
    assert (result.raw_rows, result.science_rows, result.hbase_rows) == (0, 0, 0)
    assert (result.duplicates, result.quarantined) == (10, 4)
    assert {reason.split(":")[0] for reason in result.reasons} == {"empty packet", "wrong magic 6e6f7420", "damaged container", "changed"}
    assert not result.published


def test_the_lake_is_read_without_spark(settings: Settings, filled: Filled) -> None:
    folder = settings.lake_path
    rows = duckdb.sql(
        f"select alert_id, night, survey, packet.candidate.magpsf m, len(lightcurve.mjd) n "
        f"from read_parquet('{folder}/science/survey=ztf/**/*.parquet', hive_partitioning=true)"
    ).df()
    rows = rows[rows["alert_id"].isin(ids(filled, "ztf"))]  # other tests send too
    assert len(rows) == rows["alert_id"].nunique() == 160
    assert (rows["n"] >= 1).all()
    assert rows["night"].between(20251101, 20260301).all()
    raw = pd.read_parquet(f"{folder}/raw/survey=ztf", columns=["alert_id", "ra"])
    assert set(raw["alert_id"]) & ids(filled, "ztf") == set(rows["alert_id"])


def test_history_of_an_object_and_a_cone(settings: Settings, filled: Filled) -> None:
    history = History(settings)
    packets = filled.packets["ztf"]
    counts = pd.Series([packet.object_id for packet in packets]).value_counts()
    rows = history.object("ztf", counts.index[0])
    assert len(rows) == counts.iloc[0]
    assert [row["mjd"] for row in rows] == sorted((row["mjd"] for row in rows), reverse=True)
    newest = rows[0]
    near = history.cone(newest["ra"], newest["dec"], 5)
    assert near[0]["object_id"] == counts.index[0]
    assert near[0]["mjd"] == newest["mjd"]
    curve = history.lightcurve("ztf", counts.index[0])
    assert curve["mjd"] == sorted(curve["mjd"])
    assert curve["kind"].count("detection") >= len(rows)
    row, files = history.alert(newest["alert_id"])
    assert row == newest
    assert files.startswith(str(newest["night"]))


def test_a_moving_object_is_found_by_its_designation(settings: Settings, filled: Filled) -> None:
    from fink_broker.testing import make_alerts

    made = next(one for one in islice(make_alerts("lsst", seed=31), 60) if one.packet["mpc_orbits"])
    name = made.packet["mpc_orbits"]["designation"]
    found = History(settings).sso(name)
    assert made.alert_id in {row["alert_id"] for row in found}
    assert History(settings).object("lsst", name)


def test_ingest_writes_the_raw_table_that_night_copies(settings: Settings, spark: SparkSession, filled: Filled) -> None:
    apart = settings.home / f"apart-{uuid.uuid4().hex[:6]}"
    apart.mkdir()
    shutil.copy(settings.home / "services.json", apart)
    other = settings.model_copy(update={"broker": settings.broker.model_copy(update={"home": apart})})
    for survey in ("ztf", "lsst"):
        query = make_job(spark, other, "ingest", survey).start()
        query.processAllAvailable()
        query.stop()
        read = "select * exclude (origin) from read_parquet('{}/raw/survey={}/**/*.parquet', hive_partitioning=true) order by alert_id"
        of_night = duckdb.sql(read.format(settings.lake_path, survey))
        of_ingest = duckdb.sql(read.format(apart / "lake", survey)).select(*(duckdb.ColumnExpression(name) for name in of_night.columns))
        assert of_night.types == of_ingest.types
        sent = ids(filled, survey)
        kept = [[str(row) for row in part.fetchall() if str(row[of_night.columns.index("alert_id")]) in sent] for part in (of_night, of_ingest)]
        assert len(kept[0]) == len(sent)
        assert kept[0] == kept[1]


def test_enrich_from_the_raw_table_gives_what_live_gave(settings: Settings, spark: SparkSession, filled: Filled) -> None:
    """The same steps run apart, into a lake and checkpoints of their own."""
    apart = settings.home / f"apart-{uuid.uuid4().hex[:6]}"
    shutil.copytree(Path(settings.lake_path) / "raw", apart / "lake" / "raw")
    shutil.copy(settings.home / "services.json", apart)  # HBase has the history that modules read
    other = settings.model_copy(update={"broker": settings.broker.model_copy(update={"home": apart})})
    job = make_job(spark, other, "enrich", "ztf")
    query = job.start()
    query.processAllAvailable()
    query.stop()
    read = "select * exclude (origin, provenance) from read_parquet('{}/science/survey=ztf/**/*.parquet', hive_partitioning=true) order by alert_id"
    live, again = (
        every[every["alert_id"].isin(ids(filled, "ztf"))] for every in (duckdb.sql(read.format(lake)).df() for lake in (settings.lake_path, apart / "lake"))
    )
    assert len(live) == len(again) == 160
    for name in ("alert_id", "flux", "mjd", "night", "healpix"):
        assert live[name].tolist() == again[name].tolist()
    for module in ("features", "magnitude_rate", "extragalactic", "purity", "solar_system", "xmatch"):
        assert str(live[module].tolist()) == str(again[module].tolist()), module
    said = [[one["class"] for one in frame["summary"]] for frame in (live, again)]  # numbers of networks may differ in the last digits with the batch
    assert said[0] == said[1]
    assert all(said[0])


def test_a_backlog_is_read_without_a_pause(settings: Settings, spark: SparkSession, filled: Filled) -> None:
    """`ingest` waits for a batch to be full, here an hour, and not at all while there is enough for one."""
    apart = settings.home / f"apart-{uuid.uuid4().hex[:6]}"
    apart.mkdir()
    shutil.copy(settings.home / "services.json", apart)
    ingest = settings.ingest.model_copy(update={"max_offsets_per_trigger": 30, "raw_trigger_seconds": 3600.0})
    other = settings.model_copy(update={"broker": settings.broker.model_copy(update={"home": apart}), "ingest": ingest})
    query, number, until = make_job(spark, other, "ingest", "elasticc").start(), len(filled.packets["elasticc"]), time.time() + 100
    try:
        while (done := sum(entry.rows_in for entry in Ledger(apart).entries("ingest"))) <= number - 30:
            assert time.time() < until, f"{done} of {number}; {query.exception()}"
            time.sleep(0.2)
    finally:
        query.stop()
    assert number - 30 < done <= number
