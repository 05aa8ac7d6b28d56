"""Whether sncosmo's spectra are there is told rightly, and what is said to do helps."""

import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fink_broker import simulate
from fink_broker.cli import app, mount
from fink_broker.skysim.observatory import LSST, ZTF
from fink_broker.skysim.templates import SERIES, has_sncosmo, lacking, resolved, templates


def laid_out(folder: Path) -> None:
    """Empty files where sncosmo keeps its data."""
    for name in ("models/salt3/salt3-f22", "models/vincenzi", "bandpasses/ztf", "bandpasses/lsst"):
        (folder / name).mkdir(parents=True)
    (folder / "models/salt3/salt3-f22/salt3_template_0.dat.gz").touch()
    for site in (ZTF, LSST):
        for band in site.bands:
            (folder / f"bandpasses/{site.name}/{band}.dat").touch()
    for names in SERIES.values():
        for name in names:
            year, letters = name.removeprefix("v19-")[:4], name.removeprefix("v19-")[4:]
            (folder / "models/vincenzi" / f"V19_SN{year}{letters.upper() if len(letters) == 1 else letters}_noHostExtCorr.SED").touch()


def test_all_that_is_needed_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sncosmo")
    monkeypatch.setenv("SNCOSMO_DATA_DIR", str(tmp_path))
    assert lacking() == (f"supernovae have built-in shapes: data of sncosmo are not in {tmp_path}; give --models sncosmo, which downloads what is missing")
    laid_out(tmp_path)
    assert has_sncosmo()
    assert not lacking()
    for name in ("models/vincenzi/V19_SN2013ge_noHostExtCorr.SED", "bandpasses/lsst/y.dat", "models/salt3/salt3-f22/salt3_template_0.dat.gz"):
        assert resolved("auto") == "sncosmo"
        (tmp_path / name).unlink()
        assert not has_sncosmo()
        assert (resolved("auto"), resolved("sncosmo")) == ("built-in", "sncosmo")
        (tmp_path / name).touch()


def test_without_sncosmo_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sncosmo", None)
    monkeypatch.setattr("fink_broker.skysim.templates.find_spec", lambda name: None)
    assert "sncosmo is not installed; pip install 'fink-broker[sky]', then give --models sncosmo" in lacking()


def test_who_asks_for_sncosmo_gets_all_that_is_looked_for(monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    """sncosmo downloads what it is asked for and has not; so it must be asked for everything."""
    sncosmo = pytest.importorskip("sncosmo")
    monkeypatch.setenv("SNCOSMO_DATA_DIR", str(shared / "sncosmo"))
    assert has_sncosmo()
    asked: set[str] = set()
    for name in ("get_source", "get_bandpass"):
        true = getattr(sncosmo, name)
        monkeypatch.setattr(sncosmo, name, lambda what, true=true: (asked.add(what), true(what))[1])
    templates.cache_clear()
    assert templates(ZTF, "sncosmo").origin == "sncosmo"
    assert asked >= {"salt3", *(name for names in SERIES.values() for name in names), *ZTF.sncosmo_bands, *LSST.sncosmo_bands}


def test_simulate_says_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaigns: list[dict[str, Any]] = []
    monkeypatch.setenv("SNCOSMO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FINK_KAFKA__BOOTSTRAP_SERVERS", "localhost:1")  # nothing is sent
    monkeypatch.setattr(simulate, "make_sky_packets", lambda surveys, schemas, campaign, truth: campaigns.append(campaign))
    monkeypatch.setattr(simulate, "send", lambda *settings, **options: None)
    if not app.registered_commands:
        mount()
    line = ["--home", str(tmp_path), "simulate", "--sky", "--number", "5"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert "supernovae have built-in shapes" in done.stderr
    assert "built-in shapes" not in CliRunner().invoke(app, [*line, "--models", "sncosmo"]).stderr
    assert [campaign["models"] for campaign in campaigns] == ["built-in", "sncosmo"]  # told by name, so that a campaign goes on as it began
