"""Completeness and purity: counted rightly, the same for the same seed, told by command and page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from fink_broker.cli import app, mount
from fink_broker.efficiency import Plan, busiest, folder_of, measure, read, table, write
from fink_broker.efficiency_plot import plots
from fink_broker.errors import ConfigError
from fink_broker.filters import load_filters
from fink_broker.question import MODULES, NOT_ASKED, STAMPS, Question
from fink_broker.science import Registry
from fink_broker.settings import Settings, data_folder, load
from fink_broker.skysim import templates
from fink_broker.skysim.kind import LABELS
from fink_broker.skysim.population import KINDS
from fink_broker.survey import load_survey
from fink_broker.testing import encode, make_alerts
from fink_broker.web.app import create_app
from tests.times_module import MODULE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def alerts(*rows: tuple[str, str | None, str | None, bool]) -> pd.DataFrame:
    """Of (source, label, kind, chosen)."""
    number = len(rows)
    frame = pd.DataFrame(rows, columns=["source", "label", "kind", "q0"]).assign(a0=True, reason=None, mjd=61000.0, first_mjd=60999.0)
    return frame.assign(mag=np.linspace(18.2, 18.8, number), ra=10.0, dec=20.0)


def test_shares_by_hand() -> None:
    found = table(
        alerts(
            ("injected", "SN Ia", "sn_ia", True),
            ("injected", "SN Ia", "sn_ia", True),
            ("injected", "SN Ia", "sn_ia", False),
            ("injected", "AGN", "agn", True),
            ("night", "SN Ia", "sn_ia", False),
            ("night", "AGN", "agn", True),
            ("night", "AGN", "agn", False),
            ("night", "AGN", "blazar", False),
            ("night", None, None, True),
        ),
        [Question("mine", "SN Ia", "", ("SN Ia",))],
    )
    row = found[found["by"] == "all"].iloc[0]
    assert (row["alerts"], row["meant"], row["right"], row["chosen"], row["chosen_of_night"]) == (8, 4, 2, 4, 2)
    assert row["completeness"] == 0.5
    assert row["completeness_low"] == pytest.approx(0.276, abs=2e-3)  # half of 4, one sigma, from the formula by hand
    assert row["completeness_high"] == pytest.approx(0.724, abs=2e-3)
    # both labels have four alerts: each counts a quarter; in the night 1 of 4 is a supernova
    assert row["purity_even"] == pytest.approx(0.5)
    assert row["purity_night"] == pytest.approx(2 * 1 / 4 / (2 * 1 / 4 + 2 * 3 / 4))
    assert (row["chance_even"], row["chance_night"]) == pytest.approx((0.5, 0.25))  # by lot
    assert found[found["by"] == "mag"]["bin"].tolist() == ["18 to 19"]
    assert found[found["by"] == "days"]["bin"].tolist() == ["0.5 to 3"]
    kinds = found[found["by"] == "type"].set_index("bin")
    assert kinds.loc["agn", "share_chosen"] == pytest.approx(2 / 3)
    assert np.isnan(kinds.loc["agn", "completeness"])
    assert kinds.loc["sn_ia", "completeness"] == 0.5


def test_a_label_is_of_one_group_of_stamp_class_and_the_summary_knows_the_same() -> None:
    from science_modules.summary import CLASSES
    from science_modules.summary import STAMPS as KEYS

    assert sorted(label for labels in STAMPS.values() for label in labels) == sorted(LABELS)
    assert {group: {CLASSES[key] for key in keys} for group, keys in KEYS.items()} == {group: set(labels) for group, labels in STAMPS.items()}


def test_questions_name_what_is_there() -> None:
    assert {*MODULES, *NOT_ASKED} == set(Registry.load(data_folder("science_modules")))
    aims = {rule.name: rule.aims for survey in ("ztf", "lsst") for rule in load_filters(data_folder("conf") / "filters", survey)}
    assert {name for name, whom in aims.items() if not whom} == {"bright", "fading_below_template", "uniform_sample"}
    assert aims["trails"] == ("trail",)
    for name, make in MODULES.items():
        for question in make(name):
            assert question.aims
            assert set(question.aims) <= {*LABELS, *KINDS}


@pytest.fixture(scope="module")
def found(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    assert spark
    settings = load(options={"broker": {"home": str(tmp_path_factory.mktemp("home"))}})
    return settings, *measure(settings, Plan(number=70, night=40, seed=3))


def test_the_chain_answers_and_the_seed_repeats_it(found: tuple[Settings, pd.DataFrame, pd.DataFrame, dict[str, Any]]) -> None:
    settings, rows, seen, about = found
    assert len(seen) == 110
    assert seen["reason"].isna().all()
    assert (seen["source"] == "injected").sum() == 70
    everything = rows[rows["by"] == "all"].set_index(["of", "name"])
    assert everything.loc[("solar_system", "known or candidate"), "completeness"] > 0.9
    assert everything.loc[("filter", "known_asteroids"), "purity_even"] == 1
    assert np.isnan(everything.loc[("filter", "bright"), "purity_even"])  # says nothing of whom it means
    again, same, _ = measure(settings, Plan(number=70, night=40, seed=3))
    pd.testing.assert_frame_equal(rows, again)
    pd.testing.assert_frame_equal(seen, same)
    assert about["seed"] == 3
    assert set(about["filters_used"]) == {name for of, name in everything.index if of == "filter"}


def test_written_plotted_and_shown(found: tuple[Settings, pd.DataFrame, pd.DataFrame, dict[str, Any]]) -> None:
    settings, rows, seen, about = found
    with TestClient(create_app(settings)) as client:
        assert "fink efficiency" in client.get("/efficiency").text
        write(folder_of(settings, "ztf"), rows, seen, about)
        assert {file.name for file in plots(rows, folder_of(settings, "ztf"))} >= {"filter.png", "solar_system.png"}
        page = client.get("/efficiency").text
        assert "known_asteroids" in page
        assert "/efficiency/ztf/filter.png" in page
        assert client.get("/efficiency/ztf/filter.png").content.startswith(b"\x89PNG")
        assert client.get("/efficiency.json").json()["surveys"][0]["parts"]["filter"][0]["meant"] > 0
        for path in ("/efficiency/ztf/about.json", "/efficiency/none/filter.png", "/efficiency/ztf/..%2Falerts.parquet"):
            assert client.get(path).status_code == 404
    kept, told = read(folder_of(settings, "ztf"))
    pd.testing.assert_frame_equal(kept, rows)
    assert told["seed"] == 3


def test_alerts_of_earlier_nights_are_the_history_of_later_ones(tmp_path: Path, spark: SparkSession) -> None:
    assert spark
    for folder in ("modules", "filters"):
        (tmp_path / folder).mkdir()
    (tmp_path / "modules" / "times.py").write_text(MODULE)
    about = 'summary = "Knows more than its own points"\ncontact = "tests"\nwhere = "times.first < array_min(lightcurve.mjd) - 1"\nmax_rate = 1\n'
    (tmp_path / "filters" / "longer.toml").write_text(about + 'aims = ["periodic variable"]\n')

    def chosen(most: int, nights: int) -> pd.DataFrame:
        science = {"modules": ["times"], "path": str(tmp_path / "modules"), "history_alerts": most}
        options = {"broker": {"home": str(tmp_path)}, "science": science, "filters": {"path": str(tmp_path / "filters")}}
        _, found, about = measure(load(options=options), Plan(number=60, night=0, seed=5, nights=nights))
        assert about["nights"] == nights
        assert found["reason"].isna().all()
        return found.assign(again=found["object_id"].duplicated())

    found = chosen(12, 70)
    assert found["mjd"].max() - found["mjd"].min() > 40
    assert found["q0"].any()
    assert found.loc[found["q0"], "again"].all()  # only what was seen on a night before
    assert not chosen(0, 70)["q0"].any()


def test_the_busiest_nights() -> None:
    palomar = -116.86  # local midnight is at 0.325 of a day
    assert busiest([60000.2, 60000.45, 60003.3, 60003.4, 60004.1], palomar) == 60000
    assert busiest([60000.2, 60000.45, 60003.3, 60003.4, 60004.1], palomar, 2) == 60003
    assert busiest([59999.9], palomar) == 60000  # an early evening


def into(night: Path, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    return measure(settings, Plan(number=120, night=90, seed=4, modules=("solar_system",), alerts=(str(night),)))


def interleaved(seen: pd.DataFrame, night: float) -> int:
    """How often the source changes within a night: 1 where one stands before the other."""
    assert seen["mjd"].is_monotonic_increasing
    source = seen.loc[(seen["mjd"] > night - 0.2) & (seen["mjd"] < night + 0.8), "source"]
    return int((source != source.shift()).sum()) - 1


def test_injected_into_a_real_night_they_stand_among_its_alerts(tmp_path: Path, spark: SparkSession) -> None:
    assert spark
    settings = load(options={"broker": {"home": str(tmp_path)}})
    survey = load_survey(settings.schemas_path, "ztf")
    (tmp_path / "night").mkdir()
    made = list(make_alerts("ztf", 90, seed=6))
    for one in made:
        (tmp_path / "night" / f"{one.alert_id}.avro").write_bytes(encode(survey, one.packet))
    rows, seen, about = into(tmp_path / "night", settings)
    assert seen["reason"].isna().all()
    assert about["night"] == (seen["source"] == "night").sum() == 90
    assert set(seen.loc[seen["source"] == "night", "alert_id"]) == {one.alert_id for one in made}
    assert about["start_mjd"] == busiest([one.mjd for one in made], survey.longitude_deg)
    assert interleaved(seen, about["start_mjd"]) > 10
    row = rows[rows["by"] == "all"].iloc[0]
    assert row["alerts"] == 120  # nobody knows the truth of the others
    assert row["completeness"] > 0.9
    assert np.isnan(row["purity_night"])
    assert np.isnan(row["chance_night"])
    assert row["chosen_of_night"] >= sum(one.packet["candidate"]["ssnamenr"] != "null" for one in made) > 5


def test_injected_into_the_alerts_of_a_real_night(tmp_path: Path, shared: Path, spark: SparkSession) -> None:
    assert spark
    rows, seen, about = into(shared / "alerts/ztf/ztf_v4_02_fink_topics_20231018_b.tar.xz", load(options={"broker": {"home": str(tmp_path)}}))
    assert about["start_mjd"] == 60235  # October 18, 2023
    assert (seen["reason"].isna() & (seen["source"] == "night")).sum() == 90
    assert interleaved(seen, 60235) > 10
    assert rows[rows["by"] == "all"].iloc[0]["chosen_of_night"] > 0


def test_two_versions_of_a_module_are_asked_side_by_side(tmp_path: Path, spark: SparkSession) -> None:
    assert spark
    (tmp_path / "model.onnx").write_bytes((data_folder("science_modules") / "early_snia" / "model.onnx").read_bytes())
    params = {"early_snia_next": {"module": "early_snia", "models": str(tmp_path), "min_detections": 6}}
    settings = load(options={"broker": {"home": str(tmp_path)}, "science": {"modules": ["early_snia"], "params": params}})
    rows, seen, about = measure(settings, Plan(number=200, night=0, seed=2, modules=("early_snia", "early_snia_next")))
    one, other = (rows[(rows["of"] == name) & (rows["by"] == "all")].iloc[0] for name in params | {"early_snia": {}})
    assert (one["of"], other["of"]) == ("early_snia_next", "early_snia")
    assert one["meant"] == other["meant"] > 5
    assert 0 < one["asked"] < other["asked"]
    both = seen["a1"]
    assert (seen.loc[both, "q0"] == seen.loc[both, "q1"]).all()  # the same model, where it is asked
    assert about["provenance"]["early_snia_next"] != about["provenance"]["early_snia"]


def test_without_sncosmos_data_it_says_so(tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    assert spark
    monkeypatch.setenv("SNCOSMO_DATA_DIR", str(tmp_path / "none"))
    templates.templates.cache_clear()
    if not app.registered_commands:
        mount()
    line = ["--home", str(tmp_path), "efficiency", "--number", "20", "--night", "0", "--module", "solar_system", "--no-plots"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert "supernovae have built-in shapes" in done.stderr
    assert "give --models sncosmo, which downloads" in done.stderr
    assert read(folder_of(load(options={"broker": {"home": str(tmp_path)}}), "ztf"))[1]["models"] == ["built-in"]
    assert "built-in shapes" not in CliRunner().invoke(app, [*line, "--models", "built-in"]).stderr
    templates.templates.cache_clear()


def test_what_is_not_there_is_told(tmp_path: Path, spark: SparkSession) -> None:
    assert spark
    settings = load(options={"broker": {"home": str(tmp_path)}})
    with pytest.raises(ConfigError, match=r"of module 'xmatch' no class can be asked: simulated things are in no catalogue; there are early_snia"):
        measure(settings, Plan(number=1, night=0, modules=("xmatch",)))
    with pytest.raises(ConfigError, match=r"of module 'mine' no class can be asked; .*; for a second version beside it set \[science.params.mine\] module"):
        measure(settings, Plan(number=1, night=0, modules=("mine",)))
    with pytest.raises(ConfigError, match="no filter named 'none' for ztf; known: asteroid_candidates"):
        measure(settings, Plan(number=1, night=0, filters=("none",)))
    with pytest.raises(ConfigError, match="0 nights; expected 1 or more"):
        measure(settings, Plan(nights=0))
    with pytest.raises(ConfigError, match="0 injected alerts"):
        measure(settings, Plan(number=0))
    if not app.registered_commands:
        mount()
    done = CliRunner().invoke(app, ["--home", str(tmp_path), "efficiency", "--number", "20", "--night", "0", "--module", "solar_system", "--no-plots"])
    assert done.exit_code == 0, done.output
    assert "known or candidate" in done.stdout
    assert "by lot" in done.stdout
    assert "filter " not in done.stdout
    assert (tmp_path / "efficiency" / "ztf" / "efficiency.parquet").is_file()
