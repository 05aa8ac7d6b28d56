"""Settings: order of precedence, unknown names, secrets."""

from pathlib import Path

import pytest

from fink_broker.errors import ConfigError
from fink_broker.settings import Settings, load


def test_the_shipped_file_holds_the_defaults() -> None:
    assert load() == Settings()


def test_options_win_over_environment_over_profile_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "fink.toml"
    file.write_text("[web]\nport = 1\nmax_rows = 11\n[ingest]\ntrigger_seconds = 3\n")
    monkeypatch.setenv("FINK_WEB__PORT", "2")
    found = load(file, options={"ingest": {"trigger_seconds": 4}})
    assert (found.web.port, found.web.max_rows, found.ingest.trigger_seconds) == (2, 11, 4)


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "fink.toml"
    file.write_text("[ingest]\ntriger_seconds = 3\n")
    with pytest.raises(ConfigError, match=r"unknown setting 'ingest.triger_seconds'; did you mean 'trigger_seconds'\?"):
        load(file)


def test_a_wrong_value_names_its_setting() -> None:
    with pytest.raises(ConfigError, match=r"setting 'web.port' is 'x'"):
        load(options={"web": {"port": "x"}})


def test_secrets_print_as_stars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINK_KAFKA__SASL_PASSWORD", "hush")
    found = load()
    assert "hush" not in repr(found)
    assert found.kafka.sasl_password.get_secret_value() == "hush"


def test_no_kafka_tells_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no Kafka to talk to: .* start one with `fink up`"):
        _ = load(options={"broker": {"home": str(tmp_path)}}).bootstrap_servers


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no profile named 'nowhere'; known: "):
        load(profile="nowhere")
