"""However Spark cuts a batch up, every alert gets the same results from every module, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from fink_broker.alert import Decoder
from fink_broker.jobs import steps
from fink_broker.schema import SchemaLibrary
from fink_broker.settings import load
from fink_broker.skysim.alerts import Campaign
from fink_broker.survey import load_survey
from fink_broker.testing import encode

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession


@pytest.mark.parametrize("name", ["ztf", "lsst"])
def test_partitions_change_no_result(name: str, spark: SparkSession, tmp_path: Path) -> None:
    settings = load(options={"broker": {"home": str(tmp_path)}})
    survey = load_survey(settings.schemas_path, name)
    decoder, chain = Decoder(survey, SchemaLibrary.load(settings.schemas_path, name)), steps.science_chain(settings, name)
    packets = [bytearray(encode(survey, one.packet)) for one in Campaign(name, 210, 8, mix="even", models="built-in").alerts()]
    rows = [(value, survey.topic, 0, place) for place, value in enumerate(packets)]

    def results(parts: int) -> pd.DataFrame:
        records = spark.createDataFrame(rows, "value binary, topic string, partition int, offset bigint")
        records = records.selectExpr("*", "timestamp_millis(0) timestamp").repartition(parts, "offset")
        assert records.rdd.getNumPartitions() == parts
        texts = [f"to_json({module}) {module}" for module in chain.names]
        found = steps.enrich(decoder.decode(records), chain, survey).selectExpr("origin.offset", "reason", *texts).toPandas()
        return found.sort_values("offset", ignore_index=True)

    whole = results(1)
    assert whole["reason"].isna().all()
    assert not whole[list(chain.names)].apply(lambda column: column.str.contains('"error"')).any(axis=None)
    for module in chain.names:
        assert whole[module].nunique() > 1 or module == "xmatch", module  # they do tell something
    for parts in (2, 7):
        pd.testing.assert_frame_equal(results(parts), whole, check_exact=True)
