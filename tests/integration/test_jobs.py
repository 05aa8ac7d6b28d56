"""The jobs, with real Kafka, HBase and lake: every alert comes out of every sink once, bad ones are quarantined."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import pytest

from fink_broker.balance import Spans, balance
from fink_broker.history import History
from fink_broker.jobs.job import Job
from fink_broker.jobs.plans import plan
from fink_broker.ledger import Ledger
from fink_broker.replay import Packet
from fink_broker.settings import Settings
from fink_broker.simulate import make_packets, send

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def started(settings: Settings, spark: SparkSession) -> Iterator[Callable[[str, str], Job]]:
    """Starts jobs, and stops them at the end."""
    running: dict[tuple[str, str], tuple[Job, object]] = {}

    def start(name: str, survey: str) -> Job:
        if (name, survey) not in running:
            job = Job(spark, settings, plan(name), survey)
            running[name, survey] = job, job.start()
        return running[name, survey][0]

    yield start
    for _, query in running.values():
        query.stop()  # type: ignore[attr-defined]


def wait(settings: Settings, jobs: Sequence[Job], spans: Spans, seconds: float = 240) -> None:
    until = time.time() + seconds
    for job in jobs:
        while True:
            done = Ledger(settings.home).done(job.plan.name, job.survey.name)
            if all(done.get(t, {}).get(p, 0) > last for t, parts in spans.items() for p, (_, last) in parts.items()):
                break
            assert not job.cause, job.cause
            assert time.time() < until, f"{job.name} has not read all within {seconds} s"
            time.sleep(0.3)


def bad_packets() -> list[Packet]:
    return [Packet("ztf", value) for value in (b"", b"not an alert", b"Obj\x01cut")]


def test_ztf_alerts_good_bad_duplicated_and_changed(settings: Settings, started: Callable[[str, str], Job]) -> None:
    since = time.time()
    jobs = [started("live", "ztf"), started("ingest", "ztf")]
    packets = list(make_packets(["ztf"], settings.schemas_path, 160, seed=31))
    twice = packets[3:13]
    other = list(make_packets(["ztf"], settings.schemas_path, 160, seed=31))[20]
    from fink_broker.testing import encode, make_alerts

    made = list(make_alerts("ztf", 160, seed=31))[20]
    made.packet["candidate"]["magpsf"] += 0.5
    changed = replace(other, value=encode("ztf", made.packet))
    first = send(settings, packets)
    wait(settings, jobs, first.spans("ztf"))
    sent = send(settings, [*twice, changed, *bad_packets()])
    wait(settings, jobs, sent.spans("ztf"))
    spans = {topic: {p: (min(first.spans("ztf")[topic].get(p, s)[0], s[0]), s[1]) for p, s in parts.items()} for topic, parts in sent.spans("ztf").items()}
    for topic, parts in first.spans("ztf").items():
        for partition, span in parts.items():
            spans.setdefault(topic, {}).setdefault(partition, span)
    result = balance(settings, {"ztf": spans}, 174, 1.0, since)
    assert result.balanced, result
    assert (result.raw_rows, result.science_rows, result.hbase_rows) == (160, 160, 160)
    assert (result.duplicates, result.quarantined) == (10, 4)
    assert {reason.split(":")[0] for reason in result.reasons} == {"empty packet", "wrong magic 6e6f7420", "damaged container", "changed"}
    assert sum(result.published.values()) > 100
    assert result.delay_s["p50"] is not None


def test_the_lake_is_read_without_spark(settings: Settings, started: Callable[[str, str], Job]) -> None:
    folder = settings.lake_path
    rows = duckdb.sql(
        f"select alert_id, night, survey, packet.candidate.magpsf m, len(lightcurve.mjd) n "
        f"from read_parquet('{folder}/science/**/*.parquet', hive_partitioning=true) where survey = 'ztf'"
    ).df()
    assert len(rows) == rows["alert_id"].nunique() == 160
    assert (rows["n"] >= 1).all()
    assert rows["night"].between(20251101, 20260301).all()
    raw = pd.read_parquet(f"{folder}/raw/survey=ztf", columns=["alert_id", "ra"])
    assert set(raw["alert_id"]) == set(rows["alert_id"])


def test_history_of_an_object_and_a_cone(settings: Settings) -> None:
    history = History(settings)
    packets = list(make_packets(["ztf"], settings.schemas_path, 160, seed=31))
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


@pytest.mark.parametrize("survey", ["lsst", "elasticc"])
def test_other_surveys_pass_through_the_same_jobs(settings: Settings, started: Callable[[str, str], Job], survey: str) -> None:
    since = time.time()
    jobs = [started("live", survey), started("ingest", survey)]
    sent = send(settings, make_packets([survey], settings.schemas_path, 60, seed=32))
    wait(settings, jobs, sent.spans(survey))
    result = balance(settings, {survey: sent.spans(survey)}, 60, 1.0, since)
    assert result.balanced, result
    assert result.raw_rows == 60
    assert sum(result.published.values()) > 10


def test_a_moving_object_is_found_by_its_designation(settings: Settings, started: Callable[[str, str], Job]) -> None:
    from fink_broker.testing import make_alerts

    made = next(one for one in make_alerts("lsst", 60, seed=32) if one.packet["mpc_orbits"])
    name = made.packet["mpc_orbits"]["designation"]
    found = History(settings).sso(name)
    assert made.alert_id in {row["alert_id"] for row in found}
    assert History(settings).object("lsst", name)


def test_enrich_from_the_raw_table_gives_what_live_gave(settings: Settings, spark: SparkSession, started: Callable[[str, str], Job]) -> None:
    """The same steps run apart, into a lake and checkpoints of their own."""
    import shutil
    from pathlib import Path

    apart = settings.home / f"apart-{uuid.uuid4().hex[:6]}"
    shutil.copytree(Path(settings.lake_path) / "raw", apart / "lake" / "raw")
    other = settings.model_copy(update={"broker": settings.broker.model_copy(update={"home": apart})})
    job = Job(spark, other, plan("enrich"), "ztf")
    query = job.start()
    query.processAllAvailable()
    query.stop()
    read = "select * exclude (origin, provenance) from read_parquet('{}/science/**/*.parquet', hive_partitioning=true) where survey = 'ztf' order by alert_id"
    live = duckdb.sql(read.format(settings.lake_path)).df()
    again = duckdb.sql(read.format(apart / "lake")).df()
    assert len(live) == len(again) == 160
    for name in ("alert_id", "flux", "mjd", "night", "healpix"):
        assert live[name].tolist() == again[name].tolist()
    for module in ("features", "magnitude_rate", "extragalactic", "purity", "solar_system", "xmatch"):
        assert str(live[module].tolist()) == str(again[module].tolist()), module
