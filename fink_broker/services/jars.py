"""The server and connector jars, fetched once by Maven from conf/services/<kind>/pom.xml."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from fink_broker.errors import ConfigError, Unavailable
from fink_broker.settings import PROJECT, data_folder

Kind = Literal["spark", "kafka", "hbase"]
KINDS: tuple[Kind, ...] = ("spark", "kafka", "hbase")
OLDEST_JAVA, JAVA = 17, "openjdk-17-jre-headless"


def folder() -> Path:
    """Where jars lie: FINK_JARS, else .jars of the checkout, else the user's cache when the package is installed."""
    if chosen := os.environ.get("FINK_JARS"):
        return Path(chosen)
    checkout = data_folder("conf").parent == PROJECT
    return PROJECT / ".jars" if checkout else Path("~/.cache/fink-broker/jars").expanduser()


def java() -> str:
    """Path of Java 17 or newer, as Spark would find it; ConfigError saying what to install."""
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else _need("java", JAVA)
    if not os.access(found, os.X_OK):
        raise ConfigError(f"JAVA_HOME is {home}, which holds no bin/java; unset it or set it to a Java {OLDEST_JAVA} or newer (apt-get install {JAVA})")
    release = Path(found).resolve().parent.parent / "release"
    version = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', release.read_text()) if release.is_file() else None
    if version and int(version[1]) < OLDEST_JAVA:
        raise ConfigError(f"Java {OLDEST_JAVA} or newer is needed, {found} is {version[1]}; install it: apt-get install {JAVA}")
    return found


def ensure(kind: Kind, say: Callable[[str], None] | None = None) -> Path:
    """Folder of the jars of one kind, fetched now if they are not there or the pom has changed; `say` hears of it."""
    pom = data_folder("conf") / "services" / kind / "pom.xml"
    target = folder() / kind
    stamp, mark = target / ".stamp", hashlib.sha256(pom.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == mark:
        return target
    java()
    maven = _need("mvn", "maven")
    if say:
        say(f"fetching the {kind} jars (once)")
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / f".{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == mark:
            return target
        shutil.rmtree(target, ignore_errors=True)
        line = [maven, "-B", "-q", "dependency:copy-dependencies", "-f", str(pom), f"-DoutputDirectory={target}"]
        done = subprocess.run([*line, "-DincludeScope=runtime"], capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [row for row in done.stdout.splitlines() if "ERROR" in row][:1]
            raise Unavailable(f"Maven could not fetch the {kind} jars: {' '.join(errors)[:300]}; check the network, then run it again")
        stamp.write_text(mark)
    return target


def _need(program: str, package: str) -> str:
    found = shutil.which(program)
    if not found:
        raise ConfigError(f"{program} is not installed; expected it on the PATH; install it: apt-get install {package}")
    return found
