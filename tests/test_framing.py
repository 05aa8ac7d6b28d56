"""Bytes around a packet: what is read, and the reason when it is not."""

from pathlib import Path

import pytest

from fink_broker.errors import BadPacket, SchemaError, UnknownSchema
from fink_broker.framing import read_body
from fink_broker.schema import SchemaLibrary
from fink_broker.settings import data_folder
from fink_broker.survey import load_survey
from fink_broker.testing import encode, make_alerts

FOLDER = data_folder("schemas")


def read(survey: str, value: bytes) -> object:
    return read_body(value, load_survey(FOLDER, survey), SchemaLibrary.load(FOLDER, survey))


@pytest.mark.parametrize("survey", ["ztf", "lsst", "elasticc"])
def test_a_whole_packet_is_read_to_its_last_byte(survey: str) -> None:
    value = encode(survey, next(make_alerts(survey, 1)).packet)
    body = read_body(value, load_survey(FOLDER, survey), SchemaLibrary.load(FOLDER, survey))
    assert body.data in value


@pytest.mark.parametrize("survey", ["ztf", "lsst", "elasticc"])
@pytest.mark.parametrize("cut", [1, 17, 200])
def test_a_truncated_packet_is_refused(survey: str, cut: int) -> None:
    value = encode(survey, next(make_alerts(survey, 1)).packet)
    with pytest.raises(BadPacket):
        read(survey, value[:-cut])


@pytest.mark.parametrize("survey", ["lsst", "elasticc"])
def test_trailing_bytes_are_refused(survey: str) -> None:
    with pytest.raises(BadPacket, match="bytes left over|fits no known schema"):
        read(survey, encode(survey, next(make_alerts(survey, 1)).packet) + b"\0\0\n")


@pytest.mark.parametrize(
    ("survey", "value", "reason"),
    [
        ("ztf", b"", "empty packet"),
        ("ztf", b"junk and more", "wrong magic 6a756e6b"),
        ("lsst", b"\1\0\0\0\0\0\0", "not in Confluent framing"),
        ("lsst", b"\0\0\0\x30\x39" + b"body", "unknown schema: id 12345"),
    ],
)
def test_the_reason_is_told(survey: str, value: bytes, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        read(survey, value)


def test_real_damaged_packets_are_refused_and_their_twins_read(shared: Path) -> None:
    damaged = sorted((shared / "alerts/edge/crlf_stripped").glob("5*.avro"))
    assert damaged
    for file in damaged:
        with pytest.raises(SchemaError):
            read("ztf", file.read_bytes())
        read("ztf", (shared / "alerts/edge/crlf_stripped_intact_twin" / file.name).read_bytes())


def test_a_container_without_a_record_and_of_another_survey(shared: Path) -> None:
    with pytest.raises(UnknownSchema):
        read("ztf", (shared / "alerts/edge/empty/zero_records_0.avro").read_bytes())
    with pytest.raises(SchemaError):
        read("ztf", (shared / "alerts/edge/bad_default/turbo_1.avro").read_bytes())
