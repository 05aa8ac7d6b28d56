"""The interface of science modules: declarations, registry, order, failure."""

import pickle
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from fink_broker.errors import BrokenContract, ConfigError, ModuleError, UnknownModule
from fink_broker.science import Chain, Registry, ScienceModule
from fink_broker.settings import data_folder

BODY = '''
import pandas as pd
from fink_broker.science import ScienceModule

class {kind}(ScienceModule):
    """{kind}."""
    name = "{name}"
    version = "1.0"
    inputs = ({inputs},)
    outputs = {{"value": "double"}}
    factor: float = 2.0

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        {body}
'''
DOUBLE = 'return pd.DataFrame({"value": alerts.iloc[:, 0] * self.factor}, index=alerts.index)'


def write(folder: Path, name: str, inputs: str = '"mag"', body: str = DOUBLE) -> None:
    (folder / f"{name}.py").write_text(BODY.format(kind=name.capitalize(), name=name, inputs=inputs, body=body))


def run(chain: Chain, values: list[float], chosen: list[bool] | None = None) -> pd.DataFrame:
    rows = pd.DataFrame({column: values for column in chain.columns})
    return chain.run(rows, pd.DataFrame({name: chosen or [True] * len(values) for name in chain.conditions}))


def test_a_declaration_is_checked_when_the_class_is_made() -> None:
    with pytest.raises(BrokenContract, match="declares no version, outputs"):

        class Half(ScienceModule):
            name = "half"
            inputs = ("mag",)

            def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
                return alerts

    with pytest.raises(BrokenContract, match=r"process takes \['self', 'rows'\]; expected \(self, alerts\)"):

        class Other(ScienceModule):
            name, version, inputs, outputs = "other", "1", ("mag",), {"a": "double"}

            def process(self, rows: pd.DataFrame) -> pd.DataFrame:  # type: ignore[override]
                return rows

    with pytest.raises(BrokenContract, match="output a is 'number'"):

        class Third(ScienceModule):
            name, version, inputs, outputs = "third", "1", ("mag",), {"a": "number"}

            def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
                return alerts


def test_modules_run_after_those_they_read(tmp_path: Path) -> None:
    write(tmp_path, "aa", '"bb.value"')
    write(tmp_path, "bb")
    chain = Chain(Registry.load(tmp_path), ["aa", "bb"], {"bb": {"factor": 3}}, "ztf")
    assert chain.names == ("bb", "aa")
    assert chain.columns == ("mag",)
    out = run(pickle.loads(pickle.dumps(chain)), [1.0, 2.0], [True, False])
    assert out["aa.value"].tolist()[0] == 6.0
    assert out["aa.value"].isna().tolist() == [False, True]


def test_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "cc", '"dd.value"')
    write(tmp_path, "dd", '"cc.value"')
    with pytest.raises(ModuleError, match="in a circle: cc, dd"):
        Chain(Registry.load(tmp_path), ["cc", "dd"], {}, "ztf")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('no model')", "ValueError: no model"),
        ("return alerts.iloc[:0].assign(value=1.0)[['value']]", "returned 0 rows for 2 alerts"),
        ("return alerts.assign(value=1.0)", "returned mag and did not declare it"),
        ("return alerts[[]]", "declared value and did not return it"),
    ],
)
def test_a_failing_module_costs_its_own_column_only(tmp_path: Path, body: str, reason: str) -> None:
    write(tmp_path, "ee", body=body)
    write(tmp_path, "ff")
    registry = Registry.load(tmp_path)
    out = run(Chain(registry, ["ee", "ff"], {}, "ztf"), [1.0, 2.0])
    assert out["ff.value"].tolist() == [2.0, 4.0]
    assert out["ee.value"].isna().all()
    assert reason in out["ee.error"][0]
    with pytest.raises(ModuleError, match=r"science module ee failed: .*on_failure is 'fail'"):
        run(Chain(registry, ["ee"], {}, "ztf", on_failure="fail"), [1.0])


def test_a_module_over_its_budget_is_null(tmp_path: Path) -> None:
    write(tmp_path, "gg", body=f"import time; time.sleep(0.05); {DOUBLE}")
    out = run(Chain(Registry.load(tmp_path), ["gg"], {}, "ztf", budget_seconds=0.01), [1.0])
    assert "over its budget of 0.01 s" in out["gg.error"][0]


def test_unknown_names_are_told_with_the_nearest() -> None:
    registry = Registry.load(data_folder("science_modules"))
    with pytest.raises(UnknownModule, match="no science module named 'feature'; did you mean 'features'?"):
        registry.get("feature")
    with pytest.raises(ConfigError, match="no parameter 'min_point'; did you mean 'min_points'"):
        registry.get("features")(min_point=3)
    with pytest.raises(ConfigError, match=r"\[science.params.features\] min_points is 'many'"):
        registry.get("features")(min_points="many")


def test_the_provenance_changes_with_a_parameter() -> None:
    module = Registry.load(data_folder("science_modules")).get("extragalactic")
    assert module().provenance() == module().provenance() != module(star_arcsec=2).provenance()


def test_a_module_of_another_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    source = Path(__file__).parent / "modules" / "plugin_package"
    target = tmp_path / "site"
    line = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([*line, str(source)], check=True, capture_output=True)
    program = (
        "from pathlib import Path; from fink_broker.science import Registry, Chain; import pandas as pd;"
        "r = Registry.load(Path('none')); c = Chain(r, ['brightness'], {}, 'ztf');"
        "print(r.origin('brightness')); print(c.run(pd.DataFrame({'mag': [12.0]}), pd.DataFrame({'brightness': [True]}))['brightness.naked_eye'][0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(target)})
    assert done.stdout.split("\n")[:2] == ["package fink-brightness (fink_brightness:Brightness)", "False"]


def test_two_modules_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "hh")
    (tmp_path / "ii.py").write_text((tmp_path / "hh.py").read_text())
    with pytest.raises(ModuleError, match="two science modules are named 'hh': .*hh.py and .*ii.py"):
        Registry.load(tmp_path)
