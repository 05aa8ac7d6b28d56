"""`fink module`: the science modules that are installed, and whether they keep their contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fink_broker.cli.common import settings_from

app = typer.Typer(no_args_is_help=True, help="Science modules: list, show, check, new.")


@app.command("list")
def list_modules(context: typer.Context) -> None:
    """Every installed module, and whether it is enabled."""
    from fink_broker.science import Registry

    settings = settings_from(context)
    registry = Registry.load(settings.modules_path)
    for name in registry:
        module = registry.get(name)
        state = "enabled" if name in settings.science.modules else "installed"
        summary = (module.__doc__ or "").strip().splitlines()[0]
        typer.echo(f"{name:<18}{module.version:<7}{state:<11}{','.join(module.surveys):<8}{summary}")
    for name, error in registry.broken.items():
        typer.echo(f"{name:<18}{'-':<7}{'broken':<11}{error}")


@app.command()
def show(context: typer.Context, name: Annotated[str, typer.Argument(help="module")]) -> None:
    """What a module reads, gives and can be set to."""
    from fink_broker.contract import params_of
    from fink_broker.science import Registry

    settings = settings_from(context)
    registry = Registry.load(settings.modules_path)
    kind = registry.get(name)
    module = kind(**params_of(settings, name))
    typer.echo(f"{name} {module.provenance()}, from {registry.origin(name)}\n{kind.__doc__}\n")
    for title, lines in (
        ("surveys", list(module.surveys)),
        ("inputs", list(module.inputs)),
        ("where", [module.where]),
        ("outputs", [*(f"{field}: {of}" for field, of in module.outputs.items()), "error: string"]),
        (f"parameters, set under [science.params.{name}]", [f"{field} = {getattr(module, field)!r}" for field in module.parameters()] or ["none"]),
    ):
        typer.echo(f"{title}\n  " + "\n  ".join(lines))


@app.command()
def check(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="module; none: all")] = None,
    every: Annotated[bool, typer.Option("--all", help="all modules (the same as no name)")] = False,
    survey: Annotated[list[str] | None, typer.Option(help="survey, may be repeated (default: all)")] = None,
    number: Annotated[int, typer.Option(help="alerts of each survey")] = 300,
    alerts: Annotated[list[Path] | None, typer.Option(help="alert files or folders to use instead of made-up alerts; may be repeated")] = None,
    bench: Annotated[bool, typer.Option(help="measure for a second, not once")] = False,
) -> None:
    """Run the contract of a module, or of all, on alerts of each survey, and print alerts per second; with --bench also what they cost together."""
    from fink_broker.contract import check_modules
    from fink_broker.errors import ConfigError

    if name and every:
        raise ConfigError(f"both a module ({name}) and --all are given; leave one out")
    broken = 0
    for found in check_modules(settings_from(context), [name] if name else None, survey, number, alerts or (), 1.0 if bench else 0.0):
        typer.echo(str(found))
        broken += bool(found.fault)
    if bench and not name and not broken:
        from fink_broker.cost import costs

        for cost in costs(settings_from(context), None, survey, number, alerts or (), 2.0):
            typer.echo(str(cost))
    raise typer.Exit(1 if broken else 0)


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="name of the module: a-z, 0-9 and _")],
    tests: Annotated[Path, typer.Option(help="folder of tests; the module's test is written there if it exists")] = Path("tests/modules"),
) -> None:
    """Write a new module from the template, and its test; both work at once."""
    from fink_broker.errors import ConfigError
    from fink_broker.science import Registry

    folder = settings_from(context).modules_path
    target, test = folder / f"{name}.py", tests / f"test_{name}.py"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(f"'{name}' cannot name a module; use a-z, 0-9 and _, starting with a letter")
    if name in set(Registry.load(folder)) or target.exists() or (folder / name).exists() or test.exists():
        raise ConfigError(f"there is a module {name} already, or its test; choose another name")
    _write(folder / "_template.py", target, name)
    written = str(target)
    if tests.is_dir():
        _write(folder / "_template_test.py", test, name)
        written += f" and {test}"
    typer.echo(f"wrote {written}; next: edit it, `fink module check {name}`, then add it to [science] modules")


def _write(template: Path, target: Path, name: str) -> None:
    kind = "".join(part.capitalize() for part in name.split("_"))
    target.write_text(template.read_text().replace("TEMPLATE:", f"{kind}:").replace("Template", kind).replace("template", name))
