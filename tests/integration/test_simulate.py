"""Alerts reach a real Kafka: all of them, in time order for each object, at the rate asked for."""

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from fink_broker import kafka
from fink_broker.cli import app, mount
from fink_broker.errors import StoreError, Unavailable
from fink_broker.settings import Settings, load
from fink_broker.simulate import Packet, Rhythm, make_packets, send
from fink_broker.testing import encode, make_alerts

pytestmark = pytest.mark.integration
RUNNER = CliRunner()


def received(settings: Settings, topic: str) -> list[Any]:
    """All records of a topic, each partition in its order."""
    ends = kafka.end_offsets(settings, [topic])[topic]
    consumer = Consumer({**kafka.client_config(settings), "group.id": "test-simulate", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, part, 0) for part in ends])
    found: list[Any] = []
    until = time.monotonic() + 30
    while len(found) < sum(ends.values()) and time.monotonic() < until:
        found += [message for message in consumer.consume(500, timeout=1) if not message.error()]
    consumer.close()
    return found


def test_every_alert_arrives_once_keyed_by_object(settings: Settings) -> None:
    packets = list(make_packets(["ztf"], settings.schemas_path, 120, 71))
    before = time.time()
    sent = send(settings, packets, topics={"ztf": "simulated_once"})
    assert sent.number == 120
    assert sent.by_survey == {"ztf": 120}
    messages = received(settings, "simulated_once")
    assert sorted(message.value() for message in messages) == sorted(packet.value for packet in packets)
    partitions: dict[bytes, set[int]] = {}
    for message in messages:
        partitions.setdefault(message.key(), set()).add(message.partition())
        assert before - 1 < message.timestamp()[1] / 1000 < time.time() + 1
    assert all(len(found) == 1 for found in partitions.values())
    assert set(partitions) == {packet.object_id.encode() for packet in packets}
    order = {packet.value: place for place, packet in enumerate(packets)}
    for part in {message.partition() for message in messages}:
        places = [order[message.value()] for message in messages if message.partition() == part]
        assert places == sorted(places)
    spans = sent.spans("ztf")["simulated_once"]
    assert sum(last - first + 1 for first, last in spans.values()) == 120


def test_the_rate_is_kept_evenly(settings: Settings) -> None:
    packets = list(make_packets(["elasticc"], settings.schemas_path, 60, 72))
    started = time.monotonic()
    send(settings, packets, rate=40.0, topics={"elasticc": "simulated_rate"})
    assert 1.3 < time.monotonic() - started < 6
    times = sorted(message.timestamp()[1] for message in received(settings, "simulated_rate"))
    assert max(later - earlier for earlier, later in zip(times, times[1:], strict=False)) < 1000
    assert times[-1] - times[0] > 1300


def test_observations_start_at_multiples_of_the_interval(settings: Settings) -> None:
    events: list[dict[str, Any]] = []
    packets = make_packets(["elasticc"], settings.schemas_path, 9, 73)
    rhythm = Rhythm(per_observation=4, observations=3, interval_seconds=1.0)
    sent = send(settings, packets, rhythm=rhythm, topics={"elasticc": "simulated_visits"}, display="diaSource,midPointTai", tell=events.append)
    assert sent.number == 9
    starts = [event for event in events if event["event"] == "observation starts"]
    assert [event["alerts"] for event in starts] == [4, 4, 1]
    assert 0 <= starts[0]["offset_seconds"] < 1.5
    done = [event for event in events if event["event"] == "observation done"]
    assert [event["sent"] for event in done] == [4, 4, 1]
    assert all(isinstance(part, float) for event in done for part in event["first_to_last"])
    assert len(done[-1]["first_to_last"]) == 1
    assert events[-1] == {"event": "all sent", "sent": 9, "elasticc": 9, "seconds": events[-1]["seconds"]}
    seconds = sorted(message.timestamp()[1] // 1000 for message in received(settings, "simulated_visits"))
    assert len(set(seconds)) >= 3


def test_a_refused_alert_and_an_unreachable_kafka_are_told(settings: Settings, home: Path) -> None:
    big = Packet("ztf", b"x" * (kafka.MESSAGE_BYTES + 1000), "17")
    with pytest.raises(StoreError, match=r"refused|size"):
        send(settings, [big], topics={"ztf": "simulated_big"})
    nowhere = load(options={"broker": {"home": str(home)}, "kafka": {"bootstrap_servers": "127.0.0.1:1", "timeout_seconds": 1}})
    with pytest.raises(Unavailable, match="Kafka at 127.0.0.1:1 did not answer"):
        send(nowhere, [Packet("ztf", b"x")])


def test_the_command(settings: Settings, tmp_path: Path) -> None:
    if not app.registered_commands:
        mount()
    for place, made in enumerate(make_alerts("ztf", 5, seed=74)):
        (tmp_path / f"{9 - place}.avro").write_bytes(encode("ztf", made.packet))
    (tmp_path / "read.me").write_text("no alert")
    run = ["--home", str(settings.home), "simulate", str(tmp_path), "--topic", "simulated_files", "--partitions", "2"]
    options = ["--alerts-per-observation", "2", "--observations", "9", "--interval", "0", "--display", "candidate.jd", "--json-lines"]
    done = RUNNER.invoke(app, [*run, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    plan = next(event for event in events if event["event"] == "simulation")
    assert (plan["available"], plan["to_send"], plan["observations"]) == (5, 5, 3)
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert notes == [
        "1 files skipped: .me is not read",
        "18 alerts were asked for, but there are only 5: reduced to 5",
        "the last observation has 1 alerts instead of 2",
    ]
    shown = [part for event in events if event["event"] == "observation done" for part in event["first_to_last"]]
    assert shown == sorted(shown)
    assert len(received(settings, "simulated_files")) == 5
    assert kafka.topics(settings, "input")["simulated_files"] == 2
    made_up = RUNNER.invoke(app, [*run[:3], "--number", "3", "--rate", "100", "--topic", "simulated_files", "--kind", "asteroid"], catch_exceptions=False)
    assert made_up.exit_code == 0, made_up.output
    assert "available 3, to send 3" in made_up.stdout
    assert len(received(settings, "simulated_files")) == 8
    missing = RUNNER.invoke(app, [*run, "--display", "candidate.none"], catch_exceptions=False)
    assert "no alert has a field candidate.none" in missing.output


def test_the_simulated_sky(settings: Settings, tmp_path: Path) -> None:
    if not app.registered_commands:
        mount()
    run = ["--home", str(settings.home), "simulate", "--sky", "--survey", "ztf", "--number", "30", "--topic", "simulated_sky", "--mix", "SN Ia=1,agn=1"]
    done = RUNNER.invoke(app, [*run, "--truth", str(tmp_path / "truth.parquet"), "--night", "2026-02-03"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "alerts simulated sky" in done.stdout
    assert len(received(settings, "simulated_sky")) == 30
    truth = pd.read_parquet(tmp_path / "truth.parquet")
    assert set(truth["label"]) == {"SN Ia", "AGN"}
    assert truth["mjd"].between(61074, 61078).all()
    refused = RUNNER.invoke(app, [*run[:4], "--kind", "bogus"])
    assert "--mix instead of --kind" in str(refused.exception)
