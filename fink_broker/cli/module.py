"""`fink module`: the science modules that are installed, and whether they keep their contract."""

from __future__ import annotations

import re
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


@app.command()
def show(context: typer.Context, name: Annotated[str, typer.Argument(help="module")]) -> None:
    """What a module reads, gives and can be set to."""
    from fink_broker.science import Registry

    registry = Registry.load(settings_from(context).modules_path)
    module = registry.get(name)
    typer.echo(f"{name} {module.version}, from {registry.origin(name)}\n{module.__doc__}\n")
    for title, lines in (
        ("inputs", list(module.inputs)),
        ("where", [module.where]),
        ("outputs", [f"{field}: {kind}" for field, kind in module.outputs.items()]),
        ("parameters", [f"{field} = {getattr(module, field)!r}" for field in module.parameters()]),
    ):
        typer.echo(f"{title}\n  " + "\n  ".join(lines))


@app.command()
def check(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="module; none: all")] = None,
    survey: Annotated[list[str] | None, typer.Option(help="survey, may be repeated (default: all)")] = None,
    number: Annotated[int, typer.Option(help="made-up alerts of each survey")] = 300,
) -> None:
    """Run the contract of a module, or of all, on alerts of each survey, and print alerts per second."""
    from fink_broker.contract import check_modules

    settings = settings_from(context)
    broken = 0
    for line, good in check_modules(settings, [name] if name else None, survey, number):
        typer.echo(line)
        broken += not good
    raise typer.Exit(1 if broken else 0)


@app.command()
def new(context: typer.Context, name: Annotated[str, typer.Argument(help="name of the module: a-z, 0-9 and _")]) -> None:
    """Write a new module from the template; it works at once."""
    from fink_broker.errors import ConfigError

    folder = settings_from(context).modules_path
    target = folder / f"{name}.py"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(f"'{name}' cannot name a module; use a-z, 0-9 and _, starting with a letter")
    if target.exists() or (folder / name).exists():
        raise ConfigError(f"there is a module {name} already, at {target}; choose another name")
    kind = "".join(part.capitalize() for part in name.split("_"))
    text = (folder / "_template.py").read_text()
    target.write_text(text.replace("TEMPLATE:", f"{kind}:").replace("class Template", f"class {kind}").replace("template", name))
    typer.echo(f"wrote {target}; next: edit it, `fink module check {name}`, then add it to [science] modules")
