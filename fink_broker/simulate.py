"""Sends packets into Kafka as a survey would: in time order, keyed by object, at a rate or visit by visit."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from fink_broker import kafka
from fink_broker.errors import ConfigError, StoreError, Unavailable
from fink_broker.replay import Reader, Say, dig
from fink_broker.settings import Settings
from fink_broker.spool import Packet, Spool
from fink_broker.survey import Survey, load_surveys
from fink_broker.testing import START_MJD, MadeAlert, encode, make_alerts

__all__ = ["Packet", "Plan", "Rhythm", "Sent", "dig", "make_packets", "make_sky_packets", "plan", "read_alerts", "recent_mjd", "repeated", "send"]

Spans = dict[str, dict[int, tuple[int, int]]]
Tell = Callable[[dict[str, Any]], None]
STALLED_SECONDS = 60.0  # how long a full queue is waited for
RECENT_DAYS = 5  # four nights lie between
MJD_ORDINAL = 678576  # date.toordinal() of MJD 0


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
    """When packets are sent: at a rate, or so many a visit ("observation") with a time between the starts of visits; or both."""

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
        if self.observations != -1 and self.per_observation is None:
            raise ConfigError(f"observations is {self.observations}, but alerts per observation is not set; set both, or a rate alone")
        if self.interval_seconds < 0:
            raise ConfigError(f"interval is {self.interval_seconds}; expected 0 s or more between the starts of observations")


@dataclass(frozen=True)
class Plan:
    """What will be sent of what there is; None: without end."""

    available: int | None
    to_send: int | None
    observations: int | None
    notes: tuple[str, ...] = ()


def plan(available: int | None, number: int | None, rhythm: Rhythm) -> Plan:
    """How many alerts and observations a simulation will really send, with a note where that is less than asked for."""
    each, notes = rhythm.per_observation, []
    asked = each * rhythm.observations if each and rhythm.observations != -1 else None
    asked = number if asked is None else asked if number is None else min(asked, number)
    to_send = available if asked is None else asked if available is None else min(asked, available)
    if available is not None and asked is not None and available < asked:
        notes.append(f"{asked} alerts were asked for, but there are only {available}: reduced to {available}")
    visits = -(-to_send // each) if each and to_send is not None else None
    if each and to_send and to_send % each:
        notes.append(f"the last observation has {to_send % each} alerts instead of {each}")
    return Plan(available, to_send, visits, tuple(notes))


def recent_mjd() -> float:
    """Start of the day RECENT_DAYS ago [d], for made-up alerts whose first nights are the last ones."""
    return float(datetime.now(UTC).date().toordinal() - MJD_ORDINAL - RECENT_DAYS)


def make_packets(
    surveys: Sequence[str], schemas: Path, number: int | None, seed: int, kinds: Sequence[str] | None = None, start_mjd: float = START_MJD
) -> Iterator[Packet]:
    """Made-up packets of several surveys in turn; `number` is the total, None for a stream without end; `start_mjd` as for make_alerts."""
    about = _known(surveys, schemas)
    parts = [None] * len(surveys) if number is None else shares(number, len(surveys))
    return in_turn([encoded(about[name], make_alerts(name, part, seed, start_mjd, kinds, schemas)) for name, part in zip(surveys, parts, strict=True)])


def make_sky_packets(surveys: Sequence[str], schemas: Path, campaign: Mapping[str, Any], truth: Path | None = None) -> Iterator[Packet]:
    """Packets of the simulated sky, several surveys in turn; `campaign` as skysim's Campaign takes it, `number` in all; `truth` is written as Parquet."""
    from fink_broker.skysim.stream import planned, sky_packets

    _known(surveys, schemas)
    return sky_packets(planned(surveys, schemas, campaign), schemas, truth)


def _known(surveys: Sequence[str], schemas: Path) -> dict[str, Survey]:
    about = load_surveys(schemas)
    if unknown := [name for name in surveys if name not in about]:
        raise ConfigError(f"no survey named '{unknown[0]}'; known: {', '.join(about)}")
    return about


