"""Runs jobs and watches over them: a failed query is started again, a job that keeps failing ends with a cause."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError

from fink_broker import log as logs
from fink_broker import retention
from fink_broker.checkpoint import Checkpoint
from fink_broker.errors import ConfigError, FinkError, StoreError, one_line
from fink_broker.jobs import submit
from fink_broker.jobs.fan_out import FanOut
from fink_broker.jobs.ingest import Ingest
from fink_broker.jobs.job import Job
from fink_broker.jobs.plans import plan
from fink_broker.jobs.preflight import check
from fink_broker.jobs.session import hear, session
from fink_broker.settings import Settings, load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

log = logs.Logger("runner")
HOUSEKEEPING_SECONDS = 3600.0


@dataclass
class Watched:
    """A job with its running query and how often it was restarted."""

    job: Job
    query: StreamingQuery | None = None
    restarts: int = 0
    started: float = 0.0
    next_start: float = 0.0


def make_job(spark: SparkSession, settings: Settings, name: str, survey: str) -> Job:
    """The job of that name for one survey; ConfigError for an unknown one."""
    made = plan(name)
    return (Ingest if made.sinks == ("raw",) else FanOut)(spark, settings, made, survey)


class Runner:
    """Several jobs in one Spark session, until they are told to stop or one of them gives up."""

    def __init__(self, settings: Settings, jobs: Sequence[str], surveys: Sequence[str]) -> None:
        self.settings = settings
        for name in jobs:
            plan(name)
        self.stop_asked = False
        self.compacting: subprocess.Popen[bytes] | None = None
        self.failed: list[Watched] = []
        self.spark = session(settings, "-".join(jobs))
        self.watched = [Watched(make_job(self.spark, settings, name, survey)) for name in jobs for survey in surveys]

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; exit status 0, or 1 when a job gave up."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._ask_to_stop)
        hear(self.spark, self._ask_to_stop)
        looked, gone = 0.0, False
        try:
            while not self.stop_asked and not self.failed:
                if time.time() - looked > HOUSEKEEPING_SECONDS:
                    looked = time.time()
                    retention.warn(self.settings)
                    self._compact()
                for one in self.watched:
                    self._look_after(one)
                time.sleep(0.2)
        except (Py4JError, ConnectionError) as error:
            if self._jvm_lives():
                raise
            gone = True
            log.error("Spark's JVM has ended; start the jobs again, they go on where they were", jobs=self._names, cause=one_line(error))
        finally:
            if self.compacting is not None and self.compacting.poll() is None:
                self.compacting.terminate()  # at any moment: the next one settles what it left
            if not gone:
                self._stop_all()
        return 1 if self.failed or gone else 0

    @property
    def _names(self) -> str:
        return ",".join(one.job.name for one in self.watched)

    def _jvm_lives(self) -> bool:
        try:
            jvm: Any = self.spark.sparkContext._jvm
            return bool(jvm.System.currentTimeMillis())
        except (Py4JError, OSError):
            return False

    def _ask_to_stop(self, number: int, _: Any) -> None:
        if self.stop_asked:
            return
        self.stop_asked = True
        log.info("stopping after the batch in hand", signal=signal.Signals(number).name)

    def _look_after(self, one: Watched) -> None:
        now = time.time()
        if one.query is None:
            if now >= one.next_start:
                try:
                    one.started, one.query = now, one.job.start()
                except StoreError as error:
                    self._failed(one, str(error))
            return
        if one.query.isActive:
            if one.job.since and now - one.job.since > self.settings.jobs.batch_seconds:
                log.error("batch hangs, stopped", job=one.job.name, seconds=round(now - one.job.since))
                one.job.since = now  # its failure ends the query; if not, it is tried again after as long
                self.spark.sparkContext.cancelJobGroup(str(one.query.runId))
            trying = one.job.fresh and one.job.since  # the batch that it was started again for is not done yet
            if one.restarts and not trying and now - one.started > self.settings.jobs.healthy_seconds:
                one.restarts = 0
            return
        cause = one.job.cause or one_line(one.query.exception() or RuntimeError("the query ended without an error"))
        one.query, one.job.cause = None, ""
        self._failed(one, cause)

    def _failed(self, one: Watched, cause: str) -> None:
        """Start the query again later, or give the job up."""
        gc.collect()  # frames of the failed batch stand in cycles, and each keeps its plan in the JVM: 0.4 MB a failure otherwise, 0.1 so
        name, number = one.job.name, max(Checkpoint(one.job.checkpoint).planned, 0)
        if one.restarts >= self.settings.jobs.max_restarts:
            log.error("job gave up", job=name, batch=number, restarts=one.restarts, cause=cause)
            self.failed.append(one)
            return
        wait = self.settings.jobs.backoff_seconds * 2**one.restarts
        one.restarts, one.next_start = one.restarts + 1, time.time() + wait
        log.warning("query failed, starting again", job=name, batch=number, restart=one.restarts, wait_seconds=wait, cause=cause)

    def _compact(self) -> None:
        """Merge the files of closed nights in a process beside the jobs, one at a time."""
        busy = self.compacting is not None and self.compacting.poll() is None
        if busy or not self.settings.lake.compact or not any({"raw", "science"} & set(one.job.plan.sinks) for one in self.watched):
            return
        chosen, secrets = submit.changed(self.settings)
        names = {f"FINK_{name.replace('.', '__')}".upper(): value for name, value in chosen.items()}
        folder = self.settings.home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        line = ["nice", "-n", "10", sys.executable, "-m", "fink_broker", "lake", "compact"]
        with (folder / "compact.log").open("ab") as file:
            self.compacting = subprocess.Popen(line, env={**os.environ, **names, **secrets}, stdout=file, stderr=file, stdin=subprocess.DEVNULL)

    def _stop_all(self) -> None:
        """End each query between two batches, so that nothing is half written."""
        running = [one for one in self.watched if one.query is not None and one.query.isActive]
        for one in running:
            one.job.stopping.set()
        deadline = time.time() + 120
        for one in running:
            query = one.query
            while query is not None and query.isActive and time.time() < deadline:
                if one.job.idle.is_set() or not (query.status["isTriggerActive"] or query.status["isDataAvailable"]):
                    query.stop()
                    break
                time.sleep(0.05)
        log.info("stopped", jobs=self._names)
        with contextlib.suppress(Exception):  # the JVM may be gone already: a Ctrl-C reaches it too
            self.spark.stop()


def run(settings: Settings, jobs: Sequence[str], surveys: Sequence[str] | None = None) -> int:
    """Run jobs until told to stop; the exit status. What they lack is raised before Spark starts."""
    chosen = surveys or settings.broker.surveys
    check(settings, jobs, chosen)
    return Runner(settings, jobs, chosen).run()


def main(job: str, arguments: Sequence[str] | None = None) -> None:
    """Entry point of bin/JOB.py under spark-submit: settings come from the environment and conf/fink.toml.

    Arguments are SECTION.FIELD=VALUE pairs, as `fink submit` writes them.
    """
    logs.setup()
    options: dict[str, Any] = {}
    try:
        for pair in sys.argv[1:] if arguments is None else arguments:
            name, equals, value = pair.partition("=")
            section, dot, field = name.partition(".")
            if not (equals and dot):
                raise ConfigError(f"argument '{pair}' is no setting; expected SECTION.FIELD=VALUE, as `fink submit {job} --dry-run` prints them")
            options.setdefault(section, {})[field] = json.loads(value) if value[:1] in "[{" else value
        sys.exit(run(load(options=options), [job]))
    except FinkError as error:
        print(f"{job}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
