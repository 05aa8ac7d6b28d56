"""Quarantined packets that can be read now go to the survey's input once more, so that the ordinary jobs take them in."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fink_broker import framing, kafka
from fink_broker.errors import SchemaError, StoreError
from fink_broker.jobs import fault
from fink_broker.lake import Lake
from fink_broker.ledger import append
from fink_broker.replay import dig
from fink_broker.schema import SchemaLibrary
from fink_broker.survey import Survey, load_survey

if TYPE_CHECKING:
    from fink_broker.settings import Settings

# Beginnings of reasons that no new schema mends.
KEPT = ("changed", "position off the sky", "time outside", fault.REASON)


@dataclass
class Resent:
    """What became of a survey's quarantine."""

    survey: str
    sent: list[kafka.Origin] = field(default_factory=list)
    before: int = 0  # sent by an earlier call
    left: Counter[str] = field(default_factory=Counter)  # still of no use, by the reason of today


def resend(settings: Settings, survey: str) -> Resent:
    """Send each packet at most once; where a kill leaves it open, the jobs drop the second as a duplicate."""
    about = load_survey(settings.schemas_path, survey)
    library = SchemaLibrary.load(settings.schemas_path, survey, settings.kafka.schema_registry_url)
    file = settings.home / "resent" / f"{survey}.jsonl"
    known, found = _known(file), Resent(survey)
    packets: dict[kafka.Origin, bytes] = {}
    rows = Lake(settings).scan("quarantine", survey, ["origin", "reason", "value"]).select(["origin", "reason", "value"]).to_pylist()
    for row in rows:
        place = row["origin"]["topic"], row["origin"]["partition"], row["origin"]["offset"]
        if place in known:
            found.before += 1
        elif why := _unusable(row["reason"], row["value"], about, library):
            found.left[why.partition(":")[0]] += 1
        else:
            packets[place] = row["value"]
    if packets:
        _send(settings, packets, file)
        found.sent = sorted(packets)
    return found


def _unusable(reason: str, value: bytes | None, survey: Survey, library: SchemaLibrary) -> str:
    """Why a packet is of no use even now; empty when it can be read."""
    import fastavro

    if reason.startswith(KEPT):
        return reason
    try:
        body = framing.read_body(bytes(value or b""), survey, library)
        record = fastavro.schemaless_reader(io.BytesIO(body.data), library.by_version(body.version).json, None)
    except SchemaError as error:
        return str(error)
    except Exception as error:  # bytes that are no Avro fail in many ways
        return f"not decoded: {error}"
    return "" if dig(record, survey.paths["alert_id"]) is not None else "no alert id"


def _send(settings: Settings, packets: dict[kafka.Origin, bytes], file: Path) -> None:
    """Send to where each came from, with its key while Kafka still has it; written down as confirmed."""
    from confluent_kafka import Producer

    keys = kafka.keys_at(settings, packets)
    partitions = kafka.ensure_topics(settings, {topic for topic, _, _ in packets}, "input")
    failed: list[str] = []

    def confirmed(place: kafka.Origin) -> Any:
        def note(error: Any, record: Any) -> None:
            if error is not None:
                failed.append(error.str())
            else:
                append(file, json.dumps({"from": place, "to": [record.topic(), record.partition(), record.offset()], "time": time.time()}))

        return note

    producer = Producer(kafka.producer_config(settings))
    for place in sorted(packets):
        topic, part, offset = place
        headers: dict[str, str | bytes | None] = {"resent": f"{topic}|{part}|{offset}"}
        where = part if part < partitions[topic] else -1
        while True:
            try:
                producer.produce(topic, packets[place], keys.get(place), partition=where, on_delivery=confirmed(place), headers=headers)
                break
            except BufferError:
                producer.poll(0.2)
    left = producer.flush(max(60.0, settings.kafka.timeout_seconds))
    if failed or left:
        raise StoreError(
            f"Kafka did not confirm {len(failed) + left} of {len(packets)} packets{': ' + failed[0] if failed else ''}; call it again for the rest"
        )


def _known(file: Path) -> set[kafka.Origin]:
    """Where the packets came from that were sent already."""
    found = set()
    for line in file.read_text().splitlines() if file.is_file() else ():
        try:
            topic, part, offset = json.loads(line)["from"]
        except ValueError:
            continue  # cut short by a kill: sent once more, and dropped as a duplicate
        found.add((topic, part, offset))
    return found
