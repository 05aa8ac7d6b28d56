"""Quarantined packets sent once more: those that can be read now, each once, with their keys, to where they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fink_broker import resend
from fink_broker.errors import StoreError
from fink_broker.lake import Lake
from fink_broker.settings import Settings, load
from fink_broker.simulate import make_packets


class FakeProducer:
    """Confirms all but what it is told to refuse."""

    sent: list[tuple[Any, ...]] = []
    refused: set[bytes] = set()

    def __init__(self, config: dict[str, Any]) -> None:
        assert config["acks"] == "all"

    def produce(self, topic: str, value: bytes, key: bytes | None, partition: int, on_delivery: Callable[..., None], headers: dict[str, str]) -> None:
        class Told:
            def __getattr__(self, name: str) -> Callable[[], Any]:
                return {"str": lambda: "no room", "topic": lambda: topic, "partition": lambda: partition, "offset": lambda: len(FakeProducer.sent)}[name]

        if value in self.refused:
            on_delivery(Told(), Told())
        else:
            self.sent.append((topic, partition, key, value, headers["resent"]))
            on_delivery(None, Told())

    def flush(self, seconds: float) -> int:
        return 0


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("confluent_kafka.Producer", FakeProducer)
    monkeypatch.setattr(FakeProducer, "sent", [])
    monkeypatch.setattr(FakeProducer, "refused", set())
    monkeypatch.setattr(resend.kafka, "keys_at", lambda settings, places: {("ztf_alerts", 1, 11): b"ZTF1"})
    monkeypatch.setattr(resend.kafka, "ensure_topics", lambda settings, names, cluster: dict.fromkeys(names, 2))
    return load(options={"broker": {"home": str(tmp_path)}, "kafka": {"bootstrap_servers": "nowhere:9092"}})


def quarantine(settings: Settings, *rows: tuple[int, int, str, bytes]) -> None:
    """Rows (partition, offset, reason, bytes) of the quarantine."""
    folder = Lake(settings).table("quarantine") / "survey=ztf/night=20260309"
    folder.mkdir(parents=True, exist_ok=True)
    origin = [{"topic": "ztf_alerts", "partition": part, "offset": offset, "timestamp": 1} for part, offset, _, _ in rows]
    table = pa.table({"origin": origin, "reason": [row[2] for row in rows], "value": pa.array([row[3] for row in rows], pa.binary())})
    pq.write_table(table, folder / f"a-{rows[0][1]}.parquet")


def test_what_can_be_read_now_is_sent_once(settings: Settings) -> None:
    good = [packet.value for packet in make_packets(["ztf"], settings.schemas_path, 4, seed=5)]
    quarantine(
        settings, (1, 11, "unknown schema: fingerprint 1", good[0]), (7, 12, "unknown schema: fingerprint 1", good[1]),
        (0, 13, "changed: the same alert id came before with other bytes", good[2]), (0, 14, "damaged", good[3][:-100]), (0, 15, "damaged", b""),
    )  # fmt: skip
    done = resend.resend(settings, "ztf")
    assert done.sent == [("ztf_alerts", 1, 11), ("ztf_alerts", 7, 12)]
    assert FakeProducer.sent == [("ztf_alerts", 1, b"ZTF1", good[0], "ztf_alerts|1|11"), ("ztf_alerts", -1, None, good[1], "ztf_alerts|7|12")]
    assert done.left["changed"] == 1
    assert sum(done.left.values()) == 3
    again = resend.resend(settings, "ztf")
    assert (again.sent, again.before) == ([], 2)
    assert len(FakeProducer.sent) == 2


def test_what_kafka_refuses_is_sent_the_next_time(settings: Settings) -> None:
    good = [packet.value for packet in make_packets(["ztf"], settings.schemas_path, 2, seed=6)]
    quarantine(settings, (0, 1, "unknown schema", good[0]), (0, 2, "unknown schema", good[1]))
    FakeProducer.refused.add(good[1])
    with pytest.raises(StoreError, match="Kafka did not confirm 1 of 2 packets: no room; call it again for the rest"):
        resend.resend(settings, "ztf")
    with (settings.home / "resent/ztf.jsonl").open("a") as file:
        file.write('{"from": ["ztf_al')  # a kill
    FakeProducer.refused.clear()
    done = resend.resend(settings, "ztf")
    assert (len(done.sent), done.before) == (1, 1)
    assert [row[4] for row in FakeProducer.sent] == ["ztf_alerts|0|1", "ztf_alerts|0|2"]
