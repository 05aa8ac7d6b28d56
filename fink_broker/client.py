"""What a scientist imports: the alerts of a substream, one after the other, out of Kafka.

from fink_broker.client import listen

for alert in listen("fink_fast_risers_ztf", "broker.example:9092", limit=10):
    print(alert.id, alert["neutral"]["mag"])
    alert.save("alerts")
"""

from __future__ import annotations

import difflib
import io
import json
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from fink_broker.errors import BadPacket, NotFound, StoreError, Unavailable

if TYPE_CHECKING:
    from confluent_kafka import Consumer

# Where each survey keeps the points of a light curve: its lists, then time, band, value and error in a point.
_LISTS = {
    "ztf": (("candidate", "detection"), ("prv_candidates", "detection")),
    "lsst": (("diaSource", "detection"), ("prvDiaSources", "detection"), ("prvDiaForcedSources", "forced")),
    "elasticc": (("diaSource", "detection"), ("prvDiaSources", "detection"), ("prvDiaForcedSources", "forced")),
}
_NAMES = {
    "ztf": ("jd", "fid", "magpsf", "sigmapsf"),
    "lsst": ("midpointMjdTai", "band", "psfFlux", "psfFluxErr"),
    "elasticc": ("midPointTai", "filterName", "psFlux", "psFluxErr"),
}
_UNIT = {"ztf": "difference magnitude", "lsst": "difference flux [nJy]", "elasticc": "difference flux [nJy]"}
COLOURS = {"u": "#56B4E9", "g": "#009E73", "r": "#D55E00", "i": "#E69F00", "z": "#CC79A7", "y": "#0072B2"}


class Point(NamedTuple):
    """One point of a light curve, in the survey's own unit: magnitudes for ZTF, nJy else."""

    mjd: float  # [d] in the survey's own time scale (ZTF: UTC, else TAI)
    band: str
    value: float
    error: float
    kind: str  # detection or forced


