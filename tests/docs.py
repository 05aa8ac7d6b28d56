"""Writes the generated parts of the READMEs (`make docs`): settings, commands, files, errors, public names.

A part stands between `<!-- NAME: written by make docs -->` and `<!-- end of NAME -->`. Without --write it only compares.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from pydantic import SecretStr
from typer.models import OptionInfo

from fink_broker import cli, errors
from fink_broker.settings import Section, Settings

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fink_broker"
PUBLIC = ("client", "science", "testing", "settings", "errors")  # what users of the package import


def settings_table() -> Iterator[str]:
    """Every setting with its default, its variable and what it is for."""
    yield "Environment variable of `[section] field`: `FINK_SECTION__FIELD`, in capitals; lists and tables as JSON."
    for name, part in Settings():
        if not isinstance(part, Section):
            continue
        yield from ("", f"**[{name}]** {_first_line(type(part))}", "", "| field | default | for |", "|---|---|---|")
        for key, field in type(part).model_fields.items():
            yield f"| `{key}` | {_value(field.default)} | {_cell(field.description or '')} |"


def commands() -> Iterator[str]:
    """Every command with its arguments and options."""
    yield from ("```", "fink [--conf FILE] [--profile NAME] [--home DIR] [--log-level LEVEL] COMMAND …", "```")
    for words, command in _commands():
        yield from ("", f"**`fink {words}`** {' '.join((inspect.getdoc(command) or '').split())}")
        if rows := list(_options(command)):
            yield from ("", *rows)


def files() -> Iterator[str]:
    """Every file of the package with the first line of its docstring."""
    yield from ("| file | what |", "|---|---|")
    for file in sorted(PACKAGE.rglob("*.py")):
        about = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0]
        if file.name != "__main__.py" and file != PACKAGE / "__init__.py":
            yield f"| `{file.relative_to(PACKAGE).as_posix().removesuffix('/__init__.py').removesuffix('.py')}` | {_cell(about)} |"


def error_table() -> Iterator[str]:
    """Every error, its parents and its sentence."""
    yield from ("| error | is a | when |", "|---|---|---|")
    for name in public("errors"):
        kind = getattr(errors, name)
        if not isinstance(kind, type):
            continue
        yield f"| `{name}` | {', '.join(f'`{base.__name__}`' for base in kind.__bases__)} | {_first_line(kind)} |"


def names() -> Iterator[str]:
    """What users import, module by module."""
    yield from ("| import from | names |", "|---|---|")
    for module in PUBLIC:
        yield f"| `fink_broker.{module}` | {', '.join(f'`{name}`' for name in public(module))} |"


def public(module: str) -> list[str]:
    """Public names of a module: its `__all__`, else the classes and functions that it defines."""
    found = importlib.import_module(f"fink_broker.{module}")
    own = [name for name, value in vars(found).items() if getattr(value, "__module__", "") == found.__name__ and callable(value)]
    return list(getattr(found, "__all__", None) or [name for name in own if not name.startswith("_")])


PARTS: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "settings": ("conf/README.md", settings_table),
    "commands": ("bin/README.md", commands),
    "files": ("fink_broker/README.md", files),
    "errors": ("fink_broker/README.md", error_table),
    "names": ("fink_broker/README.md", names),
}


def rendered(name: str) -> tuple[Path, str, str]:
    """The README of a part, its text now, and its text with the part made anew."""
    file, make = PARTS[name]
    path = ROOT / file
    text = path.read_text()
    first, last = f"<!-- {name}: written by make docs -->", f"<!-- end of {name} -->"
    assert text.count(first) == text.count(last) == 1, f"{file} lacks the marks {first} and {last}"
    before, rest = text.split(first)
    body = "\n".join(make())
    return path, text, f"{before}{first}\n\n{body}\n\n{last}{rest.split(last)[1]}"


def main() -> int:
    """Write the parts, or name those that are out of step."""
    write, stale = "--write" in sys.argv, []
    for name in PARTS:
        path, old, new = rendered(name)
        if old != new:
            stale.append(name)
            if write:
                path.write_text(new)
    for name in stale:
        print(f"{PARTS[name][0]}: {name} {'written' if write else 'out of step; run make docs'}")
    return int(bool(stale) and not write)


def _commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Words and function of every command, in the order of `fink --help`."""
    for file, name in cli.GROUPS.items():
        for command in importlib.import_module(f"fink_broker.cli.{file}").app.registered_commands:
            yield f"{name} {command.name or command.callback.__name__}", command.callback
    for file, words in cli.COMMANDS.items():
        module = importlib.import_module(f"fink_broker.cli.{file}")
        for name in words:
            yield name, getattr(module, f"{name}_command", None) or getattr(module, name)


def _options(command: Callable[..., Any]) -> Iterator[str]:
    hints = get_type_hints(command, include_extras=True)
    for name, part in inspect.signature(command).parameters.items():
        if hints[name] is typer.Context:
            continue
        kind, *about = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name],)
        info = about[0] if about else None
        more = "…" if "list[" in str(kind) else ""
        needed = part.default is inspect.Parameter.empty
        told = (getattr(info, "help", None) or "").strip()
        if isinstance(info, OptionInfo):
            value = "" if kind is bool else f" {'NUMBER' if re.search('int|float', str(kind)) else 'PATH' if 'Path' in str(kind) else 'TEXT'}"
            given = [word for word in (info.default, *(info.param_decls or ())) if str(word).startswith("-")]  # Typer takes the first name for a default
            shown = ", ".join(given or [f"--{name.replace('_', '-')}"]) + value
        else:
            shown = name.upper() + more
            shown = shown if needed else f"[{shown}]"
        default = "" if needed or part.default in (None, False, "") or "default" in told else f"; default {part.default}"
        yield f"- `{shown}` {told}{default}".rstrip()


def _value(default: Any) -> str:
    if isinstance(default, SecretStr) or default in ("", None, {}):
        return ""
    text = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f"`{text}`"


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n")[0]


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
