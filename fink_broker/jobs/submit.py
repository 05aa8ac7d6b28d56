"""The spark-submit line of a job."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pydantic import SecretStr

from fink_broker.errors import ConfigError
from fink_broker.jobs.plans import plan
from fink_broker.jobs.session import conf
from fink_broker.settings import Section, Settings, data_folder

MAIN = {"spark.master", "spark.driver.memory", "spark.app.name"}


def command(settings: Settings, job: str, surveys: Sequence[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """The line as a list, and the secrets that belong into its environment."""
    from fink_broker.services.jars import ensure

    jars = sorted(ensure("spark").glob("*.jar"))
    made = conf(settings, job)
    line = [str(_spark() / "bin" / "spark-submit"), "--master", settings.spark.master, "--name", made["spark.app.name"]]
    line += ["--driver-memory", settings.spark.driver_memory, "--jars", ",".join(map(str, jars))]
    made["spark.pyspark.python"] = sys.executable
    for key, value in made.items():
        if key not in MAIN:
            line += ["--conf", f"{key}={value}"]
    line.append(str(data_folder("bin") / f"{plan(job).name}.py"))
    chosen, secrets = changed(settings)
    if surveys:
        chosen["broker.surveys"] = json.dumps(list(surveys))
    return line + [f"{name}={value}" for name, value in chosen.items()], secrets


def _spark() -> Path:
    """Spark's home: SPARK_HOME, else the one inside the pyspark package (the spark-submit beside our Python works only in an active venv)."""
    if home := os.environ.get("SPARK_HOME"):
        return Path(home)
    found = find_spec("pyspark")
    if found is None or found.origin is None:
        raise ConfigError("pyspark is not installed; expected it beside fink_broker; install it: pip install pyspark, or set SPARK_HOME")
    return Path(found.origin).parent


def changed(settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
    """Settings that differ from their defaults as SECTION.FIELD -> text, and secrets as environment variables."""
    chosen: dict[str, str] = {"broker.home": str(settings.home)}
    secrets: dict[str, str] = {}
    for section_name, section in settings:
        if not isinstance(section, Section):
            continue
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            if isinstance(value, SecretStr):
                if value.get_secret_value():
                    secrets[f"FINK_{section_name}__{name}".upper()] = value.get_secret_value()
            elif value != field.default and (section_name, name) != ("broker", "home"):
                chosen[f"{section_name}.{name}"] = json.dumps(value, default=str) if isinstance(value, (dict, tuple)) else str(value)
    return chosen, secrets