def shares(number: int, parts: int) -> list[int]:
    """A number in whole parts, as alike as can be."""
    return [number // parts + (place < number % parts) for place in range(parts)]


def encoded(about: Survey, alerts: Iterable[MadeAlert], note: Callable[[MadeAlert], None] | None = None, chunk: int | None = None) -> Iterator[Packet]:
    """Alerts as packets; `note` is told of each."""
    for made in alerts:
        if note:
            note(made)
        yield Packet(about.name, encode(about, made.packet), made.alert_id, made.object_id, made.mjd, made.packet, chunk)


def in_turn(streams: Sequence[Iterator[Packet]]) -> Iterator[Packet]:
    """A packet of each stream in turn, until all are at their end."""
    running = list(streams)
    while running:
        for stream in list(running):
            packet = next(stream, None)
            if packet is None:
                running.remove(stream)
            else:
                yield packet


def read_alerts(paths: Sequence[Path], schemas: Path, say: Say = print, surveys: Sequence[str] | None = None, display: str | None = None) -> Spool:
    """Packets of alert files, in time order; see replay.Reader."""
    return Reader(schemas, say, display=display).read(paths, surveys)


def repeated(packets: Iterable[Packet]) -> Iterator[Packet]:
    """The same packets again and again; the broker takes all but the first round for duplicates."""
    while True:
        yield from packets


def send(
    settings: Settings,
    packets: Iterable[Packet],
    rate: float | None = None,
    number: int | None = None,
    into: Sent | None = None,
    rhythm: Rhythm | None = None,
    topics: dict[str, str] | None = None,
    display: str | None = None,
    tell: Tell | None = None,
) -> Sent:
    """Send packets to their surveys' topics and wait until Kafka has confirmed each; StoreError when it refused one.

    `topics` replaces the topic of a survey; `tell` gets an event (dict) at the start, for each observation and at the end.
    """
    sender = _Sender(settings, rhythm or Rhythm(rate), into or Sent(), topics or {}, display, tell or (lambda event: None))
    sender.send(islice(packets, number) if number is not None else iter(packets))
    return sender.sent


class _Sender:
    """A producer and what it needs to know while it sends."""

    def __init__(self, settings: Settings, rhythm: Rhythm, sent: Sent, topics: dict[str, str], display: str | None, tell: Tell) -> None:
        from confluent_kafka import Producer

        self.settings, self.rhythm, self.sent, self.tell = settings, rhythm, sent, tell
        self.display = display.replace(",", ".") if display else None
        self.topics = {name: topics.get(name, about.topic) for name, about in load_surveys(settings.schemas_path).items()}
        self.made: set[str] = set()
        self.chunk: dict[str, int | None] = {}  # of the last packet of a survey
        self.taken: Counter[tuple[str, str, int]] = Counter()  # survey, topic, partition of what Kafka has
        self.unplaced: Counter[tuple[str, str, int]] = Counter()  # the same of what it has without having said at which offset
        options = {"linger_ms": 20, "compression_type": "none", "queue_buffering_max_kbytes": 131072, "partitioner": "murmur2_random"}
        self.producer = Producer(kafka.producer_config(settings, **options, delivery_timeout_ms=120000))

    def send(self, packets: Iterator[Packet]) -> None:
        """Send all, then wait for the last confirmation; Ctrl-C ends the sending early."""
        begin = time.time()
        self.tell({"event": "start", "t0": datetime.fromtimestamp(begin, UTC).isoformat(timespec="milliseconds")})
        ended, shown = "all sent", []
        try:
            if self.rhythm.per_observation is None:
                shown = self._group(packets)
            else:
                self._observe(packets, begin, self.rhythm.per_observation)
        except KeyboardInterrupt:
            ended = "stopped"
        finally:
            left = self._flush()
        self._check()
        self._place()
        self._check(left)
        event = {"event": ended, "sent": self.sent.number, **self.sent.by_survey, "seconds": round(time.time() - begin, 3)}
        self.tell(event | ({"first": shown[0], "last": shown[-1]} if shown else {}))

    def _observe(self, packets: Iterator[Packet], begin: float, each: int) -> None:
        """Visit by visit, each starting at a multiple of the interval on the clock."""
        interval = self.rhythm.interval_seconds
        first = begin + (-begin % interval if interval else 0)
        done = 0
        while self.rhythm.observations == -1 or done < self.rhythm.observations:
            group = list(islice(packets, each))
            if group:
                time.sleep(max(0.0, first + done * interval - time.time()))
                event = {"event": "observation starts", "observation": done + 1, "offset_seconds": round(time.time() - begin, 3), "alerts": len(group)}
                late = time.time() - first - done * interval
                self.tell(event | ({"late_seconds": round(late, 3)} if interval and late > 0.1 * interval else {}))
                shown = self._group(group)
                text = f" ({shown[0]} to {shown[-1]})" if shown else ""
                self.tell(
                    {
                        "event": "observation done",
                        "observation": done + 1,
                        "sent": len(group),
                        "first_to_last": shown,
                        "text": f"{len(group)} alerts sent{text}",
                    }
                )
                done += 1
            if len(group) < each:
                return

    def _group(self, packets: Iterable[Packet]) -> list[Any]:
        """Send some packets, evenly spaced if there is a rate; gives the displayed field of the first and the last."""
        shown: list[Any] = []
        start = time.monotonic()
        for place, packet in enumerate(packets):
            if self.rhythm.rate:
                ahead = start + place / self.rhythm.rate - time.monotonic()
                if ahead > 0.001:
                    self.producer.poll(0)
                    time.sleep(ahead)
            if self.display:
                shown = [*shown[:1], dig(packet.display, self.display)]
            self._produce(packet)
            self._check()
            if not place:  # a topic may have been made for it, which nobody catches up with
                start = time.monotonic()
        self.producer.poll(0)
        return shown

    def _produce(self, packet: Packet) -> None:
        from confluent_kafka import KafkaException

        topic, survey, sent = self.topics[packet.survey], packet.survey, self.sent
        before = self.chunk.get(survey)
        self.chunk[survey] = packet.chunk
        if before is not None and before != packet.chunk:
            self._check(self._flush())
            self.tell({"event": "chunk sent", "survey": survey, "chunk": before, "first_chunk": packet.chunk})
        if topic not in self.made:
            kafka.ensure_topics(self.settings, [topic], "input")
            self.made.add(topic)
        name = packet.alert_id or "an alert"

        def confirmed(error: Any, message: Any) -> None:
            if error is not None:
                sent.failed.append(f"{name}: {error.str()}")
                return
            place = survey, message.topic(), message.partition()
            self.taken[place] += 1
            if message.offset() is None:  # it was sent again, and Kafka had it already
                self.unplaced[place] += 1
            else:
                sent.confirm(*place, message.offset())

        until = time.monotonic() + max(STALLED_SECONDS, self.settings.kafka.timeout_seconds)
        while True:
            try:
                self.producer.produce(topic, packet.value, packet.object_id.encode() or None, on_delivery=confirmed)
                self.producer.poll(0)
                return
            except BufferError:
                self.producer.poll(0.2)
                if time.monotonic() > until:
                    raise Unavailable(f"Kafka at {self.settings.bootstrap_servers} takes no alerts; check that it runs") from None
            except KafkaException as error:
                sent.failed.append(f"{name}: {error.args[0].str()}")
                return

    def _place(self) -> None:
        """Confirm what has no offset: in a partition that nobody else writes to, ours are the last ones."""
        for (survey, topic, partition), number in self.unplaced.items():
            end = kafka.end_offsets(self.settings, [topic])[topic][partition]
            first, known = end - self.taken[survey, topic, partition], self.sent.spans(survey).get(topic, {}).get(partition)
            places = [first, *[end - 1] * (number - 1)] if number > 1 or known is None or known[0] > first else [end - 1]
            for offset in places:
                self.sent.confirm(survey, topic, partition, offset)
        self.unplaced.clear()

    def _flush(self) -> int:
        """Wait until Kafka has confirmed all; gives how many it has not."""
        return int(self.producer.flush(self.settings.kafka.timeout_seconds + 45))

    def _check(self, left: int = 0) -> None:
        if self.sent.failed:
            raise StoreError(f"Kafka refused {len(self.sent.failed)} alerts: {self.sent.failed[0]}; check the topic's max.message.bytes")
        if left:
            raise Unavailable(f"{left} alerts were not confirmed by Kafka at {self.settings.bootstrap_servers}; check that it runs, then send them again")


def as_line(event: dict[str, Any]) -> str:
    """An event of `send` for a reader."""
    told = ("event", "text", "first_to_last") + (("sent", "observation") if "text" in event else ())
    rest = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in event.items() if key not in told and value is not None)
    return f"{event.get('text') or event['event']}{': ' if rest else ''}{rest}"


def as_json(event: dict[str, Any]) -> str:
    """The same as one JSON object."""
    return json.dumps({**event, "time": round(time.time(), 3)}, default=str)
