"""Past nights again: equal to the live results where nothing changed, beside them, and compared; the quarantine once more."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fink_broker import kafka, sky
from fink_broker.cli.common import with_options
from fink_broker.jobs import rerun
from fink_broker.jobs.rerun import Rerun, Span
from fink_broker.lake import Lake
from fink_broker.resend import resend
from fink_broker.settings import Settings, data_folder
from fink_broker.simulate import make_packets, send
from fink_broker.spool import Packet
from fink_broker.survey import load_survey
from fink_broker.testing import START_MJD
from tests.integration.conftest import Start, wait

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def passed(settings: Settings, started: Start) -> Settings:
    """Alerts of ZTF have passed through job `night`, one night after the other, so that it knew all earlier nights as a rerun does."""
    packets: dict[int, list[Packet]] = defaultdict(list)
    for packet in make_packets(["ztf"], settings.schemas_path, 60, seed=77, start_mjd=START_MJD + 400):
        packets[int(sky.night(packet.mjd, load_survey(settings.schemas_path, "ztf").longitude_deg)[0])].append(packet)
    for _, of_night in sorted(packets.items()):
        sent = send(settings, of_night)
        wait(settings, [started("night", "ztf")], sent.spans("ztf"))
    return settings


def busiest(settings: Settings) -> int:
    """The night with most of these alerts."""
    alerts = Lake(settings).scan("raw", "ztf", ["alert_id", "mjd"])
    nights = alerts.filter(pc.greater(alerts["mjd"], START_MJD + 399)).column("night").to_pylist()
    return int(Counter(nights).most_common(1)[0][0])


def test_nothing_changed_nothing_differs(passed: Settings, spark: SparkSession) -> None:
    night, lake = busiest(passed), Lake(passed)
    live = lake.scan("science", "ztf", ["alert_id"], night)
    before = kafka.topic_counts(passed)
    again = Rerun(spark, passed, "ztf", to_topics=True)
    result = again.run(Span(night=night))
    assert result.alerts == result.raw == result.compared == live.num_rows > 0
    assert result.only_live == 0
    assert set(result.differ) == {rerun.NEUTRAL, *again.chain.names}
    assert not any(result.differ.values()), result.differ
    assert None not in result.differ.values()
    # beside the old results, and marked
    assert lake.scan("science", "ztf", ["alert_id"], night).num_rows == live.num_rows
    rows = duckdb.connect().sql(f"select provenance['replay'], topics from read_parquet('{result.folder}/**/*.parquet', hive_partitioning = true)").fetchall()
    assert {str(row[0]).strip("[]'") for row in rows} == {result.id}
    assert json.loads((Path(result.folder) / "_about.json").read_text())["provenance"] == again.chain.provenance
    # topics of its own
    chosen = Counter(topic for row in rows for topic in row[1])
    assert {f"{topic}_replay": number for topic, number in chosen.items()} == result.published
    counts = kafka.topic_counts(passed)
    assert {name: counts[name] for name in result.published} == result.published
    assert {name: counts[name] for name in before} == before
    assert all(facts["replay"] == result.id for _, facts in kafka.headers(passed, result.published))


def test_what_changed_is_counted(passed: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    night = busiest(passed)
    few = with_options(passed, science={"modules": ["magnitude_rate", "features"]})
    again = Rerun(spark, few, "ztf")
    monkeypatch.setattr(again, "chain", again.chain.without("magnitude_rate", "switched off"))
    result = again.run(Span(night=night))
    assert result.differ["magnitude_rate"] == result.compared > 0
    assert result.differ["features"] == 0
    assert set(result.differ) == {rerun.NEUTRAL, "magnitude_rate", "features"}
    times = Lake(passed).scan("raw", "ztf", ["mjd"], night).column("mjd").to_pylist()
    middle = sorted(times)[len(times) // 2]
    half = Rerun(spark, with_options(passed, science={"modules": []}), "ztf").run(Span(start=middle))
    assert half.raw == sum(mjd >= middle for mjd in Lake(passed).scan("raw", "ztf", ["mjd"]).column("mjd").to_pylist())
    assert half.only_live == 0


def test_two_versions_of_a_model_on_one_night(passed: Settings, spark: SparkSession, tmp_path: Path) -> None:
    shutil.copy(data_folder("science_modules") / "early_snia" / "model.onnx", tmp_path / "model.onnx")
    params = {"early_snia_next": {"module": "early_snia", "models": str(tmp_path), "min_detections": 3}}
    both = with_options(passed, science={"modules": ["early_snia", "early_snia_next"], "params": params})
    result = Rerun(spark, both, "ztf").run(Span(night=busiest(passed)))
    files = f"{result.folder}/**/*.parquet"
    rows = (
        duckdb.connect()
        .sql(
            f"select early_snia.probability, early_snia_next.probability, provenance['early_snia'], provenance['early_snia_next'] from read_parquet('{files}')"
        )
        .fetchall()
    )
    assert len(rows) == result.alerts > 0
    ours = [row for row in rows if row[0] is not None]
    assert 0 < sum(row[1] is not None for row in ours) < len(ours)
    assert all(row[1] in (None, row[0]) for row in rows)  # the same model, asked for three detections
    assert all(row[2] != row[3] for row in rows)


def test_the_quarantine_once_more(passed: Settings, started: Start) -> None:
    (packet,) = make_packets(["ztf"], passed.schemas_path, 1, seed=991)
    lake = Lake(passed)
    folder = lake.table("quarantine") / "survey=ztf/night=20260309"
    folder.mkdir(parents=True, exist_ok=True)
    topic = load_survey(passed.schemas_path, "ztf").topic
    parts = kafka.end_offsets(passed, [topic])[topic]
    origin: dict[str, Any] = {"topic": topic, "partition": 0, "offset": parts[0] + 1_000_000, "timestamp": int(time.time() * 1000)}
    kind = pa.struct([("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()), ("timestamp", pa.int64())])
    table = pa.table({"origin": pa.array([origin], kind), "reason": ["unknown schema"], "value": pa.array([packet.value], pa.binary())})
    file = folder / "0000ffff-00000000-00000.parquet"
    pq.write_table(table, file)
    try:
        done = resend(passed, "ztf")
        assert (topic, 0, origin["offset"]) in done.sent
        spans = {topic: {0: (parts[0], parts[0])}}
        wait(passed, [started("night", "ztf")], spans)
        for name in ("raw", "science"):
            assert packet.alert_id in lake.scan(name, "ztf", ["alert_id"]).column("alert_id").to_pylist()
        assert not resend(passed, "ztf").sent
    finally:
        file.unlink()
