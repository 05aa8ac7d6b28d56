"""Kafka: how to connect, which topics exist, how far they reach; writing substreams and the quarantine."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from fink_broker.errors import StoreError, Unavailable
from fink_broker.log import Logger
from fink_broker.retry import retried

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient
    from pyspark.sql import DataFrame

    from fink_broker.settings import Settings

Cluster = Literal["input", "output"]
Origin = tuple[str, int, int]  # topic, partition, offset of the input
log = Logger("kafka")
DELIVERY_SECONDS = 60  # after which a message that Kafka does not take makes the batch fail, to run again
MESSAGE_BYTES = 16 << 20  # largest message that a substream topic takes [bytes]; packets with long histories reach megabytes


def client_config(settings: Settings, cluster: Cluster = "input") -> dict[str, Any]:
    """Options of librdkafka for one of the two clusters; its own log lines are dropped, errors come as exceptions."""
    options = {key: value for key, value in _connection(settings, cluster).items() if value}
    quiet = logging.getLogger("fink.librdkafka")
    if not quiet.handlers:
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
    timeout = str(int(settings.kafka.timeout_seconds * 1000))
    return {**options, "logger": quiet, "error_cb": _ignore, "socket.timeout.ms": timeout}


def producer_config(settings: Settings, **options: Any) -> dict[str, Any]:
    """Options of a producer of librdkafka for the input cluster that loses nothing and repeats nothing, with some of the caller's; large messages are taken.

    One request at a time: a partition that was just made may refuse the first request and take the second; Kafka, which knew
    nothing of the producer, then calls the first one, sent again, a duplicate, and it is confirmed without being there.
    """
    sure = {"acks": "all", "enable.idempotence": True, "max.in.flight": 1, "message.max.bytes": MESSAGE_BYTES}
    return {**client_config(settings), **sure, **{name.replace("_", "."): value for name, value in options.items()}}


def spark_options(settings: Settings, cluster: Cluster = "input") -> dict[str, str]:
    """Options of Spark's Kafka source and sink for one of the two clusters."""
    found = _connection(settings, cluster)
    options = {f"kafka.{name}": found[name] for name in ("bootstrap.servers", "security.protocol") if found[name]}
    if found["sasl.mechanism"]:
        kind = "plain.PlainLoginModule" if found["sasl.mechanism"] == "PLAIN" else "scram.ScramLoginModule"
        user, password = (found[name].replace("\\", "\\\\").replace('"', '\\"') for name in ("sasl.username", "sasl.password"))
        options["kafka.sasl.mechanism"] = found["sasl.mechanism"]
        options["kafka.sasl.jaas.config"] = f'org.apache.kafka.common.security.{kind} required username="{user}" password="{password}";'
    return options


def sink_options(settings: Settings) -> dict[str, str]:
    """Options of Spark's Kafka sink: as sure as a `producer_config`, for the cluster of substreams."""
    return {
        **spark_options(settings, "output"),
        "kafka.acks": "all",
        "kafka.enable.idempotence": "true",
        "kafka.max.in.flight.requests.per.connection": "1",
        "kafka.compression.type": settings.kafka.compression,
        "kafka.max.request.size": str(MESSAGE_BYTES),
        "kafka.batch.size": str(1 << 20),
        "kafka.linger.ms": "5",
        "kafka.buffer.memory": str(64 << 20),
        "kafka.max.block.ms": str(int(settings.kafka.timeout_seconds * 1000)),
        "kafka.delivery.timeout.ms": str(DELIVERY_SECONDS * 1000),
    }


def _connection(settings: Settings, cluster: Cluster) -> dict[str, str]:
    kafka = settings.kafka
    elsewhere = cluster == "output" and bool(kafka.output_servers)
    protocol = kafka.output_security_protocol if elsewhere else kafka.security_protocol
    sasl = protocol.startswith("SASL")
    return {
        "bootstrap.servers": settings.output_servers if cluster == "output" else settings.bootstrap_servers,
        "security.protocol": protocol,
        "sasl.mechanism": (kafka.sasl_mechanism or "SCRAM-SHA-512") if sasl else "",
        "sasl.username": kafka.sasl_username if sasl else "",
        "sasl.password": kafka.sasl_password.get_secret_value() if sasl else "",
    }


