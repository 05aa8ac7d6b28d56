"""A real schema registry: Apicurio Registry, which speaks Confluent's protocol, fetched once by Maven into the cache of the tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from fink_broker.services import jars, process
from tests.conftest import missing

VERSION = "2.6.13.Final"
CACHE = Path(os.environ.get("FINK_TEST_CACHE", "~/.cache/fink-broker-tests")).expanduser()


def installed() -> Path:
    """The server's jar; the test skips (in CI: fails) where it cannot be had."""
    folder = CACHE / f"apicurio-registry-{VERSION}"
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            artifact = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
            line = [shutil.which("mvn") or "mvn", "-B", "-q", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={scratch}"]
            done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=900)
            if done.returncode:
                told = [row for row in done.stdout.splitlines() if "ERROR" in row][:1]
                missing(f"the schema registry {VERSION} could not be fetched: {' '.join(told)[:300]}")
            with tarfile.open(next(Path(scratch).glob("*.tar.gz"))) as tar:
                tar.extractall(folder, filter="data")
        (folder / "installed").touch()
    return folder / f"apicurio-registry-app-{VERSION}-runner.jar"


@contextmanager
def registry(home: Path, port: int = 0) -> Iterator[str]:
    """Address of a registry that runs within the block, its schemas in memory."""
    port, log = process.free_port(port), home / "logs" / "registry.log"
    environment = {**os.environ, "HTTP_PORT": str(port), "QUARKUS_HTTP_HOST": "127.0.0.1"}
    pid = process.start([jars.java(), "-Xmx300m", "-jar", str(installed())], log, environment)
    url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
    try:
        process.wait(lambda: process.answers(port) and _talks(url), pid, "the schema registry", log)
        yield url
    finally:
        process.stop(pid, "apicurio")


def register(url: str, subject: str, schema: str, references: list[dict[str, Any]] | None = None) -> int:
    """Register a schema; the id that the registry gave it."""
    answer = httpx.post(f"{url}/subjects/{subject}/versions", json={"schema": schema, "references": references or []}, timeout=30)
    answer.raise_for_status()
    return int(answer.json()["id"])


def _talks(url: str) -> bool:
    try:
        return isinstance(json.loads(httpx.get(f"{url}/subjects", timeout=5).text), list)
    except (httpx.HTTPError, ValueError):
        return False
