"""Kafka: options of the two clients, and what is said when it is not there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from fink_broker import kafka
from fink_broker.errors import ConfigError, StoreError, Unavailable
from fink_broker.settings import Settings, load

if TYPE_CHECKING:
    pass


def made(**options: Any) -> Settings:
    return load(options={"broker": {"home": "/nonexistent"}, "kafka": {"timeout_seconds": 1, **options}})


@pytest.fixture
def nobody() -> str:
    """An address where nothing listens."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{place.getsockname()[1]}"


def test_plain_connections_need_no_more_than_an_address() -> None:
    settings = made(bootstrap_servers="one:9092")
    found = kafka.client_config(settings)
    assert found["bootstrap.servers"] == "one:9092"
    assert "sasl.mechanism" not in found
    assert kafka.spark_options(settings) == {"kafka.bootstrap.servers": "one:9092", "kafka.security.protocol": "PLAINTEXT"}


def test_a_producer_sends_one_request_at_a_time() -> None:
    found = kafka.producer_config(made(bootstrap_servers="one:9092"), linger_ms=20)
    wanted = {"bootstrap.servers": "one:9092", "max.in.flight": 1, "enable.idempotence": True, "acks": "all", "linger.ms": 20}
    assert {name: found[name] for name in wanted} == wanted
    sink = kafka.sink_options(made(bootstrap_servers="one:9092", output_servers="two:9092"))
    assert sink["kafka.bootstrap.servers"] == "two:9092"
    assert (sink["kafka.max.in.flight.requests.per.connection"], sink["kafka.enable.idempotence"], sink["kafka.acks"]) == ("1", "true", "all")


def test_sasl_reaches_both_clients() -> None:
    settings = made(bootstrap_servers="one:9092", security_protocol="SASL_SSL", sasl_username="me", sasl_password='a"b\\c')
    found = kafka.client_config(settings)
    assert (found["sasl.mechanism"], found["sasl.username"], found["sasl.password"]) == ("SCRAM-SHA-512", "me", 'a"b\\c')
    options = kafka.spark_options(settings)
    assert options["kafka.sasl.mechanism"] == "SCRAM-SHA-512"
    assert options["kafka.sasl.jaas.config"].endswith('ScramLoginModule required username="me" password="a\\"b\\\\c";')
    assert 'a"b' not in repr(settings)
    plain = made(bootstrap_servers="x:1", security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="me", sasl_password="p")
    assert "plain.PlainLoginModule" in kafka.spark_options(plain)["kafka.sasl.jaas.config"]


def test_substreams_may_go_to_another_cluster() -> None:
    settings = made(bootstrap_servers="one:9092", security_protocol="SASL_SSL", sasl_username="me", output_servers="two:9092")
    assert kafka.spark_options(settings, "output") == {
        "kafka.bootstrap.servers": "two:9092",
        "kafka.security.protocol": "PLAINTEXT",
    }
    same = made(bootstrap_servers="one:9092", security_protocol="SSL")
    assert kafka.spark_options(same, "output") == kafka.spark_options(same)


def test_no_kafka_at_all_says_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match="start one with `fink up` or set FINK_KAFKA__BOOTSTRAP_SERVERS=HOST:PORT"):
        kafka.topics(made())


def test_a_silent_kafka_is_named_with_what_to_do(nobody: str, capfd: pytest.CaptureFixture[str]) -> None:
    settings = made(bootstrap_servers=nobody)
    for call in (
        lambda: kafka.topics(settings),
        lambda: kafka.ensure_topics(settings, ["fink_a_ztf"]),
        lambda: kafka.end_offsets(settings, ["fink_a_ztf"]),
        lambda: list(kafka.headers(settings, ["fink_a_ztf"])),
    ):
        with pytest.raises(Unavailable) as refused:
            call()
        assert str(refused.value) == (
            f"Kafka at {nobody} did not answer within 1 s; check that it runs, or set [kafka] bootstrap_servers (FINK_KAFKA__BOOTSTRAP_SERVERS=HOST:PORT)"
        )
        assert isinstance(refused.value, StoreError)
    assert capfd.readouterr() == ("", "")  # librdkafka's own lines are not for users


def test_what_may_pass_is_told_from_what_may_not() -> None:
    for code, kind in (
        (KafkaError.NOT_LEADER_FOR_PARTITION, Unavailable),
        (KafkaError.LEADER_NOT_AVAILABLE, Unavailable),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, StoreError),
    ):
        with pytest.raises(StoreError) as refused, kafka._answering(made(bootstrap_servers="one:9092"), "input"):
            raise KafkaException(KafkaError(code))
        assert type(refused.value) is kind


def test_the_quarantine_is_not_listed_by_fink_client() -> None:
    assert kafka.quarantine_topic("ztf").startswith("fink_ztf_")
