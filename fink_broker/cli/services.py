"""`fink up`, `fink down`, `fink status`: the services alone."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from fink_broker.cli.common import settings_from


def up(context: typer.Context) -> None:
    """Start Kafka and HBase in the background and print their addresses."""
    from fink_broker.services import stack

    settings = settings_from(context)
    stack.up(settings.home, say=lambda text: typer.echo(text, err=True))
    _print(_addresses(context))


def down(context: typer.Context) -> None:
    """Stop the services that `fink up` or `fink demo` started under this home."""
    from fink_broker.services import stack

    stopped = stack.down(settings_from(context).home)
    typer.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def status(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
    """Which services run, and where."""
    found = _addresses(context)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(found)


def _addresses(context: typer.Context) -> dict[str, Any]:
    from fink_broker.services import stack

    settings = settings_from(context)
    return {**stack.status(settings.home), "lake": {"path": settings.lake_path}, "home": {"path": str(settings.home)}}


def _print(found: dict[str, Any]) -> None:
    for name, known in found.items():
        thrift = f"{known['host']}:{known['port']} (Thrift)" if "host" in known else "never started under this home"
        address = known.get("bootstrap_servers") or known.get("url") or known.get("path") or thrift
        state = "" if "running" not in known else "running" if known["running"] else "stopped"
        typer.echo(f"{name:<9}{address:<50}{state}")
