"""Cut off at every point between the sinks and started again: each alert is in every store once, for any reader."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from pyspark.errors import StreamingQueryException

from fink_broker import hbase, kafka
from fink_broker.checkpoint import Checkpoint
from fink_broker.errors import ConfigError, Unavailable
from fink_broker.history import History
from fink_broker.jobs import attempt, preflight, sources
from fink_broker.jobs.job import Job
from fink_broker.jobs.plans import plan
from fink_broker.jobs.runner import make_job
from fink_broker.lake import Lake
from fink_broker.ledger import Ledger, nights
from fink_broker.replay import Packet
from fink_broker.settings import Settings
from fink_broker.simulate import Sent, make_packets, send

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]
FILTER = 'summary = "two of three"\nwhere = "pmod(cast(alert_id as bigint), 3) < 2"\nmax_rate = 1.0\n'


class Plug(Exception):
    """Stands for a kill: nothing after it runs."""


@dataclass
class Broker:
    """Jobs on stores of their own, with one filter."""

    spark: SparkSession
    settings: Settings
    topic: str
    sent: Sent = field(default_factory=Sent)
    packets: list[Packet] = field(default_factory=list)

    def send(self, number: int, seed: int, bad: int = 0) -> None:
        self.send_packets([*self.made(number, seed), *(Packet("ztf", b"not an alert") for _ in range(bad))])

    def made(self, number: int, seed: int) -> list[Packet]:
        return list(make_packets(["ztf"], self.settings.schemas_path, number, seed))

    def send_packets(self, new: list[Packet]) -> None:
        self.packets += new
        send(self.settings, new, into=self.sent)

    def start(self, name: str) -> tuple[Job, Any]:
        job = make_job(self.spark, self.settings, name, "ztf")
        return job, job.start()

    def run(self, name: str, seconds: float = 120) -> None:
        """Start a job anew until it has read all that was sent."""
        job, query = self.start(name)
        try:
            until = time.time() + seconds
            while any(self.left(name)):
                assert not job.cause, job.cause
                assert time.time() < until, f"{name} has not read all"
                if not query.isActive:  # Spark's Kafka source fails once after a batch that ran again; the supervisor restarts it too
                    job, query = self.start(name)
                time.sleep(0.2)
        finally:
            query.stop()

    def left(self, name: str) -> Iterator[bool]:
        for work in plan(name).works:
            done = Ledger(self.settings.home).done(work, "ztf")
            for topic, parts in self.sent.spans("ztf").items():
                for part, (_, last) in parts.items():
                    yield done.get(topic, {}).get(part, 0) <= last

    def check(self) -> None:
        """Ids in Kafka, raw and science table, HBase and the topic, as sets and as counts; the lake as DuckDB sees it."""
        wanted = Counter(packet.alert_id for packet in self.packets if packet.alert_id)
        assert set(wanted.values()) == {1}
        for table in ("raw", "science"):
            files = f"{self.settings.lake_path}/{table}/**/*.parquet"
            found = Counter(str(row[0]) for row in duckdb.sql(f"select alert_id from read_parquet('{files}')").fetchall())
            assert found == wanted, (table, found - wanted, wanted - found)
        assert History(self.settings).count(self.sent.spans("ztf")) == len(wanted)
        messages = [message for _, message in kafka.headers(self.settings, [self.topic])]
        published = Counter(message["alert_id"] for message in messages)
        chosen = Counter({name: 1 for name in wanted if int(name) % 3 < 2})
        assert published == chosen, (published - chosen, chosen - published)
        assert len({kafka.origin_of(message) for message in messages}) == len(messages)
        number = len(self.packets) - len(wanted)
        if number:
            files = f"{self.settings.lake_path}/quarantine/**/*.parquet"
            assert duckdb.sql(f"select count(*) from read_parquet('{files}')").fetchall() == [(number,)]
        assert all(not night.differs for night in nights(Ledger(self.settings.home).entries())), nights(Ledger(self.settings.home).entries())

    def check_once(self) -> None:
        """The same where a batch before the last position is read again, here of other tests too: those alerts are stored now, and none twice."""
        wanted = {packet.alert_id for packet in self.packets if packet.alert_id}
        for table in ("raw", "science"):
            rows = duckdb.sql(f"select alert_id from read_parquet('{self.settings.lake_path}/{table}/**/*.parquet')").fetchall()
            found = Counter(str(row[0]) for row in rows)
            assert set(found.values()) == {1}
            assert wanted <= set(found)
            # as the ledger tells it; the jobs need not go back equally far, so it need not balance here
            assert sum(getattr(night, table) for night in nights(Ledger(self.settings.home).entries())) == len(found)
        messages = Counter(message["alert_id"] for _, message in kafka.headers(self.settings, [self.topic]))
        assert set(messages.values()) == {1}
        assert {name for name in wanted if int(name) % 3 < 2} == set(messages) & wanted


@pytest.fixture
def broker(spark: SparkSession, settings: Settings, tmp_path: Path) -> Broker:
    name = f"r{uuid.uuid4().hex[:8]}"
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters" / f"{name}.toml").write_text(FILTER)
    services = (settings.home / "services.json").read_text()
    (tmp_path / "services.json").write_text(services)
    kafka.ensure_topics(settings, ["ztf_alerts"], "input")
    own = {
        "broker": settings.broker.model_copy(update={"home": tmp_path}),
        "filters": settings.filters.model_copy(update={"path": tmp_path / "filters"}),
        "hbase": settings.hbase.model_copy(update={"prefix": name}),
        "ingest": settings.ingest.model_copy(update={"starting_offsets": "latest", "max_offsets_per_trigger": 60}),
        "science": settings.science.model_copy(update={"modules": ("magnitude_rate",)}),
    }
    return Broker(spark, settings.model_copy(update=own), f"fink_{name}_ztf")


Cut = Callable[[pytest.MonkeyPatch], None]


def _cut(owner: Any, name: str, when: str, which: int = 1) -> Cut:
    """A plug that is pulled before or after a call, the first or a later one."""

    def pull(patch: pytest.MonkeyPatch) -> None:
        real, calls = getattr(owner, name), itertools.count(1)

        def call(*arguments: Any, **named: Any) -> Any:
            if next(calls) < which:
                return real(*arguments, **named)
            if when == "after":
                real(*arguments, **named)
            raise Plug

        patch.setattr(owner, name, call)

    return pull


def _half_published(patch: pytest.MonkeyPatch) -> None:
    real = kafka.publish

    def call(frame: Any, settings: Settings) -> None:
        real(frame.where("pmod(crc32(value), 2) = 0"), settings)
        raise Plug

    patch.setattr(kafka, "publish", call)


def _half_committed(patch: pytest.MonkeyPatch) -> None:
    real = Lake.commit

    def call(lake: Lake, staged: Path, name: str, label: str = "") -> Any:
        for file in sorted(staged.rglob("*.parquet"))[1:]:
            file.unlink()
        real(lake, staged, name, label)
        raise Plug

    patch.setattr(Lake, "commit", call)


LIVE: dict[str, Cut] = {
    "before publishing": _cut(kafka, "publish", "before"),
    "half published": _half_published,
    "published": _cut(kafka, "publish", "after"),
    "indexed": _cut(hbase, "write", "after"),
    "half stored": _half_committed,
    "stored": _cut(Lake, "commit", "after"),
    "before the ledger": _cut(Ledger, "write", "before"),
    "after the ledger": _cut(Ledger, "write", "after"),
}
INGEST: dict[str, Cut] = {
    "half stored": _half_committed,
    "stored": _cut(Lake, "commit", "after"),
    "quarantine published": _cut(kafka, "publish", "after"),
    "after the ledger": _cut(Ledger, "write", "after"),
}
NIGHT: dict[str, Cut] = {  # which stores in one go what the two do apart
    "half published": _half_published,
    "indexed": _cut(hbase, "write", "after"),
    "raw table staged": _cut(Lake, "stage_columns", "after"),
    "half stored": _half_committed,
    "science stored, raw not": _cut(Lake, "commit", "before", 2),
    "raw stored": _cut(Lake, "commit", "after", 2),
    "quarantine published": _cut(kafka, "publish_quarantine", "after"),
    "told as live": _cut(Ledger, "write", "after"),
    "told as live and ingest": _cut(Ledger, "write", "after", 2),
}


@pytest.mark.parametrize("jobs", [{"live": LIVE, "ingest": INGEST}, {"night": NIGHT}], ids=["live and ingest", "night"])
def test_cut_off_at_each_point(broker: Broker, jobs: dict[str, dict[str, Cut]], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in jobs:  # checkpoints that start here
        _, query = broker.start(name)
        query.processAllAvailable()
        query.stop()
    for seed, points in enumerate(zip_longest(*jobs.values())):
        broker.send(24, seed=900 + seed, bad=2 if points[-1] else 0)
        for (name, cuts), point in zip(jobs.items(), points, strict=True):
            if point:
                with monkeypatch.context() as patch:
                    cuts[point](patch)
                    patch.setattr(Job, "blame", lambda *_, **__: True)  # a kill leaves no time to look for what is at fault
                    job, query = broker.start(name)
                    with contextlib.suppress(StreamingQueryException):
                        query.awaitTermination(120)
                    assert "Plug" in job.cause, (name, point, job.cause)
            broker.run(name)
        print(dict(zip(jobs, points, strict=True)))
        broker.check()


def test_jobs_of_the_same_work_go_on_after_each_other(broker: Broker) -> None:
    """`live` and `ingest` after `night`, and it again: a checkpoint that others went past is not gone back to."""
    _, query = broker.start("night")
    query.processAllAvailable()
    query.stop()
    broker.send(20, seed=970)
    repeated = broker.packets[:3]
    for seed, turn in enumerate((("night",), ("live", "ingest"), ("night",))):
        broker.send(30, seed=971 + seed, bad=1)
        send(broker.settings, repeated, into=broker.sent)  # known to whichever job saw them last
        for name in turn:
            broker.run(name)
        broker.check_once()
    assert {folder.name.rsplit("-", 1)[0] for folder in broker.settings.home.glob("checkpoints/aside/*")} == {"night-ztf"}
    with pytest.raises(ConfigError, match="night does the work of live and ingest; run it or them"):
        preflight.check(broker.settings, ["night", "ingest"], ["ztf"])


@pytest.mark.parametrize("jobs", [("live", "ingest"), ("night",)], ids=["live and ingest", "night"])
def test_a_lost_checkpoint(broker: Broker, jobs: Sequence[str]) -> None:
    import shutil

    began = datetime.now(UTC).isoformat(timespec="seconds")
    for name in jobs:
        _, query = broker.start(name)
        query.processAllAvailable()
        query.stop()
    broker.send(50, seed=950, bad=1)
    for name in jobs:
        broker.run(name)
    broker.check()
    shutil.rmtree(broker.settings.home / "checkpoints")
    broker.send(30, seed=951)
    for name in jobs:
        broker.run(name)
    files = f"{broker.settings.lake_path}/*/**/*.parquet"
    names = {
        row[0].rsplit("/", 1)[1][:8]
        for row in duckdb.sql(f"select distinct filename from read_parquet('{files}', filename=true, union_by_name=true)").fetchall()
    }
    assert len(names) == 2 * len(jobs)  # two checkpoints each
    broker.check_once()
    recovery = list(broker.settings.home.glob("checkpoints/*/*/recovery.json"))
    broker.send(5, seed=952)
    for name in jobs:
        broker.run(name)
    assert not list(broker.settings.home.glob("checkpoints/*/*/recovery.json")), recovery

    # lost once more, and told to begin at a time, which all that was sent came after
    shutil.rmtree(broker.settings.home / "checkpoints")
    ingest = broker.settings.ingest.model_copy(update={"starting_offsets": began})
    broker.settings = broker.settings.model_copy(update={"ingest": ingest})
    broker.send(5, seed=953)
    for name in jobs:
        broker.run(name)
    broker.check_once()


def test_a_second_attempt_uses_the_filters_of_the_first(tmp_path: Path) -> None:
    from fink_broker.filters import Filter

    attempts = attempt.Attempts(tmp_path)
    rule = Filter("bright", "bright ones", survey=("ztf",), where="mag < 18", columns=("objectId",))
    attempts.write(7, [rule], {"broker": "0"})
    found = attempts.read(7)
    assert found is not None
    assert found.filters == (rule,)
    assert found.filters[0].version == rule.version
    assert attempts.read(8) is None


def test_offsets_of_another_kafka_are_not_gone_on_from(broker: Broker) -> None:
    """As when another server has taken the port: refused before anything is read, by the job and by the look before it."""
    _, query = broker.start("ingest")
    query.processAllAvailable()
    query.stop()
    file = broker.settings.home / "checkpoints/ingest/ztf/kafka.json"
    own = file.read_text()
    assert kafka.cluster_id(broker.settings) in own
    file.write_text('{"cluster": "another"}')
    for refused in (lambda: broker.start("ingest"), lambda: preflight.check(broker.settings, ["ingest"], ["ztf"])):
        with pytest.raises(Unavailable, match="ingest/ztf is of the Kafka cluster another, and at 127.0.0.1"):
            refused()
    assert file.read_text() == '{"cluster": "another"}'
    file.write_text(own)
    new = broker.settings.home / "checkpoints" / "new"
    new.mkdir()
    (new / "kafka.json").write_text('{"cluster": "another"}')  # it holds no offsets, so it may as well be this one's
    sources.same_kafka(broker.settings, new)
    assert (new / "kafka.json").read_text() == own
    broker.send(2, seed=960)
    broker.run("ingest")
    rows = duckdb.sql(f"select alert_id from read_parquet('{broker.settings.lake_path}/raw/**/*.parquet')").fetchall()
    assert {packet.alert_id for packet in broker.packets} <= {str(row[0]) for row in rows}


@pytest.mark.parametrize("name", ["ingest", "night"])
def test_another_kafka_that_takes_the_port_of_a_running_job_is_noticed(broker: Broker, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was planned by the other one's offsets is forgotten, and the job goes on where it was when its own is back."""
    job, query = broker.start(name)
    query.processAllAvailable()
    broker.send(5, seed=961)
    query.processAllAvailable()
    query.stop()
    held = Checkpoint(job.checkpoint)
    done = held.done
    job, query = broker.start(name)  # it has nothing to do until the other one is there
    query.processAllAvailable()
    with monkeypatch.context() as patch:
        patch.setattr(kafka, "cluster_id", lambda *_: "another")
        broker.send(5, seed=962)
        with pytest.raises(StreamingQueryException):
            query.awaitTermination(60)
        assert "of the Kafka cluster" in job.cause
        with pytest.raises(Unavailable, match="and at 127.0.0.1:[0-9]* is another"):
            broker.start(name)
    planned = held.folder / "offsets" / str(done + 1)
    *facts, ends = planned.read_text().splitlines()
    ends = json.dumps({topic: dict.fromkeys(parts, 0) for topic, parts in json.loads(ends).items()})
    planned.write_text("\n".join([*facts, ends]))  # as one with fewer records would: Spark takes them for lost, and does not even ask the job
    broker.send(3, seed=963)
    broker.run(name)
    files = f"{broker.settings.lake_path}/raw/**/*.parquet"
    found = Counter(str(row[0]) for row in duckdb.sql(f"select alert_id from read_parquet('{files}')").fetchall())
    assert found == Counter(packet.alert_id for packet in broker.packets)


def test_a_filter_that_changes_while_the_job_runs(broker: Broker) -> None:
    """The plan that is kept from batch to batch is made anew."""
    job, query = broker.start("night")
    try:
        query.processAllAvailable()
        file = broker.settings.filters.path / f"{broker.topic.split('_')[1]}.toml"
        for seed, rest in ((964, "< 2"), (965, "< 1"), (966, "< 1")):
            file.write_text(FILTER.replace("< 2", rest))
            broker.send(20, seed=seed)
            query.processAllAvailable()
    finally:
        query.stop()
    assert not job.cause
    ids = [packet.alert_id for packet in broker.packets]
    chosen = [name for name in ids[:20] if int(name) % 3 < 2] + [name for name in ids[20:] if int(name) % 3 < 1]
    assert Counter(message["alert_id"] for _, message in kafka.headers(broker.settings, [broker.topic])) == Counter(chosen)
