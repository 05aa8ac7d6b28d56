"""The shape of a message: its own schema in the key, everything of the alert in the value, order and headers."""

from __future__ import annotations

import dataclasses
import io
import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from fink_broker.errors import FilterError
from fink_broker.filters import Filter, route
from fink_broker.message import MESSAGE, NEUTRAL, Shape, avro_schema, encoded, message, plain, shapes
from fink_broker.settings import data_folder
from fink_broker.survey import Survey, load_survey
from tests.alert_rows import alert_row, alert_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

ALL = Filter("all", "x", where="true")
LITE = Filter("lite", "x", where="mag < 19", columns=("candidate",), cutouts=False)
WHOLE = Shape((), True, (ALL,))


@pytest.fixture(scope="module")
def ztf() -> Survey:
    return load_survey(data_folder("schemas"), "ztf")


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    made = [alert_row(number) for number in reversed(range(40))]
    made[0]["packet"] = {**made[0]["packet"], "candidate": None, "prv_candidates": [None, {"jd": 1.5, "magpsf": None}]}
    made[1]["packet"]["candidate"]["seen"] = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    return alert_rows(spark, *made).repartition(3).cache()


def sent(rows: DataFrame, survey: Survey, *rules: Filter, **marks: str) -> list[Row]:
    return message(route(rows, rules, survey), survey, rules, marks=marks).collect()


def read(row: Row) -> dict[str, Any]:
    found = fastavro.schemaless_reader(io.BytesIO(row["value"]), fastavro.parse_schema(json.loads(row["key"])), None)
    assert isinstance(found, dict)
    return found


def test_the_value_is_the_packet_with_our_columns_at_its_side(rows: DataFrame, ztf: Survey) -> None:
    found = {alert["candid"]: alert for alert in map(read, sent(rows, ztf, ALL))}
    assert len(found) == 40
    own = ["candid", "objectId", "candidate", "prv_candidates", "cutoutScience"]
    alert = found[2_000_000_000_000_000_001]
    assert list(alert) == [*own, "cdsxmatch", "magnitude_rate", "xmatch", "neutral", "provenance"]
    assert alert["cutoutScience"]["stampData"] == bytes(range(256))
    assert alert["magnitude_rate"] == {"rate_g": -0.5, "rate_r": None, "error": None}
    assert alert["cdsxmatch"] == "Unknown"
    assert list(alert["neutral"]) == list(NEUTRAL)
    assert alert["neutral"]["alert_id"] == "2000000000000000001"
    assert alert["provenance"] == {"broker": "0.1.0"}


def test_null_structs_stay_null(rows: DataFrame, ztf: Survey) -> None:
    found = {alert["candid"]: alert for alert in map(read, sent(rows, ztf, ALL))}
    last = found[2_000_000_000_000_000_039]
    assert last["candidate"] is None
    assert last["prv_candidates"] == [None, {"jd": 1.5, "magpsf": None}]
    assert found[2_000_000_000_000_000_000]["prv_candidates"] is None


def test_times_are_plain_integers(rows: DataFrame, ztf: Survey) -> None:
    found = {alert["candid"]: alert for alert in map(read, sent(rows, ztf, ALL))}
    assert found[2_000_000_000_000_000_038]["candidate"]["seen"] == 1_704_067_200_000_000


def test_the_key_is_what_fink_client_can_convert(rows: DataFrame, ztf: Survey) -> None:
    key = encoded(rows.schema.json(), ztf, WHOLE).key
    names: list[str] = []

    def walk(kind: Any) -> None:
        assert kind not in ("enum", "fixed")
        if isinstance(kind, list):
            assert [part for part in kind if part == "null"] == ["null"]
            for part in kind:
                walk(part)
        elif isinstance(kind, dict):
            assert "logicalType" not in kind
            assert kind["type"] in ("record", "array", "map")
            if kind["type"] == "record":
                names.append(f"{kind.get('namespace', '')}.{kind['name']}")
                for field in kind["fields"]:
                    walk(field["type"])
            walk(kind.get("items", "null"))
            walk(kind.get("values", "null"))
        else:
            assert kind in ("null", "boolean", "int", "long", "float", "double", "bytes", "string")

    schema = json.loads(key)
    assert schema["name"] == "topLevelRecord"
    walk(schema)
    assert len(names) == len(set(names)) > 5
    assert key == json.dumps(schema, separators=(",", ":"))


