"""Surveys are data: what a survey.toml must have."""

import shutil
from pathlib import Path

import pytest

from fink_broker.errors import ConfigError
from fink_broker.settings import data_folder
from fink_broker.survey import load_survey, load_surveys


def test_three_surveys_are_shipped() -> None:
    assert {name: survey.framing for name, survey in load_surveys(data_folder("schemas")).items()} == {
        "elasticc": "bare", "lsst": "confluent", "ztf": "container"
    }  # fmt: skip


def test_an_unknown_survey_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no survey named 'atlas'; known under .*: elasticc, lsst, ztf"):
        load_survey(data_folder("schemas"), "atlas")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('snr = "', 'snrr = "', "lacks snr in \\[neutral\\]"),
        ("[cutouts]", "[cutout]", "unknown cutout"),
        ('title = "', "title = ", "not valid TOML"),
        ("kind = \"'forced'\"", 'sort = "1"', "unknown sort in \\[\\[lightcurve\\]\\]"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, old: str, new: str, reason: str) -> None:
    shutil.copytree(data_folder("schemas") / "ztf", tmp_path / "ztf")
    file = tmp_path / "ztf" / "survey.toml"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=reason):
        load_survey(tmp_path, "ztf")


def test_a_new_survey_is_a_folder(tmp_path: Path) -> None:
    shutil.copytree(data_folder("schemas") / "elasticc", tmp_path / "mine")
    assert load_survey(tmp_path, "mine").name == "mine"
