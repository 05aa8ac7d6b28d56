"""Substreams through a real Kafka: topics, order, positions, and readers other than fink-client."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
import typer
from typer.testing import CliRunner

from fink_broker import client, kafka
from fink_broker.cli.listen import listen
from fink_broker.errors import NotFound, StoreError, Unavailable
from fink_broker.settings import Settings
from tests.integration.substreams import Substreams, at, published

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=["ztf", "lsst", "elasticc", "lsst table"])
def sent(request: pytest.FixtureRequest, spark: SparkSession, settings: Settings) -> Substreams:
    survey, _, table = request.param.partition(" ")
    return published(spark, settings, survey, table=bool(table))


def same(sent: Any, found: Any) -> bool:
    """Whether a value arrived: floats to their 32 bits, all else exactly; more columns may be there."""
    if isinstance(sent, dict):
        return isinstance(found, dict) and all(same(value, found[name]) for name, value in sent.items())
    if isinstance(sent, list):
        return isinstance(found, list) and len(found) == len(sent) and all(map(same, sent, found))
    if isinstance(sent, float):
        return found == pytest.approx(sent, rel=1e-6, nan_ok=True)
    if hasattr(sent, "timestamp"):
        return bool(found == round(sent.timestamp() * 1e6))
    return bool(found == sent and isinstance(found, bytes | str) == isinstance(sent, bytes | str))


def test_every_alert_arrives_complete(sent: Substreams, settings: Settings) -> None:
    whole, lite = sent.filters
    found = {alert.id: alert for alert in client.listen(whole, settings.output_servers, limit=len(sent.alerts), timeout=20)}
    assert set(found) == set(sent.alerts)
    for number, made in sent.alerts.items():
        alert = found[number]
        assert [name for name, value in made.packet.items() if not same(value, alert[name])] == []
        for path in sent.survey.cutout_paths.values():
            assert at(alert, path) == at(made.packet, path)
        assert alert["neutral"]["survey"] == sent.survey.name
        assert alert["provenance"] == {"broker": "test"}
    assert kafka.topic_counts(settings, [whole]) == {whole: len(found)}
    some = list(client.listen(lite, settings.output_servers, timeout=3))
    assert 0 < len(some) < len(found)
    assert not set(some[0]) & {path.split(".")[0] for path in sent.survey.cutout_paths.values()}


def test_an_objects_messages_are_in_order(sent: Substreams, settings: Settings) -> None:
    last: dict[str, float] = {}
    for alert in client.listen(next(iter(sent.filters)), settings.output_servers, limit=len(sent.alerts), timeout=20):
        neutral = alert["neutral"]
        who = neutral["object_id"] or neutral["ss_object_id"] or neutral["alert_id"]
        assert neutral["mjd"] >= last.get(who, 0.0)
        last[who] = neutral["mjd"]


def test_headers_lead_back_to_the_input(sent: Substreams, settings: Settings) -> None:
    whole = next(iter(sent.filters))
    origins = set()
    for topic, facts in kafka.headers(settings, [whole]):
        assert topic == whole
        assert facts["filter_version"] == sent.filters[whole].version
        assert facts["alert_id"] in sent.alerts
        assert facts["bytes"] > 100
        assert facts["timestamp"] > 1_700_000_000_000
        origins.add(facts["origin"].rsplit("|", 1)[0])
    assert origins == {f"{sent.survey.topic}|0|{number}" for number in range(len(sent.alerts))}
    assert list(kafka.headers(settings, [whole], since=4_000_000_000.0)) == []


def test_a_plain_consumer_needs_nothing_of_ours(sent: Substreams, settings: Settings, tmp_path: Path) -> None:
    """A new group, earliest offset, 5 s without an answer: null; else decoded by the key, saved, printed."""
    from confluent_kafka import Consumer

    def poll_one(topic: str) -> Any:
        consumer = Consumer({"bootstrap.servers": settings.output_servers, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"})
        consumer.subscribe([topic])
        got = consumer.poll(5.0)
        consumer.close()
        return got

    got = poll_one(next(iter(sent.filters)))
    schema = fastavro.parse_schema(json.loads(got.key()))
    alert = fastavro.schemaless_reader(io.BytesIO(got.value()), schema, None)
    assert isinstance(alert, dict)
    path = tmp_path / "alert.avro"
    with path.open("wb") as file:
        fastavro.writer(file, schema, [alert])
    with path.open("rb") as file:
        again = list(fastavro.reader(file))
    assert json.dumps(again, default=str) == json.dumps([alert], default=str)
    text = json.dumps(alert, indent=2, sort_keys=True, default=lambda value: f"({len(value)} bytes)")
    assert json.loads(text)["neutral"]["survey"] == sent.survey.name
    empty = f"fink_t{uuid.uuid4().hex[:8]}_{sent.survey.name}"
    kafka.ensure_topics(settings, [empty])
    assert poll_one(empty) is None


def test_a_light_curve_is_drawn_a_band(sent: Substreams, settings: Settings, tmp_path: Path) -> None:
    alerts = list(client.listen(next(iter(sent.filters)), settings.output_servers, limit=len(sent.alerts), timeout=20))
    alert = max(alerts, key=lambda alert: len(alert.light_curve()))
    assert {point.band for point in alert.light_curve()} <= set(sent.survey.bands)
    assert alert.plot(tmp_path / "curve.png").stat().st_size > 10_000


def test_fink_listen_prints_saves_and_draws(sent: Substreams, settings: Settings, tmp_path: Path) -> None:
    app, run = typer.Typer(), CliRunner()
    app.command()(listen)
    topic = next(iter(sent.filters))
    common = [topic, "--servers", settings.output_servers, "--timeout", "20"]
    lines = run.invoke(app, [*common, "--limit", "3", "--save", str(tmp_path), "--plot", str(tmp_path)], obj=settings, catch_exceptions=False)
    assert lines.exit_code == 0
    assert lines.stdout.count(topic) == 3
    assert (len(list(tmp_path.glob("*.avro"))), len(list(tmp_path.glob("*.png")))) == (3, 3)
    whole = run.invoke(app, [*common, "--limit", "1", "--json"], obj=settings, catch_exceptions=False)
    assert json.loads(whole.stdout)["neutral"]["survey"] == sent.survey.name


def test_topics_that_exist_stay_as_they_are(settings: Settings) -> None:
    name = f"fink_t{uuid.uuid4().hex[:8]}_ztf"
    assert kafka.ensure_topics(settings, [name]) == {name: settings.kafka.topic_partitions}
    more = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"topic_partitions": 9})})
    assert kafka.ensure_topics(more, [name, f"{name}2"]) == {name: settings.kafka.topic_partitions, f"{name}2": 9}
    assert kafka.partitions(settings, [name, f"{name}3"]) == {
        name: settings.kafka.topic_partitions,
        f"{name}3": settings.kafka.topic_partitions,
    }
    assert kafka.end_offsets(settings, [name, f"{name}3"], "output") == {
        name: dict.fromkeys(range(settings.kafka.topic_partitions), 0),
        f"{name}3": {},
    }
    with pytest.raises(StoreError, match="cannot be made"):
        kafka.ensure_topics(settings, ["not/a topic"])


def test_a_topic_that_does_not_exist_is_named_with_those_that_do(sent: Substreams, settings: Settings) -> None:
    topic = next(iter(sent.filters))
    with pytest.raises(NotFound, match=f"no topic '{topic}x' at .*; did you mean '{topic}'\\? topics there: fink_"):
        next(client.listen(f"{topic}x", settings.output_servers))


def test_a_group_goes_on_where_it_stopped(sent: Substreams, settings: Settings) -> None:
    topic, group = next(iter(sent.filters)), uuid.uuid4().hex
    first = [alert.id for alert in client.listen(topic, settings.output_servers, group=group, limit=5, timeout=20)]
    rest = [alert.id for alert in client.listen(topic, settings.output_servers, group=group, timeout=5)]
    assert len(first) == 5
    assert set(first) | set(rest) == set(sent.alerts)
    assert len(rest) < len(sent.alerts)


def test_bad_packets_are_published_as_they_came(spark: SparkSession, settings: Settings) -> None:
    rows = [({"topic": "ztf_alerts", "partition": 1, "offset": 5, "timestamp": 7}, "truncated", b"\x00bad")]
    layout = "origin struct<topic:string,partition:int,offset:bigint,timestamp:bigint>, reason string, value binary"
    kafka.publish_quarantine(spark.createDataFrame(rows, layout), "ztf", settings)  # type: ignore[type-var]
    facts = [facts for _, facts in kafka.headers(settings, [kafka.quarantine_topic("ztf")])]
    own = [(fact["reason"], fact["bytes"]) for fact in facts if fact["origin"] == "ztf_alerts|1|5|7"]
    assert own == [("truncated", 4)]


def test_publishing_to_nobody_says_so(sent: Substreams, settings: Settings) -> None:
    wrong = {"bootstrap_servers": "127.0.0.1:1", "timeout_seconds": 1.0}
    broken = settings.model_copy(update={"kafka": settings.kafka.model_copy(update=wrong)})
    row = sent.rows.selectExpr("'fink_x_ztf' topic", "cast('x' as binary) value").limit(1)
    with pytest.raises(Unavailable, match=r"Kafka at 127\.0\.0\.1:1 did not answer within 1 s"):
        kafka.publish(row, broken)
