"""What goes wrong is told in one line on stderr, through the real command: what happened, what was expected, what to do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUICK = {"FINK_KAFKA__TIMEOUT_SECONDS": "1", "FINK_HBASE__TIMEOUT_SECONDS": "1"}
DEAD = {"FINK_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}


def fink(home: Path, *arguments: str, env: dict[str, str] | None = None, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command; `path` replaces the PATH."""
    environment = {**os.environ, **QUICK, **(env or {})}
    if path is not None:
        environment["PATH"] = str(path)
        environment.pop("JAVA_HOME", None)
    line = [sys.executable, "-m", "fink_broker", "--home", str(home), *arguments]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)


def told(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an error, without its prefix."""
    lines = done.stderr.splitlines()
    assert done.returncode in (1, 2), done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("fink: ")
    return lines[0][6:]


@pytest.mark.parametrize(
    ("arguments", "env", "expected"),
    [
        (["config"], {"FINK_WEB__PORT": "x"}, ["setting 'web.port' is 'x'", "valid integer", "`fink config` lists every setting"]),
        (["config"], {"FINK_WEB__PRT": "1"}, ["unknown setting 'web.prt'", "did you mean 'port'?", "`fink config`"]),
        (["config"], {"FINK_NOPE__X": "1"}, ["unknown setting 'nope'", "known here: broker, kafka", "`fink config`"]),
        (["config", "nope"], {}, ["no section [nope]", "they are broker, kafka", "`fink config`"]),
        (["--conf", "/nowhere.toml", "config"], {}, ["no settings file at /nowhere.toml", "--conf FILE"]),
        (["--profile", "nowhere", "config"], {}, ["no profile named 'nowhere'", "known: ", "conf/profiles"]),
        (["--log-level", "LOUD", "config"], {}, ["log level is 'LOUD'", "expected one of DEBUG, INFO, WARNING, ERROR"]),
        (["module", "show", "featurs"], {}, ["no science module named 'featurs'", "features", "`fink module list`"]),
        (["run", "live"], {"FINK_SCIENCE__MODULES": '["featurs"]'}, ["no science module named 'featurs'", "features", "`fink module list`"]),
        (["run", "live"], {"FINK_SCIENCE__PARAMS": '{"features": {"shine": 1}}'}, ["shine", "features", "min_points"]),
        (["run", "lve"], {}, ["no job named 'lve'", "did you mean 'live'?", "jobs: night, live, ingest, enrich, distribute, index"]),
        (["submit", "lve", "--dry-run"], {}, ["no job named 'lve'", "did you mean 'live'?", "jobs: night, live"]),
        (["run", "live", "--survey", "ztff"], {}, ["no survey named 'ztff'", "elasticc, lsst, ztf", "survey.toml"]),
        (["run", "live"], {}, ["no Kafka to talk to", "bootstrap_servers is empty", "start one with `fink up`"]),
        (["run", "live", "ingest"], DEAD, ["Kafka at 127.0.0.1:9 did not answer within 1 s", "check that it runs", "[kafka] bootstrap_servers"]),
        (["topic", "list"], DEAD, ["Kafka at 127.0.0.1:9 did not answer within 1 s", "check that it runs", "[kafka] bootstrap_servers"]),
        (["simulate", "--number", "1"], DEAD, ["Kafka at 127.0.0.1:9 did not answer", "[kafka] bootstrap_servers"]),
        (["object", "ZTF1"], {}, ["no HBase to talk to", "[hbase] host is empty", "start one with `fink up`"]),
        (["object", "ZTF1"], {"FINK_HBASE__HOST": "127.0.0.1", "FINK_HBASE__PORT": "9"}, ["Thrift server at 127.0.0.1:9 does not answer", "`fink up`"]),
        (["run", "index"], {"FINK_HBASE__HOST": "127.0.0.1", "FINK_HBASE__PORT": "9"}, ["Thrift server at 127.0.0.1:9 does not answer", "`fink up`"]),
        (["demo", "--once", "--alerts", "/nowhere"], {}, ["no file or folder /nowhere", "give Avro files, folders or tars"]),
        (["simulate", "/nowhere"], DEAD, ["no file or folder /nowhere", "give Avro files, folders or tars"]),
        (["simulate", "--survey", "ztff"], DEAD, ["no survey named 'ztff'", "known: elasticc, lsst, ztf"]),
        (["simulate", "--sky", "--survey", "ztf", "--first-chunk", "2"], DEAD, ["--first-chunk goes on with the --sky campaign of one --survey", "--night"]),
        (["simulate", "--sky", "--survey", "ztf", "--survey", "lsst", "--first-chunk", "2", "--night", "2026-02-03"], DEAD, ["campaign of one --survey"]),
        (["simulate", "--like", "x.avro"], DEAD, ["--like gives the simulated sky nights of real", "leave files, --night, --first-chunk out"]),
        (["filter", "show", "brigt"], {}, ["no filter named 'brigt'", "did you mean 'bright'?", "`fink filter new brigt`"]),
        (["schema", "show", "ztf", "99"], {}, ["no version 99 of ztf", "known: 1.3"]),
        (["catalog", "import", "/nowhere.csv"], {}, ["no file /nowhere.csv", "give a CSV, FITS, VOTable or Parquet file"]),
        (["lake", "prune"], {}, ["retention_days is 0", "FINK_LAKE__RETENTION_DAYS="]),
        (["run", "live"], {"JAVA_HOME": "/nowhere"}, ["JAVA_HOME is /nowhere", "no bin/java", "Java 17 or newer"]),
    ],
)  # fmt: skip
def test_one_line_says_what_happened_and_what_to_do(arguments: list[str], env: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    line = told(fink(tmp_path, *arguments, env=env))
    for part in expected:
        assert part in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("where = \n", ["bad.toml: not valid TOML", "line 1", "mend that line"]),
        ('summary = "x"\nwher = "mag < 18"\n', ["wher", "where"]),
    ],
)
def test_a_broken_filter(text: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(text)
    line = told(fink(tmp_path, "filter", "show", "bad", env={"FINK_FILTERS__PATH": str(tmp_path)}))
    for part in expected:
        assert part in line, line


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """An empty folder to be the PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


def test_missing_java(programs: Path, tmp_path: Path) -> None:
    for words in (["up"], ["run", "live"], ["demo", "--once"]):
        line = told(fink(tmp_path, *words, env={"FINK_JARS": str(tmp_path / "jars")}, path=programs))
        assert line == "java is not installed; expected it on the PATH; install it: apt-get install openjdk-17-jre-headless"


def test_an_old_java(programs: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    (old / "bin").mkdir(parents=True)
    (old / "bin/java").write_text("#!/bin/sh\n")
    (old / "bin/java").chmod(0o755)
    (old / "release").write_text('JAVA_VERSION="11.0.2"\n')
    line = told(fink(tmp_path, "run", "live", env={"JAVA_HOME": str(old)}))
    assert line == f"Java 17 or newer is needed, {old}/bin/java is 11; install it: apt-get install openjdk-17-jre-headless"


def test_missing_maven(programs: Path, tmp_path: Path) -> None:
    (programs / "java").symlink_to(shutil.which("java") or pytest.skip("no Java"))
    line = told(fink(tmp_path, "up", env={"FINK_JARS": str(tmp_path / "jars")}, path=programs))
    assert line == "mvn is not installed; expected it on the PATH; install it: apt-get install maven"


def test_the_check_of_the_machine_says_what_to_install(programs: Path) -> None:
    """What `make install` runs first."""
    for name in ("sh", "sed", "head"):
        (programs / name).symlink_to(shutil.which(name) or "")
    line = ["/bin/sh", "bin/check_machine.sh", sys.executable]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(line, env={"PATH": str(programs)}, capture_output=True, text=True, check=False, cwd=ROOT)

    assert run().stderr == "fink: Java is not installed; install it: apt-get install openjdk-17-jre-headless\n"
    (programs / "java").symlink_to(shutil.which("java") or pytest.skip("no Java"))
    assert run().stderr == "fink: Maven is not installed; install it: apt-get install maven\n"
    (programs / "mvn").symlink_to("/bin/true")
    assert (run().returncode, run().stderr) == (0, "")


@pytest.fixture
def busy() -> Iterator[int]:
    """A port where somebody listens already."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


def test_a_busy_port_of_the_gateway_is_replaced_and_said(busy: int, tmp_path: Path) -> None:
    import time

    from fink_broker.services import stack

    line = [sys.executable, "-m", "fink_broker", "--home", str(tmp_path), "serve", "--port", str(busy)]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(line, stderr=log, cwd=ROOT) as process:
        try:
            until = time.monotonic() + 60
            while not (found := stack.read(tmp_path).get("gateway")) and time.monotonic() < until:
                time.sleep(0.1)
        finally:
            process.terminate()
    assert found is not None
    assert found["port"] != busy
    said = (tmp_path / "log").read_text()
    assert "port was busy, another is taken" in said
    assert f'"wanted": {busy}' in said


def test_the_shipped_entry_points_tell_a_wrong_argument(tmp_path: Path) -> None:
    for arguments, expected in (
        (["nonsense"], "live: argument 'nonsense' is no setting; expected SECTION.FIELD=VALUE"),
        (["web.prt=1"], "live: unknown setting 'web.prt'; did you mean 'port'?"),
        ([f"broker.home={tmp_path}"], "live: no Kafka to talk to"),
    ):
        done: Any = subprocess.run(
            [sys.executable, "bin/live.py", *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith(expected)


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "live" / "ztf"
    (folder / "offsets").mkdir(parents=True)
    (folder / "metadata").write_text('{"id": "0123"}')
    (folder / "offsets" / "0").write_text("v1\n{}")
    line = told(fink(tmp_path, "run", "live", "--survey", "ztf", env=DEAD))
    assert line.startswith(f"the checkpoint {folder} is damaged: offsets/0 is cut short; move the folder away and run again")
