"""The image and the compose file: parsed, and each command one that exists."""

from pathlib import Path

import yaml

DOCKER = Path(__file__).resolve().parents[1] / "docker"


def test_the_compose_file_runs_commands_that_exist() -> None:
    from fink_broker import cli

    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert set(services) == {"services", "jobs", "gateway", "simulator"}
    known = {name for names in cli.COMMANDS.values() for name in names}
    for name, service in services.items():
        if name != "services":
            assert service["command"][0] in known
            assert service["network_mode"] == "service:services"
    assert all(port.startswith("127.0.0.1:") for port in services["services"]["ports"])


def test_the_image_copies_what_the_package_needs() -> None:
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    copied = {line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line}
    assert {"fink_broker", "conf", "schemas", "science_modules", "bin", "setup.py"} <= copied
    assert all((DOCKER.parent / name).exists() for name in copied)
    assert "USER fink" in lines
    starts = ("FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "ENTRYPOINT", "CMD", "#")
    assert all(line.startswith(starts) for line in lines if line)
