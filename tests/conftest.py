"""What tests share: a home folder, the real services (started once per run), one Spark session, the shared real alerts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from fink_broker.errors import FinkError
from fink_broker.settings import Settings, load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Most of their time they wait for processes of their own, so they run beside all others.
APART = ("test_chaos", "test_hbase_kill", "test_outages", "test_processes")
SHARED = Path(__file__).resolve().parents[2] / "shared"


def missing(reason: str) -> None:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Rows(LoadScopeScheduling):  # type: ignore[misc]
    """Two rows of tests for the two processes of `make test`: those with processes of their own, and those that share services and Spark."""

    def _split_scope(self, nodeid: str) -> str:
        return "apart" if Path(nodeid.partition("::")[0]).stem in APART else "together"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Rows:
    """What pytest-xdist asks for with `-n 2`."""
    return Rows(config, log)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real alerts, schemas and catalogues."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder of real alerts at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No FINK_ variable of the outside reaches a test."""
    for name in list(os.environ):
        if name.startswith("FINK_") and name not in ("FINK_JARS", "FINK_TEST_CACHE"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """Folder of all state of a test run."""
    folder = Path(tempfile.mkdtemp(prefix="fink-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def services(home: Path) -> Iterator[dict[str, Any]]:
    """The embedded Kafka and HBase, on free ports."""
    from fink_broker.services import stack

    try:
        found = stack.up(home, say=lambda text: None)
    except FinkError as error:
        missing(str(error))
        raise
    yield found
    stack.down(home)


@pytest.fixture(scope="session")
def settings(services: dict[str, Any], home: Path) -> Settings:
    """Settings that reach these services."""
    assert services
    return load(
        options={
            "broker": {"home": str(home)},
            "spark": {"driver_memory": "3g", "quick_start": True},
            "ingest": {"max_offsets_per_trigger": 400, "raw_trigger_seconds": 0},
        }
    )


@pytest.fixture(scope="session")
def spark(home: Path) -> Iterator[SparkSession]:
    """One Spark session for all tests."""
    from fink_broker.jobs.session import session

    made = session(load(options={"broker": {"home": str(home)}, "spark": {"driver_memory": "3g", "quick_start": True}}), "tests")
    yield made
    made.stop()
