"""A new schema version in the middle of a night, with the jobs running: nothing restarts, nothing is lost, old rows and new ones in one query."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from fink_broker import kafka
from fink_broker.history import History
from fink_broker.jobs.plans import plan
from fink_broker.jobs.runner import make_job
from fink_broker.lake import Lake
from fink_broker.ledger import Ledger, nights
from fink_broker.replay import Packet
from fink_broker.schema import Schema, SchemaLibrary
from fink_broker.settings import Settings, data_folder
from fink_broker.simulate import Sent, send
from fink_broker.testing import MadeAlert, encode, make_alerts
from tests.integration.test_processes import variables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]
JOB = plan("night")


def next_version(old: Schema) -> Schema:
    """5.0: `glint` added, `chipsf` gone, `rcid` and `magap` wider, `sigmapsf` and the object's name renamed with their old names as aliases."""
    source = json.loads(old.source)
    next(part for part in source["fields"] if part["name"] == "objectId").update(name="objectName", aliases=["objectId"])
    candidate = next(part for part in source["fields"] if part["name"] == "candidate")["type"]
    candidate["fields"] = [part for part in candidate["fields"] if part["name"] != "chipsf"]
    for part in candidate["fields"]:
        if part["name"] == "sigmapsf":
            part.update(name="magerr", aliases=["sigmapsf"])
        if part["name"] == "rcid":
            part["type"] = ["null", "long"]
        if part["name"] == "magap":
            part["type"] = ["null", "double"]
    candidate["fields"].append({"name": "glint", "type": ["null", "double"], "default": None})
    return Schema(old.survey, "5.0", json.dumps(source))


def in_next(packet: dict[str, Any], glint: float) -> dict[str, Any]:
    """A packet of the old version as the new one has it."""
    candidate = {**packet["candidate"], "magerr": packet["candidate"]["sigmapsf"], "glint": glint}
    return {**packet, "objectName": packet["objectId"], "candidate": candidate}


@pytest.fixture
def apart(settings: Settings, tmp_path: Path) -> Settings:
    """A broker beside the others on the same servers, with schemas of its own."""
    mark = f"e{uuid.uuid4().hex[:8]}"
    shutil.copytree(data_folder("schemas"), tmp_path / "schemas")
    survey = tmp_path / "schemas/ztf/survey.toml"
    lines = [f'topic = "ztf_{mark}"' if line.startswith("topic =") else line for line in survey.read_text().splitlines()]
    survey.write_text("\n".join(f'topic_pattern = "ztf_{mark}"' if line.startswith("topic_pattern =") else line for line in lines))
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters" / f"{mark}.toml").write_text('summary = "All"\nsurvey = ["ztf"]\nwhere = "packet.candidate.sigmapsf > 0"\nmax_rate = 1.0\n')
    shutil.copy(settings.home / "services.json", tmp_path / "services.json")
    own = {
        "broker": settings.broker.model_copy(update={"home": tmp_path, "schemas": tmp_path / "schemas", "surveys": ("ztf",)}),
        "filters": settings.filters.model_copy(update={"path": tmp_path / "filters"}),
        "hbase": settings.hbase.model_copy(update={"prefix": mark}),
        "science": settings.science.model_copy(update={"modules": ("magnitude_rate", "features")}),
    }
    kafka.ensure_topics(settings, [f"ztf_{mark}"], "input")
    return settings.model_copy(update=own)


@pytest.fixture
def running(spark: SparkSession, apart: Settings) -> Iterator[list[Any]]:
    """Both jobs, started once."""
    jobs = [make_job(spark, apart, JOB.name, "ztf")]
    queries = [job.start() for job in jobs]
    yield list(zip(jobs, queries, strict=True))
    for query in queries:
        query.stop()


def wait(ready: Callable[[], bool], running: list[Any], seconds: float = 240) -> None:
    until = time.time() + seconds
    while not ready():
        for job, query in running:
            assert query.isActive, job.cause
        assert time.time() < until, "not done in time"
        time.sleep(0.3)


def counted(settings: Settings, job: str) -> int:
    return sum(entry.rows_in for entry in Ledger(settings.home).entries(job, "ztf"))


