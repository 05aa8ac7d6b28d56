"""`pip install .`: the wheel holds what the broker reads at run time, and its `fink` works far from the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fink_broker
from fink_broker.services import jars

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow
Fink = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package built from the source archive, as an index would give it; nothing is fetched, and nothing is written to the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".git", ".venv", ".jars", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "tests")
    shutil.copytree(ROOT, folder / "sources", ignore=left_out)
    subprocess.run([sys.executable, "setup.py", "-q", "sdist", "-d", str(folder)], check=True, timeout=300, cwd=folder / "sources", capture_output=True)
    (sources,) = folder.glob("*.tar.gz")
    line = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), str(sources)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def fink(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fink]:
    """Runs `fink` from an environment of its own that borrows only the other packages."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, timeout=120)
    python = folder / "venv/bin/python"
    site = Path(
        subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True).stdout.strip()
    )
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    empty = folder / "elsewhere"
    empty.mkdir()

    def run(*words: str) -> str:
        environment = {**os.environ, "FINK_JARS": str(jars.folder()), "PYTHONPATH": ""}
        line = [str(folder / "venv/bin/fink"), "--home", str(folder / "home"), *words]
        answer = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120, cwd=empty, env=environment)
        assert answer.returncode == 0, answer.stderr
        borrowed = (str(jars.folder()), sysconfig.get_path("purelib"))
        assert str(ROOT) not in answer.stdout.replace(borrowed[0], "").replace(borrowed[1], "")
        return answer.stdout

    yield run
    assert not list(empty.iterdir())


def test_the_wheel_holds_what_is_read_at_run_time(wheel: Path) -> None:
    assert wheel.name.startswith(f"fink_broker-{fink_broker.__version__}-py3")
    held = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("schemas", "conf", "science_modules", "bin"):
        listed = subprocess.run(["git", "ls-files", folder], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
        assert listed
        missing = [name for name in listed if f"fink_broker/data/{name}" not in held]
        assert not missing
    package = subprocess.run(["git", "ls-files", "fink_broker"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert not [name for name in package if name not in held and not (name.endswith((".md", ".png")) and "/web/" not in name)]  # READMEs and their pictures
    assert not [name for name in held if name.startswith("tests") or "__pycache__" in name]


def test_fink_works_far_from_the_sources(fink: Fink) -> None:
    assert f"fink {fink_broker.__version__}" in fink("--version")
    assert "demo" in fink("--help")
    assert "bootstrap_servers" in fink("config")
    assert "yarn" in fink("--profile", "cluster", "config", "spark")
    assert len(fink("schema", "list").splitlines()) == len(list((ROOT / "schemas").glob("*/*/*.avsc")))
    modules = fink("module", "list")
    assert "features" in modules
    assert "xmatch" in modules
    assert len(fink("filter", "list").splitlines()) == len(list((ROOT / "conf/filters").glob("*.toml")))
    assert "never started" in fink("status")


def test_the_installed_package_brings_its_own_entry_points(fink: Fink) -> None:
    line = fink("submit", "live", "--dry-run")
    assert "fink_broker/data/bin/live.py" in line
    assert "fink_broker/data/conf/log4j2.properties" in line


def test_the_gateway_finds_its_templates(wheel: Path) -> None:
    held = zipfile.ZipFile(wheel).namelist()
    for file in (*(ROOT / "fink_broker/web/templates").iterdir(), *(ROOT / "fink_broker/web/static").iterdir()):
        assert str(file.relative_to(ROOT)) in held
