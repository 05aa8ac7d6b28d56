"""`fink demo`: the whole broker with one command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fink_broker.cli.common import settings_from, with_options

if TYPE_CHECKING:
    from fink_broker.demo import Demo


def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="end when every alert has come out of every sink")] = False,
    alerts: Annotated[list[Path] | None, typer.Option(help="Avro file, folder or tar of alerts; may be repeated; default: made-up alerts")] = None,
    survey: Annotated[list[str] | None, typer.Option(help="survey, may be repeated")] = None,
    number: Annotated[int | None, typer.Option(help="most alerts to send (default: 500 with --once, else no end)")] = None,
    rate: Annotated[float | None, typer.Option(help="alerts per second (default: 20, with --once as fast as possible)")] = None,
    home: Annotated[Path | None, typer.Option(help="folder of all state (default ~/.fink)")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the result here")] = None,
    seed: Annotated[int, typer.Option(help="seed of the made-up alerts")] = 1,
) -> None:
    """Start Kafka, HBase, the jobs and the gateway, send alerts through them, and show what happens."""
    from fink_broker import demo as demonstration

    settings = with_options(settings_from(context), broker={"home": str(home) if home else None})
    run = demonstration.Demo(
        settings,
        alerts or (),
        survey or (),
        number if number or alerts or not once else 500,
        rate if rate or once else 20.0,
        seed,
        say=lambda text: typer.echo(text, err=True),
    )
    demonstration.stop_on_signals()
    status = 0
    try:
        if once:
            result = demonstration.once(run, _live())
            typer.echo("", err=True)
            typer.echo(_table(result.as_dict()))
            if json_file:
                demonstration.write_json(result.as_dict(), json_file)
            status = 0 if result.balanced else 1
        else:
            demonstration.forever(run, _live())
    except KeyboardInterrupt:
        typer.echo("\nstopping", err=True)
    finally:
        run.down()
    raise typer.Exit(status)


def _live() -> Callable[[Demo], None]:
    """What prints the one live line of a demonstration."""
    from fink_broker.demo import progress

    said: list[str] = []

    def live(run: Demo) -> None:
        url = run.page()
        if url and url not in said:
            said.append(url)
            typer.echo(f"{chr(13)}Pages at {url} (objects, topics, status)", err=True)
        line = progress(run)
        if sys.stderr.isatty():
            typer.echo(f"\r{line:<120}", err=True, nl=False)
        elif not said or said[-1] != line:
            said.append(line)
            typer.echo(line, err=True)

    return live


def _table(result: dict[str, object]) -> str:
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines.append(f"{name}")
            lines += [f"  {key:<46} {part}" for key, part in sorted(value.items())]
        else:
            lines.append(f"{name:<20} {value:,}" if isinstance(value, (int, float)) and not isinstance(value, bool) else f"{name:<20} {value}")
    return "\n".join(lines)
