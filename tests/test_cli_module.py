"""`fink module`: what it prints, and that a new module works at once."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fink_broker.cli.module import app
from fink_broker.errors import ConfigError, UnknownModule
from fink_broker.settings import Settings, data_folder, load

run = CliRunner()


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    shutil.copytree(data_folder("science_modules"), tmp_path / "modules", ignore=shutil.ignore_patterns("__pycache__"))
    return load(options={"broker": {"home": str(tmp_path)}, "science": {"path": str(tmp_path / "modules"), "modules": ["features", "purity"]}})


def said(settings: Settings, *words: str) -> str:
    done = run.invoke(app, list(words), obj=settings, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_list_tells_enabled_installed_and_broken(here: Settings) -> None:
    (here.modules_path / "sick.py").write_text("1 / 0\n")
    lines = {line.split()[0]: line for line in said(here, "list").splitlines()}
    assert "enabled    *       Statistics of the difference fluxes" in lines["features"]
    assert "enabled    ztf     Whether a ZTF detection" in lines["purity"]
    assert "installed  *       Change of magnitude per day" in lines["magnitude_rate"]
    assert "broken     science module sick.py cannot be imported: ZeroDivisionError: division by zero; mend it" in lines["sick"]


def test_show(here: Settings) -> None:
    shown = said(here, "show", "solar_system")
    assert "solar_system 1." in shown
    assert "known: boolean" in shown
    assert "set under [science.params.solar_system]" in shown
    assert "radius_arcsec = 5.0" in shown
    with pytest.raises(UnknownModule, match="did you mean 'solar_system'?"):
        said(here, "show", "solarsystem")


def test_a_new_module_and_its_test_work_at_once(here: Settings, tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    told = said(here, "new", "half_range", "--tests", str(tests))
    assert told.split("; next: ")[1].strip() == "edit it, `fink module check half_range`, then add it to [science] modules"
    assert "Half of faintest minus brightest" in said(here, "show", "half_range")
    environment = {"FINK_SCIENCE__PATH": str(here.modules_path), "PATH": "/usr/bin", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tests), str(tests)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tests)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    for name, message in (("half_range", "there is a module half_range already"), ("Half", "'Half' cannot name a module"), ("xmatch", "already")):
        with pytest.raises(ConfigError, match=message):
            said(here, "new", name, "--tests", str(tests))


def test_check_refuses_a_name_and_all() -> None:
    with pytest.raises(ConfigError, match=r"both a module \(features\) and --all are given; leave one out"):
        run.invoke(app, ["check", "features", "--all"], obj=load(), catch_exceptions=False)