def _ignore(_error: object) -> None:
    """An error that librdkafka tells in passing; the call at hand raises it."""


def topics(settings: Settings, cluster: Cluster = "output") -> dict[str, int]:
    """Number of partitions of every topic of the cluster."""
    with _answering(settings, cluster):
        found = _admin(settings, cluster).list_topics(timeout=settings.kafka.timeout_seconds).topics
    return {name: len(topic.partitions) for name, topic in sorted(found.items())}


def cluster_id(settings: Settings, cluster: Cluster = "input") -> str:
    """Id of the cluster that answers at the address: another one may have taken a port since."""
    with _answering(settings, cluster):
        return str(_admin(settings, cluster).list_topics(timeout=settings.kafka.timeout_seconds).cluster_id or "")


def partitions(settings: Settings, names: Iterable[str]) -> dict[str, int]:
    """Number of partitions of substream topics; the configured number where one does not exist yet."""
    known = topics(settings)
    return {name: known.get(name) or settings.kafka.topic_partitions for name in names}


def ensure_topics(settings: Settings, names: Iterable[str], cluster: Cluster = "output") -> dict[str, int]:
    """Create the topics that are missing, leave the others as they are; returns the partitions of each."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    names = list(names)
    known = topics(settings, cluster)
    missing = [name for name in names if name not in known]
    if missing:
        kafka = settings.kafka
        config = {
            "retention.ms": str(int(kafka.retention_hours * 3_600_000)),
            "cleanup.policy": "delete",
            "max.message.bytes": str(MESSAGE_BYTES),
        }
        new = [NewTopic(name, kafka.topic_partitions, kafka.replication, config=config) for name in missing]
        with _answering(settings, cluster):
            admin = _admin(settings, cluster)  # must outlive its futures
            made = admin.create_topics(new, operation_timeout=kafka.timeout_seconds)
            for name, future in made.items():
                try:
                    future.result()
                except KafkaException as error:
                    if error.args[0].code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT):
                        raise
                    if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                        reason = error.args[0].str()
                        raise StoreError(f"topic {name} cannot be made: {reason}; see [kafka] in the settings") from error
        log.info("topics made", topics=",".join(missing), partitions=kafka.topic_partitions)
        known = topics(settings, cluster)
    return {name: known.get(name, settings.kafka.topic_partitions) for name in names}


def end_offsets(settings: Settings, names: Iterable[str], cluster: Cluster = "input") -> dict[str, dict[int, int]]:
    """Offset after the last record of each partition; nothing for a topic that does not exist."""
    return _offsets(settings, names, cluster, -1)


def start_offsets(settings: Settings, names: Iterable[str], cluster: Cluster = "input") -> dict[str, dict[int, int]]:
    """Offset of the first record that each partition still holds."""
    return _offsets(settings, names, cluster, -2)


def offsets_at(settings: Settings, names: Iterable[str], seconds: float) -> dict[str, dict[int, int]]:
    """Offset of the first record at or after a time [s since 1970] of each partition of the input; its end where there is none."""
    ends = end_offsets(settings, names)
    found = _offsets(settings, list(ends), "input", int(seconds * 1000))
    return {name: {part: offset if offset >= 0 else ends[name][part] for part, offset in parts.items()} for name, parts in found.items()}


def timestamp_at(settings: Settings, topic: str, partition: int, offset: int) -> float:
    """Kafka time [s since 1970] of the first record of the input at or after an offset; now when there is none."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**client_config(settings), "group.id": "fink-times", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, partition, offset)])
        record = consumer.poll(2.0)
        return time.time() if record is None or record.error() else record.timestamp()[1] / 1000
    finally:
        consumer.close()


