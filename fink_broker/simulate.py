"""Sends packets into Kafka as a survey would: in time order, keyed by object, at a rate or visit by visit."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from fink_broker import kafka
from fink_broker.errors import ConfigError, StoreError, Unavailable
from fink_broker.replay import Packet, Reader, Say, dig
from fink_broker.settings import Settings
from fink_broker.survey import load_surveys
from fink_broker.testing import encode, make_alerts

__all__ = ["Packet", "Rhythm", "Sent", "dig", "make_packets", "read_alerts", "send"]

Spans = dict[str, dict[int, tuple[int, int]]]


@dataclass
class Sent:
    """What Kafka confirmed: number of packets, and first and last offset by survey, topic and partition."""

    number: int = 0
    by_survey: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, Spans] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def spans(self, survey: str) -> Spans:
        """First and last offset (both included) of a survey's packets, by topic and partition."""
        with self.lock:
            return {topic: dict(parts) for topic, parts in self.offsets.get(survey, {}).items()}

    def confirm(self, survey: str, topic: str, partition: int, offset: int) -> None:
        """One packet is in Kafka."""
        with self.lock:
            self.number += 1
            self.by_survey[survey] = self.by_survey.get(survey, 0) + 1
            parts = self.offsets.setdefault(survey, {}).setdefault(topic, {})
            first, last = parts.get(partition, (offset, offset))
            parts[partition] = (min(first, offset), max(last, offset))


@dataclass(frozen=True)
class Rhythm:
    """When packets are sent: at a rate, or so many a visit ("observation") with a pause between visits."""

    rate: float | None = None  # alerts a second; None: as fast as possible
    per_observation: int | None = None
    observations: int = -1  # -1: all there are
    interval_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.rate is not None and self.rate <= 0:
            raise ConfigError(f"rate is {self.rate}; expected more than 0 alerts per second, or none for as fast as possible")
        if self.per_observation is not None and self.per_observation < 1:
            raise ConfigError(f"alerts per observation is {self.per_observation}; expected 1 or more")
        if self.observations < 1 and self.observations != -1:
            raise ConfigError(f"observations is {self.observations}; expected 1 or more, or -1 for all")


def make_packets(surveys: Sequence[str], schemas: Path, number: int | None, seed: int, kinds: Sequence[str] | None = None) -> Iterator[Packet]:
    """Made-up packets of several surveys in turn; `number` is the total."""
    about = load_surveys(schemas)
    if unknown := [name for name in surveys if name not in about]:
        raise ConfigError(f"no survey named '{unknown[0]}'; known: {', '.join(about)}")
    streams = [make_alerts(name, None, seed, kinds=kinds, schemas=schemas) for name in surveys]

    def turns() -> Iterator[Packet]:
        while True:
            for name, stream in zip(surveys, streams, strict=True):
                made = next(stream)
                value = encode(about[name], made.packet)
                yield Packet(name, value, made.alert_id, made.object_id, made.mjd, made.packet)

    return islice(turns(), number) if number is not None else turns()


def read_alerts(paths: Sequence[Path], schemas: Path, say: Say = print, surveys: Sequence[str] | None = None, keep: bool = False) -> Iterator[Packet]:
    """Packets of alert files, in time order; see replay.Reader."""
    return Reader(schemas, say, keep).read(paths, surveys)


