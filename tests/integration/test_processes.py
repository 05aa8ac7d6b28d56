"""Jobs and the demonstration as processes of their own: started as an operator starts them, stopped by signals."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fink_broker.jobs.submit import changed
from fink_broker.ledger import Ledger
from fink_broker.replay import Packet
from fink_broker.settings import Settings, data_folder, load
from fink_broker.simulate import make_packets, send

pytestmark = [pytest.mark.integration, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def apart(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a broker beside the others: the same servers, but a home, an input topic, HBase tables and filters of its own."""
    mark = uuid.uuid4().hex[:8]
    schemas, filters = tmp_path / "schemas", tmp_path / "filters"
    shutil.copytree(data_folder("schemas"), schemas)
    survey = schemas / "ztf/survey.toml"
    lines = [f'topic = "ztf_{mark}"' if line.startswith("topic =") else line for line in survey.read_text().splitlines()]
    survey.write_text("\n".join(f'topic_pattern = "ztf_{mark}"' if line.startswith("topic_pattern =") else line for line in lines))
    filters.mkdir()
    (filters / f"all_{mark}.toml").write_text('summary = "All"\nwhere = "true"\ncutouts = false\nmax_rate = 1.0\n')
    host, port = settings.thrift
    return load(
        options={
            "broker": {"home": str(tmp_path / "home"), "schemas": str(schemas)},
            "kafka": {"bootstrap_servers": settings.bootstrap_servers},
            "hbase": {"host": host, "port": port, "prefix": f"t{mark}"},
            "filters": {"path": str(filters)},
            "ingest": {"max_offsets_per_trigger": 100},
            "spark": {"driver_memory": "2g", "quick_start": True},
            "jobs": {"max_restarts": 1, "backoff_seconds": 0.1},
        }
    )


def variables(settings: Settings, **more: object) -> dict[str, str]:
    """The environment that gives a process these settings."""
    chosen, _ = changed(settings)
    found = {f"FINK_{name.replace('.', '__')}".upper(): value for name, value in chosen.items()}
    return {**os.environ, "PYTHONPATH": str(ROOT), **found, **{key: str(value) for key, value in more.items()}}


