"""The interface of science modules: declarations, registry, order, failure."""

import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from fink_broker.catalog_import import import_catalog
from fink_broker.errors import BrokenContract, ConfigError, ModuleError, UnknownModule
from fink_broker.past import points_of
from fink_broker.sample import sample
from fink_broker.science import Chain, Registry
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
        ("raise ValueError('no model')", "ValueError: no model (ee.py:14)"),
        ("return pd.DataFrame({'value': ['Fail'] * len(alerts)})", "ee: value is not double: Could not convert 'Fail'"),
        ("return 5", "ee returned a int; expected a pandas DataFrame of its outputs"),
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


def install(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that has the package of tests/modules/plugin_package installed."""
    source, target = tmp_path / "source", tmp_path / "site"
    shutil.copytree(Path(__file__).parent / "modules" / "plugin_package", source)
    line = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([*line, str(source)], check=True, capture_output=True)
    return {"PYTHONPATH": str(target)}


def test_a_module_of_another_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    environment = install(tmp_path)
    program = (
        "from pathlib import Path; from fink_broker.science import Registry, Chain; import pandas as pd, pickle;"
        "r = Registry.load(Path('none')); c = pickle.loads(pickle.dumps(Chain(r, ['brightness'], {'brightness': {'limit': 13}}, 'ztf')));"
        "print(r.origin('brightness')); print(c.run(pd.DataFrame({'mag': [12.0]}), pd.DataFrame({'brightness': [True]}))['brightness.naked_eye'][0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split("\n")[:2] == ["package fink-brightness (fink_brightness:Brightness)", "True"]
    # another of that name in the folder is refused, naming both
    write(tmp_path, "brightness")
    program = f"from pathlib import Path; from fink_broker.science import Registry; Registry.load(Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert "two science modules are named 'brightness'" in done.stderr
    assert "brightness.py and package fink-brightness (fink_brightness:Brightness); rename one of them" in done.stderr


def test_two_modules_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "hh")
    (tmp_path / "ii.py").write_text((tmp_path / "hh.py").read_text())
    with pytest.raises(ModuleError, match="two science modules are named 'hh': .*hh.py and .*ii.py"):
        Registry.load(tmp_path)


def test_a_module_that_cannot_be_set_up_costs_its_own_column_and_is_tried_again(tmp_path: Path) -> None:
    write(tmp_path, "jj")
    write(tmp_path, "kk")
    with (tmp_path / "jj.py").open("a") as file:
        file.write(f"\n    def setup(self) -> None:\n        open({str(tmp_path / 'model')!r})\n")
    chain = Chain(Registry.load(tmp_path), ["jj", "kk"], {}, "ztf")
    out = run(chain, [1.0])
    assert out["jj.error"][0].startswith("FileNotFoundError: [Errno 2] No such file or directory")
    assert out["kk.value"].tolist() == [2.0]
    (tmp_path / "model").touch()
    assert run(chain, [1.0])["jj.error"].isna().all()


def test_a_broken_file_is_an_error_only_for_those_who_ask(tmp_path: Path) -> None:
    write(tmp_path, "ll")
    (tmp_path / "mm.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "nn.py").write_text(BODY.format(kind="N", name="nn", inputs='"mag"', body="pass").replace("double", "number"))
    registry = Registry.load(tmp_path)
    assert list(registry) == ["ll"]
    assert list(registry.broken) == ["mm", "nn"]
    with pytest.raises(ModuleError, match=r"science module mm.py cannot be imported: ModuleNotFoundError: .*; mend it \(.*mm.py\)"):
        Chain(registry, ["mm"], {}, "ztf")
    with pytest.raises(BrokenContract, match=r"nn: output value is 'number'; .* \(.*nn.py\)"):
        registry.get("nn")


def test_inputs_are_checked_before_any_data_moves(tmp_path: Path) -> None:
    for name, column in (("oo", "lightcurve.magg"), ("pp", "oo.value"), ("qq", "xx"), ("rr", "rr2.value"), ("ss", "history.magg")):
        write(tmp_path, name, f'"{column}"')
    write(tmp_path, "rr2")
    registry = Registry.load(tmp_path)
    with pytest.raises(ModuleError, match="science module oo reads 'lightcurve.magg', which no alert has; did you mean 'lightcurve.mag'?"):
        Chain(registry, ["oo"], {}, "ztf")
    with pytest.raises(ConfigError, match=r"science module rr reads rr2.value, and rr2 does not run for ztf; add it to \[science\] modules"):
        Chain(registry, ["rr"], {}, "ztf")
    with pytest.raises(ModuleError, match="science module qq reads 'xx', which no alert has; see the columns in science_modules/README.md"):
        Chain(registry, ["qq"], {}, "ztf")
    with pytest.raises(ModuleError, match="science module ss reads 'history.magg', which no alert has; did you mean 'history.mag'?"):
        Chain(registry, ["ss"], {}, "ztf")
    with pytest.raises(UnknownModule, match="no science module named 'ss2'; did you mean 'ss'?"):
        Chain(registry, ["rr2"], {"ss2": {}}, "ztf")


def test_a_module_that_reads_the_history_gets_the_points_of_earlier_alerts(tmp_path: Path) -> None:
    count = 'return pd.DataFrame({"value": [float(len(mjd)) for mjd in alerts["history.mjd"]]}, index=alerts.index)'
    write(tmp_path, "uu", '"history.mjd"', count)
    chain = Chain(Registry.load(tmp_path), ["uu"], {}, "ztf")
    assert chain.history == ("history.mjd",)
    assert {"object_id", "mjd", "lightcurve.mjd", "lightcurve.kind"} <= set(chain.columns)
    assert "history.mjd" not in chain.columns
    alerts = sample(chain.columns, 12, 3)
    chosen = pd.DataFrame({"uu": [True] * 12})
    lengths = alerts["lightcurve.mjd"].map(len)
    assert chain.run(alerts, chosen)["uu.value"].tolist() == lengths.tolist()
    points = points_of(alerts).assign(seen_mjd=0.0, mjd=lambda frame: frame["mjd"] - 100)
    assert chain.run(alerts, chosen, points)["uu.value"].tolist() == (2 * lengths).tolist()
    assert chain.run(alerts, chosen, points.assign(seen_mjd=99999.0))["uu.value"].tolist() == lengths.tolist()


def test_the_provenance_tells_parameters_and_models_apart(tmp_path: Path) -> None:
    write(tmp_path, "vv")
    text = (tmp_path / "vv.py").read_text().replace('version = "1.0"', 'version = "1.0"\n    model_files = ("vv.onnx",)')
    (tmp_path / "vv.py").write_text(text)
    marks = []
    for content, factor in (("one", 2.0), ("two", 2.0), ("two", 3.0)):
        (tmp_path / "vv.onnx").write_text(content)
        chain = Chain(Registry.load(tmp_path), ["vv"], {"vv": {"factor": factor}}, "ztf")
        assert set(chain.provenance) == {"broker", "vv"}
        marks.append(re.fullmatch(r"1\.0\+([0-9a-f]{8})\.([0-9a-f]{8})", chain.provenance["vv"]).groups())  # type: ignore[union-attr]
    assert marks[0][0] == marks[1][0] != marks[2][0]
    assert marks[0][1] != marks[1][1] == marks[2][1]


def test_modules_of_other_surveys_are_left_out() -> None:
    registry = Registry.load(data_folder("science_modules"))
    assert "purity" in Chain(registry, list(registry), {}, "ztf").names
    assert "purity" not in Chain(registry, list(registry), {}, "lsst").names


def test_values_come_out_in_the_declared_types(tmp_path: Path) -> None:
    body = 'return pd.DataFrame({"value": [2**62 + 1] * len(alerts)}, index=alerts.index)'
    write(tmp_path, "tt", body=body)
    (tmp_path / "tt.py").write_text((tmp_path / "tt.py").read_text().replace('"double"', '"bigint"'))
    out = run(Chain(Registry.load(tmp_path), ["tt"], {}, "ztf"), [1.0, 2.0, 3.0], [False, True, False])
    assert out["tt.value"].tolist()[1] == 2**62 + 1  # no detour through floats
    assert str(out["tt.value"].dtype) == "int64[pyarrow]"
    assert out["tt.value"].isna().tolist() == [True, False, True]
    assert str(out["tt.error"].dtype) == "string[pyarrow]"


def test_no_alert_at_all() -> None:
    registry = Registry.load(data_folder("science_modules"))
    chain = Chain(registry, list(registry), {}, "ztf")
    out = chain.run(pd.DataFrame({name: [] for name in chain.columns}), pd.DataFrame({name: pd.Series([], dtype=bool) for name in chain.names}))
    assert list(out.columns) == [f"{module}.{field}" for module, field, _ in chain.fields]
    assert len(out) == 0


def test_provenance_of_the_cross_match_is_that_of_its_catalogues(tmp_path: Path) -> None:
    kind = Registry.load(data_folder("science_modules")).get("xmatch")
    (tmp_path / "a.csv").write_text("ra,dec\n1,2\n")
    marks = [kind().provenance()]
    for folder in ("one", "two"):
        import_catalog(tmp_path / "a.csv", tmp_path / folder, "a")
        marks.append(kind(folder=str(tmp_path / folder)).provenance())
    (tmp_path / "a.csv").write_text("ra,dec\n1,3\n")
    import_catalog(tmp_path / "a.csv", tmp_path / "two", "a")
    marks.append(kind(folder=str(tmp_path / "two")).provenance())
    assert marks[1] == marks[2]
    assert len(set(marks)) == 3
