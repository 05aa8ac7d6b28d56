"""What is sent and when; the real sending is in integration/test_simulate.py."""

import json
from collections import Counter
from itertools import islice

import pytest

from fink_broker import simulate
from fink_broker.errors import ConfigError
from fink_broker.settings import data_folder, load
from fink_broker.simulate import Packet, Plan, Rhythm, Sent, as_json, as_line, make_packets, plan, repeated

FOLDER = data_folder("schemas")


@pytest.mark.parametrize(
    ("available", "number", "rhythm", "wanted"),
    [
        (100, None, Rhythm(), Plan(100, 100, None)),
        (100, 30, Rhythm(20.0), Plan(100, 30, None)),
        (None, None, Rhythm(20.0), Plan(None, None, None)),
        (None, 50, Rhythm(per_observation=25), Plan(None, 50, 2)),
        (100, None, Rhythm(per_observation=1, observations=3), Plan(100, 3, 3)),
        (100, None, Rhythm(per_observation=10), Plan(100, 100, 10)),
        (100, 10, Rhythm(per_observation=10, observations=3), Plan(100, 10, 1)),
        (7, None, Rhythm(per_observation=5), Plan(7, 7, 2, ("the last observation has 2 alerts instead of 5",))),
        (5, None, Rhythm(per_observation=5, observations=4), Plan(5, 5, 1, ("20 alerts were asked for, but there are only 5: reduced to 5",))),
        (5, 9, Rhythm(), Plan(5, 5, None, ("9 alerts were asked for, but there are only 5: reduced to 5",))),
    ],
)
def test_the_plan_is_what_will_really_be_sent(available: int | None, number: int | None, rhythm: Rhythm, wanted: Plan) -> None:
    assert plan(available, number, rhythm) == wanted


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rate": 0.0}, "rate is 0.0; expected more than 0"),
        ({"per_observation": 0}, "alerts per observation is 0; expected 1 or more"),
        ({"per_observation": 5, "observations": 0}, "observations is 0; expected 1 or more, or -1 for all"),
        ({"observations": 3}, "observations is 3, but alerts per observation is not set"),
        ({"interval_seconds": -1.0}, "interval is -1.0; expected 0 s or more"),
    ],
)
def test_a_rhythm_that_makes_no_sense_is_refused(options: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Rhythm(**options)  # type: ignore[arg-type]


def test_made_up_packets_of_several_surveys_take_turns() -> None:
    packets = list(make_packets(["ztf", "elasticc"], FOLDER, 7, 3))
    assert [packet.survey for packet in packets] == ["ztf", "elasticc"] * 3 + ["ztf"]
    assert packets[0].value[:4] == b"Obj\x01"
    assert all(packet.alert_id and packet.object_id and packet.mjd < 62000 for packet in packets)
    assert Counter(packet.survey for packet in islice(make_packets(["ztf", "lsst"], FOLDER, None, 3), 10)) == {"ztf": 5, "lsst": 5}
    with pytest.raises(ConfigError, match="no survey named 'atlas'; known: elasticc, lsst, ztf"):
        make_packets(["atlas"], FOLDER, 1, 1)


def test_packets_can_be_sent_again_and_again() -> None:
    packets = [Packet("ztf", b"1"), Packet("ztf", b"2")]
    assert [packet.value for packet in islice(repeated(packets), 5)] == [b"1", b"2", b"1", b"2", b"1"]


def test_what_kafka_confirmed_is_counted_by_place() -> None:
    sent = Sent()
    for partition, offset in ((0, 5), (1, 2), (0, 7), (0, 6)):
        sent.confirm("ztf", "ztf_alerts", partition, offset)
    assert (sent.number, sent.by_survey) == (4, {"ztf": 4})
    assert sent.spans("ztf") == {"ztf_alerts": {0: (5, 7), 1: (2, 2)}}
    assert sent.spans("lsst") == {}


def test_an_event_is_a_line_or_json() -> None:
    event = {"event": "observation done", "observation": 2, "sent": 3, "first_to_last": [1.5, None], "text": "3 alerts sent (1.5 to None)"}
    assert as_line(event) == "3 alerts sent (1.5 to None)"
    assert as_line({"event": "start", "t0": "now", "rate": None}) == "start: t0 now"
    assert json.loads(as_json(event)).items() >= event.items()


@pytest.mark.parametrize(("told", "unplaced", "span"), [([2, 3], 2, (0, 3)), ([1], 1, (0, 1)), ([0], 1, (0, 1)), ([], 1, (0, 0)), ([], 3, (0, 2))])
def test_what_kafka_has_without_saying_where_is_placed(monkeypatch: pytest.MonkeyPatch, told: list[int], unplaced: int, span: tuple[int, int]) -> None:
    sender = simulate._Sender.__new__(simulate._Sender)
    place = ("ztf", "ztf_alerts", 0)
    sender.settings, sender.sent = load(), simulate.Sent()
    sender.taken, sender.unplaced = Counter({place: len(told) + unplaced}), Counter({place: unplaced})
    for offset in told:
        sender.sent.confirm(*place, offset)
    monkeypatch.setattr(simulate.kafka, "end_offsets", lambda settings, names: {"ztf_alerts": {0: len(told) + unplaced}})
    sender._place()
    assert sender.sent.spans("ztf") == {"ztf_alerts": {0: span}}
    assert sender.sent.number == len(told) + unplaced


def test_a_chunk_is_told_when_kafka_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    class Producer:
        def produce(self, topic: str, value: bytes, key: bytes | None, on_delivery: object) -> None:
            told.append(value)

        def poll(self, seconds: float) -> None: ...

        def flush(self, seconds: float) -> int:
            told.append("flushed")
            return 0

    monkeypatch.setattr("confluent_kafka.Producer", lambda options: Producer())
    monkeypatch.setattr(simulate.kafka, "ensure_topics", lambda *_: None)
    packets = [Packet(name, name.encode(), chunk=chunk) for name, chunk in (("ztf", 4), ("lsst", 0), ("ztf", 4), ("ztf", 6), ("lsst", 0), ("ztf", 6))]
    simulate.send(load(), packets, tell=lambda event: told.append(event) if event["event"] == "chunk sent" else None)
    event = {"event": "chunk sent", "survey": "ztf", "chunk": 4, "first_chunk": 6}
    assert told == [b"ztf", b"lsst", b"ztf", "flushed", event, b"ztf", b"lsst", b"ztf", "flushed"]
    told.clear()
    simulate.send(load(), [Packet("ztf", b"a"), Packet("ztf", b"b")], tell=lambda event: None)
    assert told == [b"a", b"b", "flushed"]