@contextmanager
def process(line: Sequence[object], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process and its children; whatever is left of them at the end is killed."""
    with log.open("wb") as file:
        running = subprocess.Popen(
            [str(word) for word in line], env=env, stdout=file, stderr=file, start_new_session=True, cwd=log.parent,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored, and so inherited, where the tests run in the background
        )  # fmt: skip
    try:
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def until(ready: Callable[[], Any], running: subprocess.Popen[bytes], log: Path, seconds: float = 400) -> None:
    """Wait for something while the process runs."""
    last = time.monotonic() + seconds
    while not ready():
        assert running.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < last, log.read_text()[-3000:]
        time.sleep(0.05)


def packets(settings: Settings, number: int, seed: int = 5) -> list[Packet]:
    return list(make_packets(["ztf"], settings.schemas_path, number, seed=seed))


def members(text: str) -> list[str]:
    """Command lines of running processes that name this text."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line:
                found.append(line)
    return found


def gone(text: str, seconds: float = 30) -> bool:
    """Whether no process names this text any more; a JVM ends a moment after the Python that it served."""
    last = time.monotonic() + seconds
    while (left := members(text)) and time.monotonic() < last:
        time.sleep(0.2)
    assert not left
    return True


def rows(settings: Settings, table: str) -> int:
    """Alerts in a table of the lake."""
    files = f"{settings.lake_path}/{table}/**/*.parquet"
    ids = duckdb.sql(f"select alert_id from read_parquet('{files}', hive_partitioning=true, union_by_name=true)").df()["alert_id"]
    assert ids.is_unique
    return len(ids)


def check_nothing_is_half_written(settings: Settings, jobs: Sequence[str], log: Path) -> int:
    """The lake holds what the ledger says, and nothing is staged; the rows of the first job."""
    assert not list(Path(settings.lake_path).glob("_staging/**/*.parquet"))
    told = []
    for job in jobs:
        done = sum(entry.rows_out for entry in Ledger(settings.home).entries(job, "ztf"))
        assert rows(settings, "raw" if job == "ingest" else "science") == done
        told.append(done)
    text = log.read_text()
    assert "stopping after the batch in hand" in text
    assert "\tat " not in text, text  # no Java trace
    return told[0]


def in_hand(settings: Settings, job: str) -> bool:
    """Whether a batch after the first is being worked on."""
    folder = settings.home / "checkpoints" / job / "ztf"
    offsets, commits = ({int(file.name) for file in (folder / name).glob("[0-9]*")} for name in ("offsets", "commits"))
    return bool(commits) and max(offsets) > max(commits)


def test_spark_submit_runs_a_job_and_ends_with_the_batch_in_hand(apart: Settings, tmp_path: Path) -> None:
    """The very line that `fink submit` prints, stopped as a service manager stops it."""
    sent = send(apart, packets(apart, 600))
    assert sent.number == 600
    shown = subprocess.run(
        [sys.executable, "-m", "fink_broker", "submit", "ingest", "--dry-run"], env=variables(apart), capture_output=True, text=True, check=True, cwd=ROOT
    )
    line = shlex.split(shown.stdout)
    assert line[0].endswith("spark-submit")
    log = tmp_path / "submit.log"
    with process(line, {**os.environ, "PYTHONPATH": str(ROOT)}, log) as running:
        until(lambda: in_hand(apart, "ingest"), running, log)
        running.terminate()
        assert running.wait(180) == 0, log.read_text()[-3000:]
    done = check_nothing_is_half_written(apart, ["ingest"], log)
    assert 0 < done < 600
    assert gone(str(apart.home))


def test_run_ends_with_the_batch_in_hand_when_its_whole_group_is_told(apart: Settings, tmp_path: Path) -> None:
    send(apart, packets(apart, 600))
    log = tmp_path / "run.log"
    with process([sys.executable, "-m", "fink_broker", "run", "live", "ingest"], variables(apart), log) as running:
        until(lambda: in_hand(apart, "live"), running, log)
        os.killpg(running.pid, signal.SIGTERM)
        assert running.wait(180) == 0, log.read_text()[-3000:]
    check_nothing_is_half_written(apart, ["live", "ingest"], log)
    assert gone(str(apart.home))


def test_a_job_that_keeps_failing_ends_and_names_batch_and_cause(apart: Settings, tmp_path: Path) -> None:
    send(apart, [*packets(apart, 5), Packet("ztf", b"not an alert")])
    log = tmp_path / "run.log"
    environment = variables(apart, FINK_INGEST__ON_BAD_ALERT="fail")
    with process([sys.executable, "-m", "fink_broker", "run", "ingest"], environment, log) as running:
        assert running.wait(180) == 1, log.read_text()[-3000:]
    text = log.read_text()
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (gave_up,) = (event for event in events if event["event"] == "job gave up")
    assert (gave_up["job"], gave_up["batch"], gave_up["restarts"]) == ("ingest-ztf", 0, 1)
    assert "bad packets in batch 0" in gave_up["cause"]
    assert "on_bad_alert is 'fail'" in gave_up["cause"]
    assert "\tat " not in text, text


def test_ctrl_c_stops_the_whole_demonstration(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "demo.log"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FINK_SPARK__DRIVER_MEMORY": "2g",
        "FINK_SPARK__QUICK_START": "true",
        "FINK_INGEST__MAX_OFFSETS_PER_TRIGGER": "20",
    }
    fink = [sys.executable, "-m", "fink_broker", "--home", str(home)]
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", 9092))
            server.listen()
        except OSError:
            pass  # somebody has it already: busy all the same
        with process([*fink, "demo", "--rate", "5"], environment, log) as running:
            until(lambda: Ledger(home).entries("live"), running, log)
            running.send_signal(signal.SIGINT)
            assert running.wait(180) == 0, log.read_text()[-3000:]
    text = log.read_text()
    assert "port 9092 was busy" in text
    assert "Pages at http://127.0.0.1:" in text
    assert "Traceback" not in text
    assert gone(str(home))

    # the next start finds everything prepared, on the same ports
    state = json.loads((home / "services.json").read_text())
    started = time.monotonic()
    subprocess.run([*fink, "up"], env=environment, check=True, capture_output=True, timeout=120)
    assert time.monotonic() - started < 60
    found = json.loads(subprocess.run([*fink, "status", "--json"], env=environment, check=True, capture_output=True, text=True).stdout)
    assert {name: found[name]["running"] for name in ("kafka", "hbase", "gateway")} == {"kafka": True, "hbase": True, "gateway": False}
    assert found["kafka"]["bootstrap_servers"] == state["kafka"]["bootstrap_servers"]
    assert found["hbase"]["port"] == state["hbase"]["port"]
    subprocess.run([*fink, "down"], env=environment, check=True, capture_output=True, timeout=120)
    assert gone(str(home))