def keys_at(settings: Settings, places: Iterable[Origin]) -> dict[Origin, bytes | None]:
    """Keys of records of the input, those that it still holds."""
    from confluent_kafka import Consumer, TopicPartition

    places = sorted(places)
    first = start_offsets(settings, {topic for topic, _, _ in places})
    last = end_offsets(settings, first)
    found: dict[Origin, bytes | None] = {}
    consumer = Consumer({**client_config(settings), "group.id": "fink-keys", "enable.auto.commit": False})
    try:
        for topic, part, offset in places:
            if first[topic].get(part, 0) <= offset < last[topic].get(part, 0):
                consumer.assign([TopicPartition(topic, part, offset)])
                record = consumer.poll(settings.kafka.timeout_seconds)
                if record is not None and not record.error() and record.offset() == offset:
                    key: Any = record.key()
                    found[topic, part, offset] = key
    finally:
        consumer.close()
    return found


def _offsets(settings: Settings, names: Iterable[str], cluster: Cluster, when: int) -> dict[str, dict[int, int]]:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

    kinds: Any = OffsetSpec
    spec = kinds.latest() if when == -1 else kinds.earliest() if when == -2 else kinds.for_timestamp(when)
    known = topics(settings, cluster)
    found: dict[str, dict[int, int]] = {name: {} for name in names}
    wanted = {TopicPartition(name, part): spec for name in found for part in range(known.get(name, 0))}

    def ask() -> None:
        with _answering(settings, cluster):
            admin = _admin(settings, cluster)  # has to live until it has answered
            asked = admin.list_offsets(wanted, request_timeout=settings.kafka.timeout_seconds)
            for place, future in asked.items():
                found[place.topic][place.partition] = future.result().offset

    if wanted:
        retried(ask, "Kafka offsets")
    return found


def topic_counts(settings: Settings, names: Iterable[str] | None = None) -> dict[str, int]:
    """Messages that substream topics hold now; without names, of all `fink_…` topics."""
    chosen = list(names) if names is not None else [name for name in topics(settings) if name.startswith("fink_")]
    first, last = start_offsets(settings, chosen, "output"), end_offsets(settings, chosen, "output")
    return {name: sum(last[name].values()) - sum(first[name].values()) for name in chosen}


