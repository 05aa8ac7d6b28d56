"""What a scientist imports: alerts decoded by the schema in their key, saved, printed and drawn."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from fink_broker.client import Alert, decode, listen
from fink_broker.errors import BadPacket, Unavailable

POINT = [{"name": "jd", "type": ["double", "null"]}, {"name": "fid", "type": ["int", "null"]}] + [
    {"name": name, "type": ["float", "null"]} for name in ("magpsf", "sigmapsf")
]
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "topLevelRecord",
    "fields": [
        {"name": "objectId", "type": ["string", "null"]},
        {
            "name": "candidate",
            "type": [{"type": "record", "name": "candidate", "namespace": "topLevelRecord", "fields": POINT}, "null"],
        },
        {
            "name": "prv_candidates",
            "type": [
                {
                    "type": "array",
                    "items": [
                        {"type": "record", "name": "prv_candidates", "namespace": "topLevelRecord", "fields": POINT},
                        "null",
                    ],
                },
                "null",
            ],
        },
        {"name": "picture", "type": ["bytes", "null"]},
        {
            "name": "neutral",
            "type": [
                {
                    "type": "record",
                    "name": "neutral",
                    "namespace": "topLevelRecord",
                    "fields": [{"name": name, "type": ["string", "null"]} for name in ("survey", "alert_id", "object_id")],
                },
                "null",
            ],
        },
    ],
}
RECORD = {
    "objectId": "ZTF23aaaaaaa",
    "candidate": {"jd": 2460003.5, "fid": 1, "magpsf": 18.0, "sigmapsf": 0.1},
    "prv_candidates": [
        {"jd": 2460001.5, "fid": 2, "magpsf": 19.0, "sigmapsf": 0.2},
        {"jd": 2460000.5, "fid": 1, "magpsf": None, "sigmapsf": None},
    ],
    "picture": b"\x00\xff" * 8,
    "neutral": {"survey": "ztf", "alert_id": "9223372036854775807", "object_id": "ZTF23aaaaaaa"},
}


@pytest.fixture
def alert() -> Alert:
    value = io.BytesIO()
    fastavro.schemaless_writer(value, fastavro.parse_schema(SCHEMA), RECORD)
    return decode(json.dumps(SCHEMA).encode(), value.getvalue(), topic="fink_x_ztf")


def test_an_alert_is_its_packet_and_more(alert: Alert) -> None:
    assert alert["candidate"]["jd"] == 2460003.5
    assert alert["picture"] == RECORD["picture"]
    assert (alert.id, alert.survey, alert.topic) == ("9223372036854775807", "ztf", "fink_x_ztf")


def test_the_light_curve_is_in_time_order_without_empty_points(alert: Alert) -> None:
    assert [(point.mjd, point.band, round(point.value, 3)) for point in alert.light_curve()] == [
        (60001.0, "r", 19.0),
        (60003.0, "g", 18.0),
    ]
    alert["prv_candidates"] = None
    assert len(alert.light_curve()) == 1


def test_the_light_curve_of_fluxes() -> None:
    point = {"midpointMjdTai": 60000.0, "band": "u", "psfFlux": -5.0, "psfFluxErr": 1.0}
    packet = {
        "neutral": {"survey": "lsst"},
        "diaSource": point,
        "prvDiaSources": None,
        "prvDiaForcedSources": [{**point, "midpointMjdTai": 59999.0}],
    }
    found = Alert(packet, {}).light_curve()
    assert [(point.mjd, point.band, point.value, point.kind) for point in found] == [
        (59999.0, "u", -5.0, "forced"),
        (60000.0, "u", -5.0, "detection"),
    ]


def test_a_saved_alert_is_read_back_with_its_schema(alert: Alert, tmp_path: Path) -> None:
    path = alert.save(tmp_path / "new")
    assert path.name == "ztf_9223372036854775807.avro"
    with path.open("rb") as file:
        assert list(fastavro.reader(file)) == [dict(alert)]


def test_json_is_sorted_and_has_no_bytes(alert: Alert) -> None:
    text = alert.json()
    assert json.loads(text)["picture"] == "(16 bytes)"
    assert list(json.loads(text)) == sorted(RECORD)
    assert '\n  "candidate": {' in text


def test_a_plot_is_a_png(alert: Alert, tmp_path: Path) -> None:
    assert alert.plot(tmp_path / "curve.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_messages_that_are_not_ours_are_named() -> None:
    with pytest.raises(BadPacket, match="not an Avro schema: b'plain text'; is fink_x_ztf a substream topic"):
        decode(b"plain text", b"", topic="fink_x_ztf")
    with pytest.raises(BadPacket, match="not an Avro schema"):
        decode(None, b"")
    with pytest.raises(BadPacket, match="does not follow the schema in its key"):
        decode(json.dumps(SCHEMA), b"\x02")


def test_an_address_where_nothing_answers_is_named() -> None:
    with pytest.raises(Unavailable, match=r"Kafka at 127\.0\.0\.1:1 did not answer"):
        next(listen("fink_x_ztf", "127.0.0.1:1", wait=1))
