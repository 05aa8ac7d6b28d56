"""`fink model`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fink_broker import cli
from fink_broker.errors import ConfigError

cli.mount()


def run(*words: str, home: Path) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["--home", str(home), "model", *words])
    if isinstance(done.exception, ConfigError):
        raise done.exception
    return done.exit_code, done.stdout


def test_models_are_listed_and_verified(tmp_path: Path) -> None:
    code, said = run("list", home=tmp_path)
    assert code == 0
    assert "early_snia" in said
    assert " MB " in said
    code, said = run("verify", "early_snia", home=tmp_path)
    assert (code, said.split()) == (0, ["early_snia", "good:", "hash,", "card,", "score", "and", "outputs", "agree"])


def test_a_module_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="science module extragalactic has no model; `fink model list` shows those that have"):
        run("verify", "extragalactic", home=tmp_path)
