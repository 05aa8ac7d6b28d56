"""`fink model`: the trained models of science modules, what their cards say, and whether it is true."""

from __future__ import annotations

from typing import Annotated

import typer

from fink_broker.cli.common import settings_from

app = typer.Typer(no_args_is_help=True, help="Trained models: list, verify.")


@app.command("list")
def list_models(context: typer.Context) -> None:
    """Every installed module with a model: its score, date, size and hash."""
    from fink_broker.errors import ConfigError
    from fink_broker.model import read_card
    from fink_broker.science import Registry

    registry = Registry.load(settings_from(context).modules_path)
    for name in registry:
        kind = registry.get(name)
        if not any(file.endswith(".onnx") for file in kind.model_files):
            continue
        size = sum(file.stat().st_size for file in kind().model_paths() if file.is_file()) / 2**20
        try:
            rows = read_card(kind).rows
            typer.echo(f"{name:<18}{kind.version:<7}{size:>6.1f} MB  {rows['date']:<12}{rows['sha256'][:12]}  {rows['score']}")
        except ConfigError as error:
            typer.echo(f"{name:<18}{kind.version:<7}{size:>6.1f} MB  {error}")


@app.command("verify")
def verify_models(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="module; none: all with a model")] = None,
    write: Annotated[bool, typer.Option("--write", help="after training: keep the outputs on the check set as those that are expected")] = False,
) -> None:
    """Check the hash of each model, its card, and its score and outputs on the check set that is shipped with it."""
    from fink_broker.errors import ConfigError
    from fink_broker.model import verify, write_expected
    from fink_broker.science import Registry

    registry = Registry.load(settings_from(context).modules_path)
    wrong = 0
    if name and not registry.get(name).model_files:
        raise ConfigError(f"science module {name} has no model; `fink model list` shows those that have")
    for one in [name] if name else registry:
        kind = registry.get(one)
        if not any(file.endswith(".onnx") for file in kind.model_files):
            continue
        if write:
            typer.echo(f"{one:<18}{write_expected(kind)} written", err=True)
        found = verify(kind)
        wrong += bool(found)
        typer.echo(f"{one:<18}{'good: hash, card, score and outputs agree' if not found else 'WRONG ' + '; '.join(found)}")
    raise typer.Exit(1 if wrong else 0)
