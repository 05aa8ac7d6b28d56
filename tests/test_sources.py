"""How much a job reads at a time."""

from __future__ import annotations

import pytest

from fink_broker.jobs.sources import FETCH, most_alerts
from fink_broker.settings import data_folder, load
from fink_broker.survey import load_survey


@pytest.mark.parametrize(
    ("survey", "spark", "most"),
    [
        ("ztf", {"driver_memory": "3g"}, 4993),
        ("ztf", {"driver_memory": "2048m"}, 3328),
        ("lsst", {"driver_memory": "3g"}, 1165),
        ("elasticc", {"driver_memory": "3g"}, 5000),
        ("lsst", {"driver_memory": "3g", "master": "yarn"}, 5000),
        ("lsst", {"driver_memory": "1k"}, 1),
    ],
)
def test_a_batch_fits_into_memory(survey: str, spark: dict[str, str], most: int) -> None:
    assert most_alerts(load(options={"spark": spark}), load_survey(data_folder("schemas"), survey)) == most


def test_a_task_does_not_wait_half_a_second_for_records_that_nobody_sent() -> None:
    """At the end of each partition: 55 alerts in four of them took 2.0 s rather than 1.1."""
    assert int(FETCH["kafka.fetch.max.wait.ms"]) <= 20
