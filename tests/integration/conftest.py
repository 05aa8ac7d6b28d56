"""Jobs that run while the integration tests do, and alerts that have passed through them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from fink_broker.balance import Spans
from fink_broker.jobs.job import Job
from fink_broker.jobs.runner import make_job
from fink_broker.ledger import Ledger
from fink_broker.replay import Packet
from fink_broker.settings import Settings
from fink_broker.simulate import Sent, make_packets, send

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Start = Callable[[str, str], Job]


@dataclass(frozen=True)
class Filled:
    """Alerts that are in every store, by survey, and what Kafka confirmed of them."""

    packets: dict[str, list[Packet]]
    sent: dict[str, Sent]
    since: float


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that look at what `filled` sent come first: its jobs read every topic of a survey, those of other tests too."""
    items.sort(key=lambda item: not {"filled", "started"} & set(getattr(item, "fixturenames", ())))


@pytest.fixture(scope="session")
def started(settings: Settings, spark: SparkSession) -> Iterator[Start]:
    """Starts jobs, each once, and stops them at the end."""
    running: dict[tuple[str, str], tuple[Job, Any]] = {}

    def start(name: str, survey: str) -> Job:
        if (name, survey) not in running:
            job = make_job(spark, settings, name, survey)
            running[name, survey] = job, job.start()
        return running[name, survey][0]

    yield start
    for _, query in running.values():
        query.stop()


@pytest.fixture(scope="session")
def filled(settings: Settings, started: Start) -> Filled:
    """Made-up alerts of all surveys, sent and gone through job `night`."""
    since = time.time()
    found = Filled({}, {}, since)
    for survey, number in (("ztf", 160), ("lsst", 60), ("elasticc", 60)):
        found.packets[survey] = list(make_packets([survey], settings.schemas_path, number, seed=31))
        found.sent[survey] = send(settings, found.packets[survey])
        wait(settings, [started("night", survey)], found.sent[survey].spans(survey))
    return found


def wait(settings: Settings, jobs: Sequence[Job], spans: Spans, seconds: float = 300) -> None:
    """Until jobs have gone past these offsets; fails with the cause when one has failed."""
    until = time.time() + seconds
    for one, work in [(job, work) for job in jobs for work in job.plan.works]:
        while True:
            done = Ledger(settings.home).done(work, one.survey.name)
            if all(done.get(t, {}).get(p, 0) > last for t, parts in spans.items() for p, (_, last) in parts.items()):
                break
            assert not one.cause, one.cause
            assert time.time() < until, f"{one.name} has not read all within {seconds} s"
            time.sleep(0.3)
