"""The `fink` command."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from fink_broker import __version__, log
from fink_broker.errors import FinkError
from fink_broker.settings import load

app = typer.Typer(
    name="fink", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="An alert broker for astronomical surveys: Kafka in, science, substreams out.",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip

# file under cli/ -> its groups (Typer apps called `app`) and its single commands
GROUPS = {"module": "module", "model": "model", "catalog": "catalog", "filter": "filter", "topic": "topic", "schema": "schema", "lake": "lake"}
COMMANDS = {
    "demo": ["demo"],
    "run": ["run", "submit"],
    "services": ["up", "down", "status"],
    "simulate": ["simulate"],
    "serve": ["serve"],
    "listen": ["listen"],
    "object": ["object", "cone"],
    "ledger": ["ledger"],
    "replay": ["replay"],
    "bench": ["bench"],
    "efficiency": ["efficiency"],
    "config": ["config"],
}
LOOKUPS = ("object", "cone", "topic")  # an error is their one line; tries in between are not told


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"fink {__version__}")
        raise typer.Exit


@app.callback()
def settings(
    context: typer.Context,
    conf: Annotated[Path | None, typer.Option(help="settings file instead of conf/fink.toml")] = None,
    profile: Annotated[str | None, typer.Option(help="profile under conf/profiles")] = None,
    home: Annotated[Path | None, typer.Option(help="folder of all state (default ~/.fink)")] = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR (default INFO; look-ups: ERROR)")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,
) -> None:
    """Read the settings once; commands get them from the context."""
    del version
    log.setup(log_level or ("ERROR" if context.invoked_subcommand in LOOKUPS else "INFO"))
    context.obj = load(conf, profile, {"broker": {"home": str(home)}} if home else None)


def mount() -> None:
    """Add every command; the files import nothing heavy until a command runs."""
    for file, name in GROUPS.items():
        app.add_typer(import_module(f"fink_broker.cli.{file}").app, name=name)
    for file, names in COMMANDS.items():
        module = import_module(f"fink_broker.cli.{file}")
        for name in names:
            app.command(name)(getattr(module, f"{name}_command", None) or getattr(module, name))


def main() -> None:
    """Run a command; an error of ours is one line and exit status 2."""
    mount()
    try:
        app(standalone_mode=True)
    except FinkError as error:
        typer.echo(f"fink: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