def test_the_schema_is_the_one_that_spark_would_make(rows: DataFrame, ztf: Survey, spark: SparkSession) -> None:
    form = encoded(rows.schema.json(), ztf, WHOLE)
    made = plain(rows.selectExpr(f"{form.whole} body").schema["body"].dataType)
    assert avro_schema(made, logical=True) == json.loads(form.whole_written)
    jvm: Any = spark._jvm
    converted = jvm.org.apache.spark.sql.types.DataType.fromJson(made.json())
    by_spark = jvm.org.apache.spark.sql.avro.SchemaConverters.toAvroType(converted, False, "topLevelRecord", "")
    assert json.loads(by_spark.toString()) == json.loads(form.whole_written)


def test_filters_may_send_less(rows: DataFrame, ztf: Survey) -> None:
    assert [shape.filters for shape in shapes([ALL, LITE, dataclasses.replace(ALL, name="b")])] == [
        (ALL, dataclasses.replace(ALL, name="b")),
        (LITE,),
    ]
    found = sent(rows, ztf, ALL, LITE)
    lite = [row for row in found if row["topic"] == "fink_lite_ztf"]
    assert (len(lite), len(found)) == (10, 50)
    assert list(read(lite[0])) == [
        "candid", "objectId", "candidate", "cdsxmatch", "magnitude_rate", "xmatch", "neutral", "provenance",
    ]  # fmt: skip
    whole = next(row for row in found if row["topic"] == "fink_all_ztf")
    assert "cutoutScience" in read(whole)
    assert len(lite[0]["key"]) < len(whole["key"])


def test_an_object_stays_in_one_partition_in_order_of_time(rows: DataFrame, ztf: Survey) -> None:
    made = message(route(rows, [ALL], ztf), ztf, [ALL], {"fink_all_ztf": 4})
    assert made.schema.simpleString() == rows.sparkSession.createDataFrame([], MESSAGE).schema.simpleString()
    order: dict[int, list[float]] = defaultdict(list)
    places: dict[str, set[int]] = defaultdict(set)
    for row in made.collect():
        alert = read(row)
        order[row["partition"]].append(alert["neutral"]["mjd"])
        places[alert["objectId"]].add(row["partition"])
    assert {len(found) for found in places.values()} == {1}
    assert set(order) <= {0, 1, 2, 3}
    assert len(order) > 1
    assert all(times == sorted(times) for times in order.values())


def test_partitions_may_differ_between_topics(rows: DataFrame, ztf: Survey) -> None:
    made = message(route(rows, [ALL, LITE], ztf), ztf, [ALL, LITE], {"fink_all_ztf": 1, "fink_lite_ztf": 8})
    found = {(row["topic"], row["partition"]) for row in made.select("topic", "partition").collect()}
    assert {part for topic, part in found if topic == "fink_all_ztf"} == {0}
    assert max(part for topic, part in found if topic == "fink_lite_ztf") > 0


def test_headers_say_where_a_message_comes_from(rows: DataFrame, ztf: Survey) -> None:
    for row in sent(rows, ztf, ALL, checkpoint="abc", batch="7"):
        facts = {header["key"]: bytes(header["value"]).decode() for header in row["headers"]}
        alert = read(row)
        number = alert["candid"] - 2_000_000_000_000_000_000
        assert facts == {
            "checkpoint": "abc",
            "batch": "7",
            "origin": f"ztf_alerts|{number % 2}|{number}|{1_700_000_000_000 + number}",
            "alert_id": str(alert["candid"]),
            "filter_version": ALL.version,
            "schema": "ztf/4.02",
        }


def test_nothing_is_sent_where_nothing_matches(rows: DataFrame, ztf: Survey) -> None:
    never = Filter("never", "x", where="mag < 0")
    assert sent(rows, ztf, never) == []
    assert message(route(rows, [], ztf), ztf, []).collect() == []


def test_what_fink_client_looks_for_is_filled_in(rows: DataFrame, ztf: Survey) -> None:
    survey = dataclasses.replace(ztf, client={"cdsxmatch": "nosuch.class", "candidate.ndethist": "7", "diaSourceId": "packet.candid"})
    made = rows.selectExpr("*", "named_struct('x', 1) other").drop("xmatch")
    rule = Filter("all", "x", where="pmod(n_detections, 2) = 1")
    found = [read(row) for row in sent(made, survey, rule)]
    assert {alert["cdsxmatch"] for alert in found} == {None}
    assert all(alert["diaSourceId"] == alert["candid"] for alert in found)
    last = next(alert for alert in found if alert["candid"] == 2_000_000_000_000_000_039)
    assert last["candidate"]["ndethist"] == 7
    assert last["candidate"]["jd"] is None
    assert found[0]["other"] == {"x": 1}


def test_a_module_must_not_hide_a_column_of_the_survey(rows: DataFrame, ztf: Survey) -> None:
    with pytest.raises(FilterError, match="two columns candidate, the survey's and a module's; rename the module"):
        sent(rows.selectExpr("*", "named_struct('x', 1) candidate"), ztf, ALL)
