"""`fink filter`: what is listed, made, and tried on the nights of a lake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from fink_broker.cli.filter import app
from fink_broker.errors import FilterError, TooLoose
from fink_broker.jobs import steps
from fink_broker.lake import Lake
from fink_broker.settings import Settings, data_folder, load
from fink_broker.survey import load_survey
from fink_broker.testing import make_alerts
from tests.integration.substreams import decoded

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

run = CliRunner()


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    shutil.copytree(data_folder("conf/filters"), tmp_path / "filters")
    return load(options={"broker": {"home": str(tmp_path)}, "filters": {"path": str(tmp_path / "filters")}})


def said(settings: Settings, *words: str) -> str:
    done = run.invoke(app, list(words), obj=settings, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_list_names_broken_ones_too(here: Settings) -> None:
    (here.filters_path / "mine.toml").write_text("x")
    assert "mine" in said(here, "list")
    assert "BROKEN: filter mine.toml: not valid TOML" in said(here, "list")
    rows = {row["name"]: row for row in json.loads(said(here, "list", "--json"))}
    assert rows["pure"]["survey"] == ["ztf"]
    assert rows["bright"]["error"] is None


def test_show_says_which_topics_it_feeds(here: Settings) -> None:
    shown = said(here, "show", "bright")
    assert "topics    fink_bright_elasticc, fink_bright_lsst, fink_bright_ztf" in shown
    with pytest.raises(FilterError, match=r"no filter named 'brigth' in .*; did you mean 'bright'\? `fink filter new brigth`"):
        said(here, "show", "brigth")


def test_new_makes_a_file_that_runs(here: Settings, spark: SparkSession) -> None:
    del spark
    assert "mine.toml: fill it in, then run `fink filter check mine`" in said(here, "new", "mine")
    with pytest.raises(FilterError, match="filter mine exists already"):
        said(here, "new", "mine")
    with pytest.raises(FilterError, match="'ztf_mine' cannot name a filter"):
        said(here, "new", "ztf_mine")
    checked = said(here, "check", "mine", "--survey", "ztf")
    assert "ztf: the filter can run" in checked
    assert "no night in the lake to try it on" in checked
    with pytest.raises(FilterError, match="filter pure sees no alerts of 'lsst'; it is for ztf"):
        said(here, "check", "pure", "--survey", "lsst")


def test_check_tells_the_yield_and_refuses_what_is_too_loose(here: Settings, spark: SparkSession) -> None:
    survey = load_survey(here.schemas_path, "ztf")
    rows = decoded(spark, here, survey, list(make_alerts("ztf", 80, seed=5))).drop("xmatch", "provenance")
    rows = steps.enrich(rows, steps.science_chain(here, "ztf"), survey).drop("reason", "value")
    lake = Lake(here)
    lake.commit(lake.stage(rows, "science", "test"), "science")
    night = str(lake.nights("science", "ztf")[0])
    date = f"{night[:4]}-{night[4:6]}-{night[6:]}"
    found = said(here, "check", "known_asteroids", "--survey", "ztf", "--night", date, "--night", "1999-01-01")
    assert "not in the lake: 1999-01-01; its last nights:" in found
    assert f"{date}: " in found
    assert "at most 60.0% are allowed" in found
    (here.filters_path / "loose.toml").write_text('summary = "all"\nwhere = "true"\nmax_rate = 0.01')
    with pytest.raises(TooLoose, match=r"filter loose passes 100\.0% of \d+ alerts of ztf; at most 1\.0% are allowed: narrow"):
        said(
            here,
            "check",
            "loose",
            "--survey",
            "ztf",
            *(part for n in lake.nights("science", "ztf") for part in ("--night", str(n))),
        )
    (here.filters_path / "wrong.toml").write_text('summary = "x"\nwhere = "magg < 3"')
    with pytest.raises(FilterError, match="no column 'magg'; did you mean 'mag'"):
        said(here, "check", "wrong")