def test_a_new_version_in_the_middle_of_a_night(apart: Settings, running: list[Any], spark: SparkSession) -> None:
    made: list[MadeAlert] = list(make_alerts("ztf", 60, seed=1201))
    schema = next_version(SchemaLibrary.load(data_folder("schemas"), "ztf").newest)
    total = Sent()

    def give(alerts: list[MadeAlert], new: bool) -> None:
        values = [encode("ztf", in_next(one.packet, 0.5), schema) if new else encode("ztf", one.packet) for one in alerts]
        send(apart, [Packet("ztf", value, one.alert_id, one.object_id, one.mjd) for one, value in zip(alerts, values, strict=True)], into=total)

    old, early, late = made[0::3], made[1::3], made[2::3]
    give(old, new=False)
    give(early, new=True)
    wait(lambda: all(counted(apart, job) == 40 for job in JOB.works), running)
    lake = Lake(apart)
    assert lake.scan("quarantine", "ztf", ["reason"]).num_rows == 20
    assert all(reason.startswith("unknown schema") for reason in lake.scan("quarantine", "ztf", ["reason"]).column("reason").to_pylist())

    folder = apart.schemas_path / "ztf/5.0"
    folder.mkdir()
    (folder / "alert.avsc.part").write_text(schema.source)
    (folder / "alert.avsc.part").rename(folder / "alert.avsc")
    give(late, new=True)
    wait(lambda: all(counted(apart, job) == 60 for job in JOB.works), running)
    assert lake.scan("raw", "ztf", ["alert_id"]).num_rows == 40

    fink(apart, "replay", "--quarantine", "--survey", "ztf")
    wait(lambda: all(counted(apart, job) == 80 for job in JOB.works), running)
    fink(apart, "replay", "--quarantine", "--survey", "ztf")  # nothing is sent again
    assert len((apart.home / "resent/ztf.jsonl").read_text().splitlines()) == 20

    # every alert once in every store, and the ledger balances
    ids = Counter({one.alert_id: 1 for one in made})
    for table in ("raw", "science"):
        assert Counter(lake.scan(table, "ztf", ["alert_id"]).column("alert_id").to_pylist()) == ids
    assert History(apart).holds("ztf", sorted(ids)) == set(ids)
    (topic,) = [name for name in kafka.topics(apart) if name.startswith(f"fink_{apart.hbase.prefix}_")]
    assert Counter(message["alert_id"] for _, message in kafka.headers(apart, [topic])) == ids
    sums = nights(Ledger(apart.home).entries())
    assert all(not night.differs for night in sums), sums
    assert sum(night.quarantined.get("unknown schema", 0) for night in sums) == 20
    assert sum(night.received for night in sums) == 80

    # old rows and new ones of the same nights in one query, in Spark and without it
    mixed = lake.nights("raw", "ztf")
    wanted = (60, 60, 60, 40, 60)
    sql = "count(*), count(packet.objectId), count(packet.candidate.sigmapsf), count(packet.candidate.glint), count(object_id)"
    for table in ("raw", "science"):
        frame = lake.read(spark, table, "ztf", mixed)
        assert tuple(frame.selectExpr(*sql.split(", ")).collect()[0]) == wanted
        types = {field.name: field.dataType.simpleString() for field in frame.schema["packet"].dataType["candidate"].dataType}
        assert (types["rcid"], types["magap"]) == ("bigint", "double")
        assert "magerr" not in types
        files = f"read_parquet('{lake.table(table)}/**/*.parquet', union_by_name = true)"
        assert duckdb.sql(f"select {sql} from {files}").fetchall() == [wanted]
        for name in ("rcid", "magap", "chipsf"):
            values = {row[0]: row[1] for row in frame.selectExpr("alert_id", f"packet.candidate.{name}").collect()}
            assert values == dict(duckdb.sql(f"select alert_id, packet.candidate.{name} from {files}").fetchall())
            assert {one.alert_id: one.packet["candidate"][name] for one in old} == pytest.approx({one.alert_id: values[one.alert_id] for one in old}, rel=1e-6)
    truth = {one.alert_id: one.packet["candidate"]["sigmapsf"] for one in made}
    assert dict(frame.selectExpr("alert_id", "mag_err").collect()) == pytest.approx(truth, rel=1e-6)

    # and through the modules again: the same to the last bit
    told = fink(apart, "replay", "--from", "2025-01-01", "--to", "2030-01-01", "--modules", "features", "--survey", "ztf", "--json")
    (result,) = json.loads(told[told.index("[\n") :])
    assert (result["raw"], result["alerts"], result["compared"], result["only_live"]) == (60, 60, 60, 0)
    assert result["differ"] == {"neutral columns": 0, "features": 0}


def fink(settings: Settings, *arguments: str) -> str:
    """What a command says, as a process of its own."""
    line = [sys.executable, "-m", "fink_broker", "--home", str(settings.home), *arguments]
    done = subprocess.run(line, env=variables(settings), capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
