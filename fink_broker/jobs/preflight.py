"""What a job needs, looked at before Spark starts: each lack is told in one line, at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fink_broker import hbase, kafka
from fink_broker.checkpoint import Checkpoint
from fink_broker.errors import ConfigError
from fink_broker.jobs import sources, steps
from fink_broker.jobs.plans import plan
from fink_broker.services import jars
from fink_broker.settings import Settings
from fink_broker.survey import load_survey


def check(settings: Settings, jobs: Sequence[str], surveys: Sequence[str]) -> None:
    """Raise the first FinkError among: jobs, checkpoints, surveys, science modules and their parameters, Java, Kafka, HBase."""
    plans = [plan(name) for name in jobs]
    for one in plans:
        if one.joined and set(one.rivals) & set(jobs):
            raise ConfigError(f"job {one.name} does the work of {' and '.join(one.works)}; run it or them")
    for one in plans:
        for survey in surveys:
            _sound(settings.home / "checkpoints" / one.name / survey)
    reads = False  # HBase, for the inputs history.…
    for survey in surveys:
        load_survey(settings.schemas_path, survey)
        if any("science" in one.steps for one in plans):
            chain = steps.science_chain(settings, survey, history=True)
            reads |= bool(chain.history and chain.earlier)
    jars.java()
    for one in plans:
        for survey in surveys:
            if one.source == "kafka":
                sources.same_kafka(settings, settings.home / "checkpoints" / one.name / survey)
    if any("topics" in one.sinks for one in plans) and settings.kafka.output_servers:
        kafka.topics(settings, "output")
    if reads or any("hbase" in one.sinks for one in plans):
        hbase.connect(settings).close()


def _sound(folder: Path) -> None:
    if damage := Checkpoint(folder).damage:
        raise ConfigError(
            f"the checkpoint {folder} is damaged: {damage}; move the folder away and run again: "
            "it goes on after what the sinks hold, or at a time with --start, and nothing is stored or published twice"
        )