def headers(settings: Settings, names: Iterable[str], since: float = 0.0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Topic and headers (text), with `timestamp` [ms] and `bytes`, of messages written since a time [s since 1970]."""
    from confluent_kafka import Consumer, TopicPartition

    names = list(names)
    last = end_offsets(settings, names, "output")
    first = _offsets(settings, names, "output", int(since * 1000)) if since > 0 else start_offsets(settings, names, "output")
    places = [TopicPartition(name, part, start) for name, parts in first.items() for part, start in parts.items() if 0 <= start < last[name][part]]
    left = {(place.topic, place.partition): last[place.topic][place.partition] for place in places}
    config = {**client_config(settings, "output"), "group.id": "fink-headers", "enable.auto.commit": False}
    consumer = Consumer({**config, "enable.partition.eof": False, "fetch.wait.max.ms": 50})
    try:
        consumer.assign(places)
        until = time.monotonic() + settings.kafka.timeout_seconds
        while left:
            batch = consumer.consume(1000, timeout=1.0)
            until = time.monotonic() + settings.kafka.timeout_seconds if batch else until
            if time.monotonic() > until:
                raise Unavailable(_unreachable(settings, "output"))
            for message in batch:
                if error := message.error():
                    raise StoreError(f"topic {message.topic()} cannot be read: {error.str()}")
                topic, part, offset = str(message.topic()), message.partition() or 0, message.offset() or 0
                if offset < left.get((topic, part), 0):
                    yield topic, _facts(message)
                if offset + 1 >= left.get((topic, part), 0):
                    left.pop((topic, part), None)
    finally:
        consumer.close()


def origin_of(message: dict[str, Any]) -> Origin | None:
    """Where in the input the alert of a message stood, by its headers (see `headers`); None for a message of somebody else's."""
    parts = str(message.get("origin", "")).split("|")
    return (parts[0], int(parts[1]), int(parts[2])) if len(parts) == 4 else None


def delay_of(message: dict[str, Any]) -> float:
    """Time from the input record to the message [s]."""
    return (message["timestamp"] - int(message["origin"].split("|")[3])) / 1000


def _facts(message: Any) -> dict[str, Any]:
    text = {name: (value or b"").decode() for name, value in message.headers() or []}
    return {**text, "timestamp": message.timestamp()[1], "bytes": len(message.value() or b"")}


def publish(frame: DataFrame, settings: Settings) -> None:
    """Write rows (topic, partition, key, value, headers) to the cluster of substreams; returns when all are acknowledged."""
    from py4j.protocol import Py4JJavaError

    try:
        frame.write.format("kafka").options(**sink_options(settings)).save()
    except Py4JJavaError as error:
        text = str(error.java_exception)
        if "org.apache.kafka.common.errors.TimeoutException" in text:
            told = re.search(r"Topic (\S+) not present|record\(s\) for (\S+)-\d+:", text)
            name = (told[1] or told[2]) if told else ""
            if name and name not in topics(settings):
                raise Unavailable(f"topic {name} was deleted while it was written to; it is made again, and the batch runs again") from error
            raise Unavailable(_unreachable(settings, "output")) from error
        raise


def quarantine_topic(survey: str) -> str:
    """Topic of a survey's bad packets; fink-client does not list such names."""
    return f"fink_{survey}_quarantine"


def publish_quarantine(frame: DataFrame, survey: str, settings: Settings) -> None:
    """Write bad packets (origin, reason, value) as they came, with origin and reason as headers."""
    origin = "concat_ws('|', origin.topic, origin.partition, origin.offset, origin.timestamp)"
    facts = {"origin": origin, "reason": "reason"}
    structs = ", ".join(f"named_struct('key', '{name}', 'value', cast({sql} as binary))" for name, sql in facts.items())
    topic = quarantine_topic(survey)
    ensure_topics(settings, [topic])
    publish(frame.selectExpr(f"'{topic}' topic", f"cast({origin} as binary) key", "value", f"array({structs}) headers"), settings)


def _admin(settings: Settings, cluster: Cluster) -> AdminClient:
    return _kept(tuple(client_config(settings, cluster).items()))


@lru_cache(maxsize=4)
def _kept(config: tuple[tuple[str, Any], ...]) -> AdminClient:
    """One client for each cluster: jobs ask something with every batch, and a new one takes up to 80 ms to get to know its broker."""
    from confluent_kafka.admin import AdminClient

    return AdminClient(dict(config))


class _answering:
    """Turns librdkafka's errors into ours."""

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self.settings, self.cluster = settings, cluster

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from confluent_kafka import KafkaError, KafkaException

        if not isinstance(error, KafkaException):
            return
        code = error.args[0].code()
        if code in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE):  # a topic that was just made, or a broker that just went
            raise Unavailable(f"Kafka is not ready: {error.args[0].str()}") from error
        if code in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE):
            raise Unavailable(_unreachable(self.settings, self.cluster)) from error
        raise StoreError(f"Kafka refused: {error.args[0].str()}; see [kafka] in the settings") from error


def _unreachable(settings: Settings, cluster: Cluster) -> str:
    address = settings.output_servers if cluster == "output" else settings.bootstrap_servers
    name = "output_servers" if cluster == "output" and settings.kafka.output_servers else "bootstrap_servers"
    start = "start the embedded one with `fink up`" if not getattr(settings.kafka, name) else "check that it runs"
    return (
        f"Kafka at {address} did not answer within {settings.kafka.timeout_seconds:g} s; {start}, or set [kafka] {name} (FINK_KAFKA__{name.upper()}=HOST:PORT)"
    )
