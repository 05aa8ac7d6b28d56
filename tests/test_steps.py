"""What the steps give to science modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fink_broker.jobs import steps
from fink_broker.science import Chain, Registry
from fink_broker.settings import data_folder, load
from fink_broker.survey import load_survey
from fink_broker.testing import make_alerts
from tests.integration.substreams import decoded

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_cutouts_go_only_with_alerts_that_a_module_which_reads_them_is_given(spark: SparkSession) -> None:
    settings = load()
    survey = load_survey(settings.schemas_path, "ztf")
    rows = decoded(spark, settings, survey, list(make_alerts("ztf", 60, seed=5)))
    chain = Chain(Registry.load(data_folder("science_modules")), ["stamp_class", "solar_system"], {}, "ztf")
    inputs, selected = steps.given(rows, chain, survey)
    place, module = chain.columns.index("cutout_science"), list(chain.conditions).index("stamp_class")
    found = rows.select("n_detections", inputs.alias("c"), selected.alias("m")).selectExpr(
        "n_detections", f"c.c{place} is not null given", f"m.m{module} asked", f"c.c{chain.columns.index('ra')} is not null placed"
    )
    collected = found.collect()
    assert {(row["given"], row["asked"], row["placed"]) for row in collected} == {(True, True, True), (False, False, True)}
    assert all(row["given"] == (row["n_detections"] <= 1) for row in collected)
