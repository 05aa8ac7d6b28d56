"""Documents in step with the code: commands, settings, modules, filters, layers, sizes of files."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fink_broker import cli
from fink_broker.science import Registry
from fink_broker.settings import Settings
from tests import docs

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
# A file imports only what stands in its own layer or above.
LAYERS = [
    {"errors", "settings", "log", "retry", "frame", "jvm"},
    {"sky", "survey", "schema_registry", "schema", "framing", "lean", "alert"},
    {"past", "science_module", "science", "adapter", "catalog", "catalog_import", "curve", "isolation", "model", "sample", "filters", "filter_function"},
    {"lake", "kafka", "message", "hbase", "history", "earlier", "seen", "ledger", "retention", "merge", "checkpoint"},
    {"services", "jobs", "testing"},
    {
        "conversion",
        "spool",
        "replay",
        "skysim",
        "simulate",
        "client",
        "balance",
        "contract",
        "cost",
        "question",
        "efficiency",
        "efficiency_plot",
        "audit",
        "compact",
        "resend",
    },
    {"web", "demo", "bench"},
    {"cli"},
]
SPARK = {"frame", "jvm", "alert", "lake", "kafka", "message", "filters", "filter_function", "hbase", "jobs", "contract", "cli"}


def test_every_command_is_in_the_readme() -> None:
    reference = (ROOT / "bin/README.md").read_text()
    for name in [*cli.GROUPS, *(name for names in cli.COMMANDS.values() for name in names)]:
        assert f"fink {name}" in README, f"`fink {name}` is not in README.md"
        assert f"**`fink {name}" in reference, f"`fink {name}` is not in bin/README.md"


@pytest.mark.parametrize("name", docs.PARTS)
def test_the_generated_parts_are_in_step(name: str) -> None:
    path, old, new = docs.rendered(name)
    assert old == new, f"{path}: {name} is out of step; run make docs"


def test_every_public_name_says_what_it_is() -> None:
    for module in docs.PUBLIC:
        found = importlib.import_module(f"fink_broker.{module}")
        for name in docs.public(module):
            thing = getattr(found, name)
            assert not callable(thing) or inspect.getdoc(thing), f"{module}.{name} has no docstring"
    for file in (ROOT / "fink_broker").rglob("*.py"):
        assert ast.get_docstring(ast.parse(file.read_text())), f"{file} does not say what it is for"


def test_every_folder_has_a_readme_and_links_lead_somewhere() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    folders = {name.split("/")[0] for name in listed if "/" in name and not name.startswith(".")}
    for folder in folders:
        assert f"{folder}/README.md" in listed, f"{folder}/ has no README.md"
        assert f"`{folder}/`" in README, f"README.md does not name {folder}/"
    for name in listed:
        if name.endswith(".md"):
            for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
                assert ((ROOT / name).parent / link).exists(), f"{name} links to {link}, which is not there"


def test_every_module_and_filter_is_in_a_readme() -> None:
    modules = (ROOT / "science_modules/README.md").read_text()
    for name in Registry.load(ROOT / "science_modules"):
        assert f"`{name}`" in modules
    filters = (ROOT / "conf/filters/README.md").read_text()
    for file in (ROOT / "conf/filters").glob("*.toml"):
        assert file.stem in filters


def test_every_setting_is_in_the_shipped_file() -> None:
    text = (ROOT / "conf/fink.toml").read_text()
    for name, field in Settings.model_fields.items():
        section = text.split(f"\n[{name}]")[1].split("\n[")[0]
        for key in getattr(field.annotation, "model_fields", {}):
            assert f"{key} =" in section, f"[{name}] {key} is not in conf/fink.toml"


def test_files_import_only_what_stands_above() -> None:
    place = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    for file in sorted((ROOT / "fink_broker").rglob("*.py")):
        own = file.relative_to(ROOT / "fink_broker").parts[0].removesuffix(".py")
        if own in ("__init__", "__main__"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) and node.module else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                parts = module.split(".")
                if parts[0] == "fink_broker" and len(parts) > 1 and parts[1] in place:
                    assert place[parts[1]] <= place[own], f"{file.name} imports {module}"
                if parts[0] == "pyspark":
                    assert own in SPARK, f"{file.name} touches Spark"
                if parts[0] == "happybase":
                    assert own in ("hbase", "services"), f"{file.name} touches happybase"


def test_files_are_one_noun() -> None:
    for file in sorted((ROOT / "fink_broker").rglob("*.py")):
        assert file.stem not in ("utils", "helpers", "misc")
        lines = file.read_text().splitlines()
        assert len(lines) <= 400 or "lines" in " ".join(lines[:5]), f"{file} is longer than 400 lines and does not say why in its first lines"


@pytest.mark.parametrize("line", [["-c", "import fink_broker, sys; print('pyspark' in sys.modules)"], ["-X", "importtime", "-m", "fink_broker", "--help"]])
def test_help_loads_no_spark(line: list[str]) -> None:
    done = subprocess.run([sys.executable, *line], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "True" not in done.stdout
    assert "pyspark" not in done.stderr


def test_nothing_names_this_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    for name in listed:
        if not name.endswith((".avsc", "LICENSE", ".onnx", ".parquet", ".png")):
            text = (ROOT / name).read_text()
            assert "/work" + "/" not in text, name
