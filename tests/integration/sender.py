"""A simulator that is killed: sends made-up alerts at a rate, notes what Kafka confirmed, and after a kill goes on where its notes end.

Run as `python -m tests.integration.sender NOTES SEED RATE`, ended by SIGTERM. Every eighth alert is sent once more later, and now and then comes what is
no alert. What was confirmed and not yet noted is sent again after a kill: duplicates, as a survey's own resends make them.
"""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fink_broker import kafka
from fink_broker.settings import Settings, load
from fink_broker.simulate import make_packets
from fink_broker.survey import load_survey

AGAIN, BAD, BEHIND = 8, 100, 5  # one in so many; how many packets lie between an alert and its second sending


def plan(settings: Settings, seed: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Key, value and alert id (empty for what is no alert) of everything that is to be sent, in order, without end; always the same."""
    last: deque[tuple[bytes, bytes, bytes]] = deque(maxlen=BEHIND)
    for place, packet in enumerate(make_packets(["ztf"], settings.schemas_path, None, seed=seed), 1):
        last.append((packet.object_id.encode(), packet.value, packet.alert_id.encode()))
        yield last[-1]
        if place % AGAIN == 0:
            yield last[0]
        if place % BAD == BAD // 4:
            yield b"", f"no alert, number {place}".encode(), b""


def confirmed(notes: Path) -> set[int]:
    """Places in the plan that Kafka confirmed."""
    return {int(line) for line in notes.read_text().splitlines()} if notes.is_file() else set()


def main(notes: Path, seed: int, rate: float) -> None:
    """Send what is not noted yet, until SIGTERM comes."""
    from confluent_kafka import Producer

    settings = load()
    topic = load_survey(settings.schemas_path, "ztf").topic
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    done = confirmed(notes)
    left = ((place, one) for place, one in enumerate(plan(settings, seed)) if place not in done)
    producer = Producer(kafka.producer_config(settings, delivery_timeout_ms=120_000, linger_ms=20, partitioner="murmur2_random"))
    with notes.open("a", buffering=1) as file:

        def send(place: int, key: bytes, value: bytes, alert: bytes) -> None:
            def note(error: Any, _: Any) -> None:
                if error is None:
                    file.write(f"{place}\n")

            producer.produce(topic, value, key or None, headers={"place": str(place), "alert": alert.decode()}, on_delivery=note)

        start = time.monotonic()
        for count, (place, (key, value, alert)) in enumerate(left):
            if stopping:
                break
            while (ahead := start + count / rate - time.monotonic()) > 0 and not stopping:
                producer.poll(min(ahead, 0.2))
            send(place, key, value, alert)
            producer.poll(0)
        producer.flush(120)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
