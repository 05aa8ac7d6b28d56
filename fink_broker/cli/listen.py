"""`fink listen`: the alerts of a substream on the terminal, or saved as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fink_broker.cli.common import settings_from
from fink_broker.client import Alert


def listen(
    context: typer.Context,
    topic: Annotated[list[str], typer.Argument(help="topics, such as fink_bright_ztf; see `fink topic list`")],
    servers: Annotated[str, typer.Option(help="HOST:PORT list (default: the broker's own Kafka)")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="stop after this many alerts")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="stop after this time without an alert [s]")] = None,
    group: Annotated[str, typer.Option(help="consumer group, to go on where you stopped (default: start anew)")] = "",
    start: Annotated[str, typer.Option(help="where a new group starts: earliest or latest")] = "earliest",
    save: Annotated[Path | None, typer.Option(help="folder to save each alert in, as an Avro file")] = None,
    plot: Annotated[Path | None, typer.Option(help="folder to draw each light curve in, as a PNG")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print each alert as indented JSON")] = False,
) -> None:
    """Print the alerts of substreams as they come, one line each; `null` when none came in time."""
    from fink_broker import kafka
    from fink_broker.client import listen as alerts

    if start not in ("earliest", "latest"):
        raise typer.BadParameter(f"start is '{start}'; expected earliest or latest")
    settings = settings_from(context)
    options = {} if servers else kafka.client_config(settings, "output")
    address = servers or settings.output_servers
    seen = 0
    try:
        for alert in alerts(topic, address, group=group, start=start, timeout=timeout, limit=limit, options=options):  # type: ignore[arg-type]
            seen += 1
            typer.echo(alert.json() if as_json else line(alert))
            if save:
                typer.echo(f"  {alert.save(save)}", err=True)
            if plot:
                plot.mkdir(parents=True, exist_ok=True)
                typer.echo(f"  {alert.plot(plot / f'{alert.survey}_{alert.id}.png')}", err=True)
    except KeyboardInterrupt:
        typer.echo(f"{seen} alerts", err=True)
    if not seen:
        typer.echo("null")


def line(alert: Alert) -> str:
    """One line of an alert: topic, ids, time, band, magnitude."""
    facts = alert["neutral"]
    mag = f"{facts['mag']:.2f} ± {facts['mag_err'] or 0:.2f}" if facts["mag"] is not None else f"{facts['flux']:.0f} nJy"
    who = facts["object_id"] or facts["ss_object_id"] or "-"
    return f"{alert.topic}  {alert.id}  {who}  mjd {facts['mjd']:.5f}  {facts['band'] or '?'} = {mag}"
