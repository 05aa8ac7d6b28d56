"""Alerts of a survey, decoded, filtered and published to topics of their own: what the tests of readers need."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fink_broker import kafka
from fink_broker.alert import Decoder
from fink_broker.filters import Filter, route, topic_name
from fink_broker.jobs.fan_out import Alerts
from fink_broker.message import intact, message, reads
from fink_broker.schema import SchemaLibrary
from fink_broker.survey import Survey, load_survey
from fink_broker.testing import MadeAlert, encode, make_alerts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from fink_broker.settings import Settings

RECORD = "value binary, topic string, partition int, offset bigint, timestamp timestamp"


@dataclass
class Substreams:
    """What was published, under topics that no other test uses."""

    survey: Survey
    alerts: dict[str, MadeAlert]  # by alert id
    filters: dict[str, Filter]  # by topic
    rows: DataFrame


def decoded(spark: SparkSession, settings: Settings, survey: Survey, alerts: list[MadeAlert], decoder: Decoder | None = None) -> DataFrame:
    """Alert rows of made-up alerts, as if they came from Kafka, with the struct of a science module."""
    now = datetime.now(UTC).replace(tzinfo=None)
    records = [(encode(survey, alert.packet), survey.topic, 0, place, now) for place, alert in enumerate(alerts)]
    decoder = decoder or Decoder(survey, SchemaLibrary.load(settings.schemas_path, survey.name))
    rows = decoder.decode(spark.createDataFrame(records, RECORD))  # type: ignore[type-var]
    module = "named_struct('class', if(mag < 19, 'Star', null), 'error', cast(null as string)) xmatch"
    return rows.selectExpr("*", module, "map('broker', 'test') provenance")


def published(spark: SparkSession, settings: Settings, name: str, number: int = 24, table: bool = False) -> Substreams:
    """Publish all made-up alerts to one topic, and the small ones of half of them to another; from whole rows as a `table` has them, or as `live` does."""
    survey = load_survey(settings.schemas_path, name)
    moving = None if name == "elasticc" else ("asteroid",)  # LSST's have no diaObject
    alerts = [*make_alerts(name, number - 6, seed=7), *make_alerts(name, 6, seed=8, kinds=moving)]
    decoder = Decoder(survey, SchemaLibrary.load(settings.schemas_path, survey.name))
    whole = decoded(spark, settings, survey, alerts, decoder).cache()
    if not table:
        decoder.need(reads(survey, decoder.fields))
    rows = whole if table else decoded(spark, settings, survey, alerts, decoder).cache()
    assert rows.where("reason is not null").count() == 0
    mark = f"t{uuid.uuid4().hex[:8]}"
    rules = [
        Filter(f"{mark}_all", "all", where="true"),
        Filter(f"{mark}_lite", "half, without cutouts", where="pmod(xxhash64(alert_id), 2) = 0", cutouts=False),
    ]
    topics = {topic_name(rule, name): rule for rule in rules}
    partitions = kafka.ensure_topics(settings, topics)
    intact_of = rows.selectExpr(f"{intact(survey, decoder.bodies(decoder.fast), decoder.fields)} intact").toPandas()
    assert intact_of["intact"].any() != table  # LSST's moving objects without a designation are not
    chosen = Alerts([(route(rows, rules, survey), decoder.fast)], decoder)
    sendable = chosen.sendable(lambda part: part.where("size(topics) > 0"), intact_of, rules)
    marks = {"checkpoint": mark, "batch": "0"}
    made = message(sendable, survey, rules, partitions, marks, layout=route(whole, rules, survey).schema.json(), bodies=chosen.bodies)
    kafka.publish(made, settings)
    return Substreams(survey, {alert.alert_id: alert for alert in alerts}, topics, rows)


def at(packet: dict[str, Any], path: str) -> Any:
    """The value at a dotted path of a packet."""
    for part in path.split("."):
        packet = packet[part]
    return packet