def send(
    settings: Settings,
    packets: Iterable[Packet],
    rate: float | None = None,
    number: int | None = None,
    into: Sent | None = None,
    rhythm: Rhythm | None = None,
    topics: dict[str, str] | None = None,
    display: str | None = None,
    tell: Callable[[dict[str, Any]], None] | None = None,
) -> Sent:
    """Send packets to their surveys' topics and wait until Kafka has confirmed each; StoreError when it refused one.

    `tell` gets an event (dict) at the start, for each observation and at the end.
    """
    from confluent_kafka import Producer

    rhythm = rhythm or Rhythm(rate)
    sent, tell = into or Sent(), tell or (lambda event: None)
    names = {name: (topics or {}).get(name, about.topic) for name, about in load_surveys(settings.schemas_path).items()}
    producer = Producer({**kafka.client_config(settings), "acks": "all", "enable.idempotence": True, "linger.ms": 20,
                         "compression.type": "none", "message.max.bytes": kafka.MESSAGE_BYTES, "queue.buffering.max.kbytes": 131072,
                         "partitioner": "murmur2_random", "delivery.timeout.ms": 120000})  # fmt: skip
    made: set[str] = set()
    chosen = islice(packets, number) if number is not None else iter(packets)
    for group, start in _observations(chosen, rhythm, tell):
        shown: list[Any] = []
        place = -1
        for place, packet in enumerate(group):
            topic = names[packet.survey]
            if topic not in made:
                kafka.ensure_topics(settings, [topic], "input")
                made.add(topic)
            _wait(start, place, rhythm)
            if display:
                shown = [*shown[:1], dig(packet.display, display.replace(",", "."))]
            _produce(producer, settings, topic, packet, sent)
        producer.poll(0)
        if rhythm.per_observation:
            shown_text = f" ({shown[0]} to {shown[-1]})" if shown else ""
            tell({"event": "observation done", "sent": place + 1, "text": f"{place + 1} alerts sent{shown_text}"})
    if left := producer.flush(60):
        raise Unavailable(f"{left} alerts were not confirmed by Kafka at {settings.bootstrap_servers}; check that it runs, then send them again")
    if sent.failed:
        raise StoreError(f"Kafka refused {len(sent.failed)} alerts: {sent.failed[0]}; check the topic's max.message.bytes")
    tell({"event": "all sent", "sent": sent.number, **sent.by_survey})
    return sent


def _observations(packets: Iterator[Packet], rhythm: Rhythm, tell: Callable[[dict[str, Any]], None]) -> Iterator[tuple[Iterable[Packet], float]]:
    if rhythm.per_observation is None:
        yield packets, time.time()
        return
    begin = time.time()
    first = begin + rhythm.interval_seconds - begin % rhythm.interval_seconds if rhythm.interval_seconds else begin
    done = 0
    while rhythm.observations == -1 or done < rhythm.observations:
        group = list(islice(packets, rhythm.per_observation))
        if not group:
            if rhythm.observations > 0:
                tell({"event": "fewer alerts than asked for", "observations": done, "asked": rhythm.observations})
            return
        start = first + done * rhythm.interval_seconds
        time.sleep(max(0.0, start - time.time()))
        tell({"event": "observation starts", "observation": done + 1, "offset_seconds": round(start - begin, 3), "alerts": len(group)})
        yield group, start
        done += 1


def _wait(start: float, place: int, rhythm: Rhythm) -> None:
    if rhythm.rate and rhythm.per_observation is None:
        ahead = start + place / rhythm.rate - time.time()
        if ahead > 0.001:
            time.sleep(ahead)


def _produce(producer: Any, settings: Settings, topic: str, packet: Packet, sent: Sent) -> None:
    def confirmed(error: Any, message: Any) -> None:
        if error is not None:
            sent.failed.append(f"{packet.alert_id or 'an alert'}: {error.str()}")
        else:
            sent.confirm(packet.survey, message.topic(), message.partition(), message.offset())

    until = time.time() + max(60.0, settings.kafka.timeout_seconds)
    while True:
        try:
            producer.produce(topic, packet.value, packet.object_id.encode() or None, on_delivery=confirmed)
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.2)
            if time.time() > until:
                raise Unavailable(f"Kafka at {settings.bootstrap_servers} takes no alerts; check that it runs") from None


def as_line(event: dict[str, Any]) -> str:
    """An event of `send` for a reader."""
    text = event.get("text") or event["event"]
    rest = ", ".join(f"{key} {value}" for key, value in event.items() if key not in ("event", "text", "sent" if "text" in event else ""))
    return f"{text}{': ' if rest else ''}{rest}"


def as_json(event: dict[str, Any]) -> str:
    """The same as one JSON object."""
    return json.dumps({**event, "time": round(time.time(), 3)}, default=str)
