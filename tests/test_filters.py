"""Filters: what a file may say, what is refused and in which words, which alerts are chosen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from fink_broker import filter_function
from fink_broker.contract import alert_rows as decoded_rows
from fink_broker.errors import FilterError
from fink_broker.filters import Filter, FilterSet, check, failing, load_filters, read_filter, route, topic_name, usable
from fink_broker.jobs import steps
from fink_broker.settings import data_folder, load
from fink_broker.skysim.alerts import Campaign
from fink_broker.survey import Survey, load_survey
from fink_broker.testing import make_alerts
from tests.alert_rows import alert_row, alert_rows
from tests.integration.substreams import decoded

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

GOOD = 'summary = "bright ones"\nwhere = "mag < 19"\n'


@pytest.fixture(scope="module")
def ztf() -> Survey:
    return load_survey(data_folder("schemas"), "ztf")


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    return alert_rows(spark, *(alert_row(number) for number in range(8))).cache()


def topics(frame: DataFrame) -> dict[str, list[str]]:
    return {row["alert_id"][-2:]: row["topics"] for row in frame.select("alert_id", "topics").collect()}


def written(folder: Path, text: str, name: str = "mine") -> Path:
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


def test_a_file_becomes_a_filter(tmp_path: Path) -> None:
    rule = read_filter(written(tmp_path, GOOD + 'survey = "ztf"\ncolumns = ["candid"]\ncutouts = false\nmax_rate = 0.1\n'))
    assert rule == Filter("mine", "bright ones", survey=("ztf",), where="mag < 19", columns=("candid",), cutouts=False, max_rate=0.1)
    assert topic_name(rule, "ztf") == "fink_mine_ztf"
    aiming = read_filter(written(tmp_path, GOOD + 'aims = ["SN Ia", "tde"]\n'))
    assert aiming.aims == ("SN Ia", "tde")
    assert aiming.version == Filter("mine", "bright ones", where="mag < 19").version  # whom it means changes nothing that is sent


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('summary = "x"\nwehre = "mag < 1"', "filter mine.toml: unknown key 'wehre'; did you mean 'where'?"),
        ("summary = ", "not valid TOML"),
        ('where = "mag < 1"', "no summary; say in one sentence"),
        ('summary = "x"', "needs either `where` (Spark SQL) or `python`"),
        (GOOD + 'python = "a:b"', "needs either `where` (Spark SQL) or `python`"),
        ('summary = "x"\npython = "nothing"', "expected package.module:function"),
        (GOOD + "max_rate = 3", "max_rate is 3; expected a share above 0 and up to 1"),
        (GOOD + "cutouts = 1", "'cutouts' is 1; expected true or false"),
        (GOOD + "columns = [1]", "'columns' is [1]; expected a list of texts"),
        (GOOD + 'name = "other"', "its name is 'other' but its file is 'mine.toml'"),
        (GOOD + "[arguments]\nx = 'mag'", "has [arguments] but no `python`"),
        ('summary = "x"\nwhere = "packet.candidate.drb > 0.5"', 'without saying of which survey; add survey = ["ztf"]'),
        (
            "summary = \"x\"\nwhere = \"mag < 1 and `java_method`('java.lang.System', 'exit')\"",
            "uses java_method; a filter may only",
        ),
        ('summary = "x"\nwhere = "rand() < 0.1"', "uses rand;"),
        ('summary = "x"\nwhere = "exists (select 1)"', "uses select;"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FilterError) as refused:
        read_filter(written(tmp_path, text))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_words_inside_texts_and_comments_are_not_refused(tmp_path: Path) -> None:
    where = "object_id != 'select now' -- rand() packet.x"
    assert read_filter(written(tmp_path, f'summary = "x"\nwhere = """{where}"""')).where == where


@pytest.mark.parametrize("name", ["ztf_mine", "Mine", "1st", "a-b"])
def test_names_that_fink_client_would_not_show_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FilterError, match="cannot name a filter"):
        read_filter(written(tmp_path, GOOD, name))


def test_files_are_read_again_when_they_change_and_a_broken_one_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "one")
    filters = FilterSet(tmp_path, "ztf")
    assert [rule.name for rule in filters.current()] == ["one"]
    written(tmp_path, GOOD, "two")
    broken = written(tmp_path, "summary = ", "three")
    written(tmp_path, GOOD + 'survey = ["lsst"]', "other")
    assert [rule.name for rule in filters.current()] == ["one", "two"]
    assert list(filters.broken) == ["three"]
    broken.write_text(GOOD)
    os.utime(broken, (1, 1))
    (tmp_path / "one.toml").unlink()
    assert [rule.name for rule in filters.current()] == ["three", "two"]
    assert filters.broken == {}
    assert [rule.name for rule in load_filters(written(tmp_path, "x", "bad").parent, "ztf")] == ["three", "two"]


def test_the_version_follows_what_is_sent_not_how_it_is_described() -> None:
    rule = Filter("a", "x", where="mag < 1")
    assert rule.version == Filter("a", "y", "me", where="mag < 1", max_rate=0.3).version
    assert rule.version != Filter("a", "x", where="mag < 2").version
    assert rule.version != Filter("a", "x", where="mag < 1", cutouts=False).version


def test_all_filters_in_one_pass(rows: DataFrame, ztf: Survey) -> None:
    rules = [
        Filter("bright", "x", where="mag < 19 -- a comment"),
        Filter("rising", "x", where="magnitude_rate.rate_g < 0"),
        Filter("never", "x", where="magnitude_rate.rate_r < 0"),
        Filter("division", "x", where="1 / (mag - mag) > 1 or element_at(quality, 3) = 'x'"),
    ]
    found = topics(route(rows, rules, ztf))
    assert found["00"] == ["fink_bright_ztf", "fink_rising_ztf"]
    assert found["01"] == ["fink_rising_ztf"]
    assert topics(route(rows, [], ztf))["00"] == []


def test_alerts_that_are_not_public_or_not_usable_go_nowhere(spark: SparkSession, ztf: Survey) -> None:
    frame = alert_rows(spark, alert_row(0), alert_row(1, public=False), alert_row(2, public=None), alert_row(3, reason="no alert id"))
    found = topics(route(frame, [Filter("all", "x", where="true")], ztf))
    assert found == {"00": ["fink_all_ztf"], "01": [], "02": [], "03": []}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("magg < 19", "filter mine: no column 'magg'; did you mean 'mag'? known: "),
        ("magnitude_rate.rate_h < 0", "no field 'rate_h'; did you mean 'rate_r'? known: rate_g, rate_r, error"),
        ("mag <", "not valid SQL"),
        ("mag + 1", "gives no true or false; end it with a comparison"),
        ("count(*) > 3", "mend `count(*) > 3`"),
        ("nosuch(mag) > 3", "nosuch"),
    ],
)
def test_what_spark_does_not_understand_is_told_in_one_line(rows: DataFrame, ztf: Survey, where: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FilterError) as refused:
        check(rows, Filter("mine", "x", where=where), ztf)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "SQLSTATE" not in str(refused.value)
    out, err = capfd.readouterr()
    assert "JVM stacktrace" not in out + err
    assert '"stacktrace"' not in out + err


def test_columns_must_be_the_packets_own(rows: DataFrame, ztf: Survey) -> None:
    with pytest.raises(FilterError, match="no column 'candidates' in the packet of ztf; did you mean 'candidate'"):
        check(rows, Filter("mine", "x", where="true", columns=("candidates",)), ztf)


def test_a_set_leaves_out_what_cannot_run_on_the_rows(rows: DataFrame, tmp_path: Path) -> None:
    written(tmp_path, GOOD, "good")
    written(tmp_path, 'summary = "x"\nwhere = "nosuch < 1"', "bad")
    filters = FilterSet(tmp_path, "ztf")
    for _ in range(2):
        assert [rule.name for rule in filters.current(rows.schema)] == ["good"]
        assert list(filters.broken) == ["bad"]
    assert [rule.name for rule in filters.filters] == ["good"]


def test_a_filter_that_fails_on_alerts_is_found_and_suspended(rows: DataFrame, ztf: Survey, tmp_path: Path) -> None:
    bad = written(tmp_path, 'summary = "x"\nwhere = "object_id rlike \'(\'"', "bad")
    written(tmp_path, GOOD, "good")
    filters = FilterSet(tmp_path, "ztf")
    broken = failing(rows, filters.current(rows.schema), ztf)
    assert list(broken) == ["bad"]
    assert broken["bad"].startswith("filter bad: fails on alerts: ")
    assert broken["bad"].endswith("mend `object_id rlike '('`")
    assert "\n" not in broken["bad"]
    filters.suspend("bad", broken["bad"])
    assert [rule.name for rule in filters.current(rows.schema)] == ["good"]
    assert filters.broken == broken
    bad.write_text(GOOD)
    assert [rule.name for rule in filters.current(rows.schema)] == ["bad", "good"]


def test_four_hundred_filters_at_once(rows: DataFrame, ztf: Survey, capfd: pytest.CaptureFixture[str]) -> None:
    rules = [Filter(f"f{n}", "x", where=f"mag < {15 + n / 50} and snr > {n % 9} and not (band = 'r' and reliability > 0.{n % 10})") for n in range(400)]
    found = topics(route(rows, rules, ztf))
    assert found["00"] == [f"fink_f{n}_ztf" for n in range(151, 400)]
    assert "grows beyond 64 KB" not in "".join(capfd.readouterr())


# Python filters: fink-filters' functions take Series named as the survey's or the broker's columns.


def bright(magpsf: pd.Series, drb: pd.Series, cdsxmatch: pd.Series) -> pd.Series:
    return (magpsf < 19) & (drb > 0.5) & (cdsxmatch != "Star")


def rising(rate: pd.Series, objectId: pd.Series) -> pd.Series:
    return (rate < 0) & objectId.str.endswith("1")


def raising(mag: pd.Series) -> pd.Series:
    raise ValueError("a bug")


def short(mag: pd.Series) -> list[bool]:
    return [True]


def lost(nosuch: pd.Series) -> pd.Series:
    return nosuch


HERE = "tests.test_filters"


def test_functions_choose_too_and_one_that_raises_costs_only_itself(rows: DataFrame, ztf: Survey) -> None:
    failures = filter_function.counter(rows.sparkSession)
    rules = [
        Filter("sql", "x", where="mag < 19"),
        Filter("bright", "x", survey=("ztf",), python=f"{HERE}:bright"),
        Filter("rising", "x", python=f"{HERE}:rising", arguments={"rate": "magnitude_rate.rate_g"}),
        Filter("raising", "x", python=f"{HERE}:raising"),
        Filter("short", "x", python=f"{HERE}:short"),
    ]
    good, broken = usable(rows, rules, ztf)
    assert (len(good), broken) == (5, {})
    found = topics(route(rows, rules, ztf, failures))
    assert found["00"] == ["fink_sql_ztf", "fink_bright_ztf"]
    assert found["06"] == ["fink_bright_ztf", "fink_rising_ztf"]
    assert failures.value["raising"] >= 1
    assert failures.value["short"] >= 1
    assert "bright" not in failures.value


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Filter("mine", "x", python=f"{HERE}:lost"), "nothing is called 'nosuch' in alerts of ztf, an argument of"),
        (Filter("mine", "x", python=f"{HERE}:absent"), "cannot import"),
        (Filter("mine", "x", python="no.such:thing"), "cannot import no.such:thing"),
        (Filter("mine", "x", python=f"{HERE}:HERE"), "is not a function"),
        (
            Filter("mine", "x", python=f"{HERE}:rising", arguments={"rate": "mag", "x": "mag"}),
            "has no argument x; it takes rate, objectId",
        ),
        (Filter("mine", "x", python=f"{HERE}:rising", arguments={"rate": "magg"}), "no column 'magg'"),
    ],
)
def test_functions_that_cannot_run_are_refused(rows: DataFrame, ztf: Survey, rule: Filter, message: str) -> None:
    with pytest.raises(FilterError) as refused:
        check(rows, rule, ztf)
    assert message in str(refused.value)


def test_answers_of_functions() -> None:
    assert filter_function.as_bools([1, 0], 2).tolist() == [True, False]
    assert filter_function.as_bools(pd.Series([True, None, float("nan")], dtype="object"), 3).tolist() == [True, False, False]
    with pytest.raises(FilterError, match="gave 1 answers for 2 alerts; return one bool for each"):
        filter_function.as_bools([True], 2)


# The filters that come with the broker.


def test_the_brokers_own_filters_are_well_made() -> None:
    files = sorted(data_folder("conf/filters").glob("*.toml"))
    assert len(files) >= 12
    for file in files:
        rule = read_filter(file)
        assert rule.max_rate is not None, file
        assert rule.contact, file
    readme = (data_folder("conf/filters") / "README.md").read_text()
    assert [file.stem for file in files if f"`{file.stem}`" not in readme] == []


@pytest.fixture(scope="module", params=["ztf", "lsst", "elasticc"])
def enriched(request: pytest.FixtureRequest, spark: SparkSession) -> tuple[Survey, DataFrame]:
    """Made-up alerts after every module that is on by default."""
    settings = load()
    survey = load_survey(settings.schemas_path, request.param)
    records = decoded(spark, settings, survey, list(make_alerts(survey.name, 40, seed=5)))
    chain = steps.science_chain(settings, survey.name)
    return survey, steps.enrich(records.drop("xmatch", "provenance"), chain, survey).cache()


def test_the_brokers_own_filters_run_on_every_survey(enriched: tuple[Survey, DataFrame]) -> None:
    survey, records = enriched
    rules = load_filters(data_folder("conf/filters"), survey.name)
    good, broken = usable(records, rules, survey)
    assert broken == {}
    once = topics_by_id(route(records, good, survey))
    halves = [topics_by_id(route(records.where(f"pmod(xxhash64(alert_id), 2) = {half}"), good, survey)) for half in (0, 1)]
    assert once == halves[0] | halves[1]  # the batch that an alert comes in does not matter
    assert sum(map(len, once.values())) > 0
    assert topics_by_id(route(records.where("false"), good, survey)) == {}
    neutral = ("survey", "schema", "alert_id", "ra", "dec", "mjd", "night", "band", "origin", "lightcurve", "quality", "public")
    blank = [name if name in (*neutral, "packet") else f"cast(null as {kind}) {name}" for name, kind in records.dtypes]
    for found in topics_by_id(route(records.selectExpr(*blank), good, survey)).values():
        assert set(found) <= {"fink_uniform_sample_" + survey.name}  # nothing is chosen for what is not known


def topics_by_id(frame: DataFrame) -> dict[str, list[str]]:
    return {row["alert_id"]: row["topics"] for row in frame.select("alert_id", "topics").collect()}


def test_trails_are_seldom_among_real_alerts_and_found_where_they_are(spark: SparkSession, shared: Path, tmp_path: Path) -> None:
    settings = load(options={"broker": {"home": str(tmp_path)}})
    (rule,) = (rule for rule in load_filters(data_folder("conf") / "filters", "lsst") if rule.name == "trails")
    paths = [shared / "alerts" / "lsst" / name for name in ("lsst_v10_0_as_raw_avro_20260310.tar.xz", "lsst_v9_0_lsstcam_20250906.tar.xz")]
    with decoded_rows(settings, "lsst", 200, paths=paths) as rows:
        real = rows.where("reason is null")
        assert real.count() == 87
        assert real.where("packet.diaSource.trailLength > 2 and abs(snr) > 5 and size(quality) = 0").count() == 6  # usual in bad seeing
        assert real.where(rule.where).count() == 0
    survey = load_survey(settings.schemas_path, "lsst")
    trailed = decoded(spark, settings, survey, list(Campaign("lsst", 60, 4, mix={"trail": 1.0}, models="built-in").alerts()))
    assert trailed.where(rule.where).count() > 30