class Alert(dict[str, Any]):
    """The packet as a dict, with the broker's columns (`neutral`, one struct a module); knows how to save and draw itself."""

    def __init__(self, record: dict[str, Any], schema: dict[str, Any], topic: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(record)
        self.schema = schema
        self.topic = topic
        self.headers = headers or {}

    @property
    def id(self) -> str:
        """The alert's id, as text: 64-bit ids do not survive a float."""
        return str(self["neutral"]["alert_id"])

    @property
    def survey(self) -> str:
        """Short name of the survey."""
        return str(self["neutral"]["survey"])

    def light_curve(self) -> list[Point]:
        """Points in time order, without those that have no measurement."""
        time_name, band, value, error = _NAMES[self.survey]
        points = []
        for name, kind in _LISTS[self.survey]:
            found = self.get(name) or []
            for point in found if isinstance(found, list) else [found]:
                if point.get(time_name) is None or point.get(value) is None or point.get(band) is None:
                    continue
                mjd = point[time_name] - 2400000.5 if time_name == "jd" else point[time_name]
                letter = "?gri"[point[band]] if isinstance(point[band], int) else str(point[band]).lower()
                points.append(Point(mjd, letter, point[value], point.get(error) or 0.0, kind))
        return sorted(points)

    def save(self, folder: str | Path = ".") -> Path:
        """Write the alert with its schema as an Avro file <survey>_<id>.avro; returns its path."""
        import fastavro

        path = Path(folder) / f"{self.survey}_{self.id}.avro"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            fastavro.writer(file, fastavro.parse_schema(self.schema), [dict(self)])
        return path

    def json(self, indent: int | None = 2) -> str:
        """The alert as JSON with sorted names; bytes are given by their size."""
        return json.dumps(self, indent=indent, sort_keys=True, default=_plain)

    def plot(self, file: str | Path) -> Path:
        """Draw the light curve, one colour a band, with error bars; returns the file's path."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        points = self.light_curve()
        for band in dict.fromkeys(point.band for point in points):
            for kind, marker in (("detection", "o"), ("forced", ".")):
                part = [point for point in points if point.band == band and point.kind == kind]
                if part:
                    times, values, errors = [p.mjd for p in part], [p.value for p in part], [abs(p.error) for p in part]
                    label = band if kind == "detection" else f"{band} forced"
                    axes.errorbar(times, values, errors, fmt=marker, color=COLOURS.get(band, "k"), label=label, capsize=2)
        if self.survey == "ztf":
            axes.invert_yaxis()
        axes.set(xlabel="time [MJD]", ylabel=_UNIT[self.survey], title=f"{self['neutral']['object_id'] or self.id}")
        axes.legend()
        figure.savefig(file)
        return Path(file)


def listen(
    topic: str | Sequence[str],
    servers: str = "",
    *,
    group: str = "",
    start: Literal["earliest", "latest"] = "earliest",
    timeout: float | None = None,
    limit: int | None = None,
    wait: float = 10.0,
    options: dict[str, Any] | None = None,
) -> Iterator[Alert]:
    """Alerts of one or more topics as they come; ends after `limit` alerts, or `timeout` seconds without one.

    With a `group` the broker remembers how far you are; without, each call starts anew. `options` go to librdkafka
    (security and the like); Kafka must answer within `wait` seconds. Without `servers` the broker's own settings say
    where Kafka is.
    """
    from confluent_kafka import Consumer

    names = [topic] if isinstance(topic, str) else list(topic)
    quiet = logging.getLogger("fink.librdkafka")
    quiet.propagate = False
    config: dict[str, Any] = {
        "bootstrap.servers": servers or _own_servers(),
        "group.id": group or f"fink-listen-{uuid.uuid4().hex[:12]}",
        "enable.auto.commit": bool(group),
        "auto.offset.reset": start,
        "logger": quiet,
        "error_cb": _ignore,
        **(options or {}),
    }
    consumer = Consumer(config)
    try:
        _require(consumer, names, str(config["bootstrap.servers"]), wait)
        consumer.subscribe(names)
        yield from _poll(consumer, timeout, limit)
    finally:
        consumer.close()


def _poll(consumer: Consumer, timeout: float | None, limit: int | None) -> Iterator[Alert]:
    schemas: dict[bytes, tuple[dict[str, Any], Any]] = {}
    given, last = 0, time.monotonic()
    while limit is None or given < limit:
        message = consumer.poll(min(timeout, 1.0) if timeout is not None else 1.0)
        if message is None:
            if timeout is not None and time.monotonic() - last >= timeout:
                return
            continue
        if error := message.error():
            raise StoreError(f"topic {message.topic()} cannot be read: {error.str()}")
        headers = {name: (value or b"").decode(errors="replace") for name, value in _headers(message)}
        yield decode(message.key(), message.value(), schemas, message.topic() or "", headers)
        given, last = given + 1, time.monotonic()


def decode(
    key: bytes | str | None,
    value: bytes | None,
    schemas: dict[bytes, tuple[dict[str, Any], Any]] | None = None,
    topic: str = "",
    headers: dict[str, str] | None = None,
) -> Alert:
    """The alert in a message: the key is the Avro schema as JSON, the value the record without it."""
    import fastavro

    known = {} if schemas is None else schemas
    text = key.encode() if isinstance(key, str) else key or b""
    if text not in known:
        try:
            schema = json.loads(text)
            known[text] = (schema, fastavro.parse_schema(schema))
        except Exception as error:
            where = f"is {topic} a substream topic?" if topic else "expected JSON"
            raise BadPacket(f"the key of a message is not an Avro schema: {text[:40]!r}; {where}") from error
    schema, parsed = known[text]
    try:
        record = fastavro.schemaless_reader(io.BytesIO(value or b""), parsed, None)
    except Exception as error:
        raise BadPacket(f"the value of a message does not follow the schema in its key: {error!r}") from error
    if not isinstance(record, dict):
        raise BadPacket(f"the value of a message is a {type(record).__name__}; expected a record")
    return Alert(record, schema, topic, headers)


def _require(consumer: Consumer, names: Sequence[str], servers: str, wait: float) -> None:
    from confluent_kafka import KafkaException

    try:
        known = consumer.list_topics(timeout=wait).topics
    except KafkaException as error:
        raise Unavailable(f"Kafka at {servers} did not answer within {wait:g} s; check the address and that it runs") from error
    for name in names:
        if name not in known and not name.startswith("^"):
            exist = sorted(topic for topic in known if topic.startswith("fink_"))
            near = difflib.get_close_matches(name, exist, 1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            more = f" and {len(exist) - 12} more" if len(exist) > 12 else ""
            raise NotFound(f"no topic '{name}' at {servers}; {hint}topics there: {', '.join(exist[:12]) or 'none'}{more}")


def _own_servers() -> str:
    from fink_broker.settings import load

    return load().output_servers


def _headers(message: Any) -> list[tuple[str, bytes | None]]:
    return message.headers() or []


def _ignore(_error: object) -> None:
    """An error that librdkafka tells in passing; the call at hand raises it."""


def _plain(value: object) -> str:
    return f"({len(value)} bytes)" if isinstance(value, bytes) else str(value)
