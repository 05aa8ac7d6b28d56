"""The embedded services: found running, told where, restarted with their data."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from fink_broker import kafka
from fink_broker.services import stack
from fink_broker.settings import Settings

pytestmark = pytest.mark.integration


def test_a_second_up_finds_them_running(services: dict[str, Any], settings: Settings) -> None:
    said: list[str] = []
    assert stack.up(settings.home, say=said.append) == stack.read(settings.home)
    assert not said


def test_status_tells_addresses_as_json(services: dict[str, Any], settings: Settings) -> None:
    line = [sys.executable, "-m", "fink_broker", "--home", str(settings.home), "status", "--json"]
    found = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    assert found["kafka"]["bootstrap_servers"] == settings.bootstrap_servers
    assert found["hbase"]["running"]
    assert found["kafka"]["running"]
    assert found["lake"]["path"] == settings.lake_path


def test_everything_listens_on_loopback_only(services: dict[str, Any]) -> None:
    ports = {services["kafka"]["port"], services["kafka"]["controller_port"], services["hbase"]["port"], services["hbase"]["master_port"]}
    listening = [line.split() for line in open("/proc/net/tcp6").readlines()[1:] + open("/proc/net/tcp").readlines()[1:]]  # noqa: SIM115
    found = {int(row[1].split(":")[1], 16): row[1].split(":")[0] for row in listening if row[3] == "0A"}
    for port in ports:
        assert found[port].endswith("0100007F"), f"port {port} listens on {found[port]}"


def test_topics_can_be_made(settings: Settings) -> None:
    kafka.ensure_topics(settings, ["fink_test_topic"])
    assert kafka.topics(settings)["fink_test_topic"] == settings.kafka.topic_partitions
