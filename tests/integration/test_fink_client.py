"""The public fink-client, unchanged, from PyPI: it registers, subscribes, displays and saves alerts of our topics.

Each version has an environment of its own under ~/.cache/fink-broker-tests (FINK_TEST_CACHE puts it elsewhere), made once.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from fink_broker import kafka
from tests.integration.substreams import Substreams, at, published

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from fink_broker.settings import Settings

pytestmark = pytest.mark.integration
NEWEST, OLD = "12.3.0", "10.1"
CACHE = Path(os.environ.get("FINK_TEST_CACHE", "~/.cache/fink-broker-tests")).expanduser()


@pytest.fixture(scope="module", params=["ztf", "lsst"])
def sent(request: pytest.FixtureRequest, spark: SparkSession, settings: Settings) -> Substreams:
    return published(spark, settings, request.param)


def installed(version: str) -> Path:
    """Folder of the commands of a version of fink-client; the test skips where it cannot be had."""
    folder = CACHE / f"fink-client-{version}"
    if not (folder / "installed").exists():
        steps: tuple[Sequence[str], ...] = (
            (sys.executable, "-m", "venv", "--clear", str(folder)),
            (str(folder / "bin/python"), "-m", "pip", "install", "-q", f"fink-client=={version}"),
        )
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=900)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                reason = f"fink-client {version} could not be installed: {last}"
                if os.environ.get("CI"):
                    pytest.fail(reason)
                pytest.skip(reason)
        (folder / "installed").touch()
    return folder / "bin"


def run(home: Path, *command: object) -> str:
    """What a command printed; it must end well. Its credentials are kept under `home`."""
    environment = {**os.environ, "HOME": str(home), "COLUMNS": "200", "PYTHONPATH": ""}
    words = [str(word) for word in command]
    done = subprocess.run(words, env=environment, cwd=home, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def check_saved(sent: Substreams, folder: Path) -> None:
    """Every alert was saved under the name that the client gives, with exact ids and the very bytes of its cutouts."""
    files = sorted(folder.glob("*.avro"))
    assert len(files) == len(sent.alerts)
    names = set()
    for file in files:
        with file.open("rb") as opened:
            (record,) = fastavro.reader(opened)
        alert: Any = record
        made = sent.alerts[alert["neutral"]["alert_id"]]
        for path in (*sent.survey.paths.values(), *sent.survey.cutout_paths.values()):
            assert at(alert, path) == at(made.packet, path), path
        names.add(file.name)
    if sent.survey.name == "ztf":
        assert names == {f"{made.packet['objectId']}_{made.packet['candid']}.avro" for made in sent.alerts.values()}
    else:
        assert names == {f"{number}.avro" for number in sent.alerts}


def check_displayed(sent: Substreams, shown: str) -> None:
    """Every alert stands in the tables that the client printed."""
    for made in sent.alerts.values():
        packet = made.packet
        if sent.survey.name == "ztf":
            assert packet["objectId"] in shown
            continue
        moving = packet["diaObject"] is None
        assert str(packet["mpc_orbits"]["designation"] if moving else packet["diaObject"]["diaObjectId"]) in shown
    topic = next(iter(sent.filters))
    assert len(re.findall(rf"\| +{topic} +\|", shown)) == len(sent.alerts)


def test_the_newest_client(sent: Substreams, settings: Settings, tmp_path: Path) -> None:
    finkctl = installed(NEWEST) / "finkctl"
    survey, topic, group = sent.survey.name, next(iter(sent.filters)), uuid.uuid4().hex
    own = ("-survey", survey)
    servers = ("-servers", settings.output_servers, "-maxtimeout", 10)
    run(tmp_path, finkctl, "auth", "register", *own, "-username", "me", "-groupid", group, *servers)
    run(tmp_path, finkctl, "topic", "subscribe", *own, "-name", topic)
    assert topic in run(tmp_path, finkctl, "auth", "show", *own)
    if survey == "ztf":  # for LSST it asks a fixed address
        listed = run(tmp_path, finkctl, "topic", "list", *own)
        assert topic in listed
        assert kafka.quarantine_topic("ztf") not in listed
    out = tmp_path / "out"
    out.mkdir()
    limit = len(sent.alerts)
    shown = run(tmp_path, finkctl, "stream", *own, "--display", "--save", "-outdir", out, "-limit", limit)
    check_displayed(sent, shown)
    check_saved(sent, out)
    left = run(tmp_path, finkctl, "stream", *own, "--display_statistics")
    assert re.search(rf"Total for {topic} +{limit} +0", left), left
    again = tmp_path / "again"
    run(tmp_path, finkctl, "stream", *own, "--save", "-outdir", again, "-limit", limit, "-start_at", "earliest")
    check_saved(sent, again)


def test_the_old_client(sent: Substreams, settings: Settings, tmp_path: Path) -> None:
    commands = installed(OLD)
    survey, topic, group = sent.survey.name, next(iter(sent.filters)), uuid.uuid4().hex
    who = ("-username", "me", "-group_id", group, "-mytopics", topic)
    servers = ("-servers", settings.output_servers, "-maxtimeout", 10)
    run(tmp_path, commands / "fink_client_register", "-survey", survey, *who, *servers)
    out = tmp_path / "out"
    out.mkdir()
    limit = len(sent.alerts)
    shown = run(tmp_path, commands / "fink_consumer", "-survey", survey, "--display", "--save", "-outdir", out, "-limit", limit)
    check_displayed(sent, shown)
    check_saved(sent, out)
    schema = run(tmp_path, commands / "fink_consumer", "-survey", survey, "--dump_schema", "-limit", 1, "-start_at", "earliest")
    assert "Schema saved as" in schema
    # last: it leaves its group without a word, and the next member would wait for it
    assert topic in run(tmp_path, commands / "fink_consumer", "-survey", survey, "--available_topics")


def test_the_newest_client_turns_our_alerts_into_arrow(sent: Substreams, tmp_path: Path, settings: Settings) -> None:
    """Data transfer converts records by their schema: no logical types, every record under a name of its own."""
    from fink_broker import client

    alerts = list(client.listen(next(iter(sent.filters)), settings.output_servers, limit=3, timeout=20))
    for alert in alerts:
        alert.save(tmp_path)
    program = (
        "import sys, fastavro\n"
        "from fink_client.avro2arrow import avro_to_arrow\n"
        "for path in sys.argv[1:]:\n"
        "    reader = fastavro.reader(open(path, 'rb'))\n"
        "    table, _ = avro_to_arrow(reader.writer_schema, list(reader))\n"
        "    print(table.num_rows, table.column('neutral')[0]['alert_id'])\n"
    )
    made = run(tmp_path, installed(NEWEST) / "python", "-c", program, *sorted(tmp_path.glob("*.avro")))
    assert sorted(made.split()[1::2]) == sorted(alert.id for alert in alerts)
