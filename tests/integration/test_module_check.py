"""`fink module check`: made-up and real alerts through the real decoder, as modules get them in the stream."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fink_broker.contract import check_modules
from fink_broker.cost import costs
from fink_broker.science import Registry
from fink_broker.settings import data_folder, load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration
BROKEN = '''
from fink_broker.science import ScienceModule


class Broken(ScienceModule):
    """Reads what another module computes, and gives a word."""

    name, version, inputs, outputs = "broken", "1.0", ("solar_system.known",), {"value": "double"}

    def process(self, alerts):
        return alerts.assign(value="Fail")[["value"]]
'''


def test_all_modules_on_made_up_alerts_and_one_that_is_broken(spark: "SparkSession", tmp_path: Path) -> None:
    assert spark
    shutil.copytree(data_folder("science_modules"), tmp_path / "modules", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "modules" / "broken.py").write_text(BROKEN)
    (tmp_path / "modules" / "sick.py").write_text("1 / 0\n")
    settings = load(options={"broker": {"home": str(tmp_path)}, "science": {"path": str(tmp_path / "modules")}})
    found = {check.module: check for check in check_modules(settings, surveys=["ztf"], number=60)}
    shipped = list(Registry.load(data_folder("science_modules")))
    assert {name: check.fault for name, check in found.items() if name not in ("broken", "sick")} == dict.fromkeys(shipped, "")
    assert found["xmatch"].alerts_per_s > 100
    assert "broken: value is not double: Could not convert 'Fail'" in str(found["broken"])
    assert "sick.py cannot be imported" in found["sick"].fault


def test_a_module_on_real_alerts(spark: "SparkSession", shared: Path, tmp_path: Path) -> None:
    assert spark
    settings = load(options={"broker": {"home": str(tmp_path)}})
    paths = [shared / "alerts" / "ztf" / "ztf_v3_3_kowalski_20200202.tar.xz"]
    found = {check.survey: check for check in check_modules(settings, ["magnitude_rate"], paths=paths)}
    assert found["ztf"].alerts > 3
    assert not any(check.fault for check in found.values())
    assert "no alert of this survey in the files" in str(found["lsst"])
    (cost,) = costs(settings, ["magnitude_rate"], paths=paths, seconds=0.1)
    assert cost.survey == "ztf"


def test_what_modules_cost_together(spark: "SparkSession", tmp_path: Path) -> None:
    assert spark
    settings = load(options={"broker": {"home": str(tmp_path)}})
    (cost,) = costs(settings, ["early_snia", "transient", "purity"], ["ztf"], 80, seconds=0.2)
    assert cost.alerts == 80
    assert cost.asked["transient"] == 1
    assert 0.1 < cost.asked["early_snia"] < 0.9  # only young and positive detections
    assert set(cost.modules) == {"early_snia", "transient", "purity"}
    assert min(cost.together, *cost.modules.values()) > 0
    assert "ms of CPU an alert, 80 alerts, each with its `where` (share of them): " in str(cost)
