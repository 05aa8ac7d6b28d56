"""`fink simulate`: replays alert files or makes alerts up, into the survey's Kafka topic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fink_broker.cli.common import settings_from


def simulate(
    context: typer.Context,
    alerts: Annotated[list[Path] | None, typer.Argument(help="Avro files, folders or tars; none: made-up alerts")] = None,
    survey: Annotated[list[str] | None, typer.Option(help="survey, may be repeated")] = None,
    number: Annotated[int | None, typer.Option(help="most alerts to send (made-up alerts: default 1000)", min=1)] = None,
    rate: Annotated[float | None, typer.Option(help="alerts per second (default: as fast as possible)")] = None,
    alerts_per_observation: Annotated[int | None, typer.Option(help="send visit by visit, so many alerts each")] = None,
    observations: Annotated[int, typer.Option(help="number of visits, -1 for all")] = -1,
    interval: Annotated[float, typer.Option(help="time between the starts of visits [s], aligned to the clock")] = 5.0,
    topic: Annotated[str | None, typer.Option(help="Kafka topic instead of the survey's own")] = None,
    display: Annotated[str | None, typer.Option(help="field to show of the first and last alert of a visit, such as candidate.jd")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="kinds of made-up alerts: supernova, variable, asteroid, microlensing, bogus")] = None,
    seed: Annotated[int, typer.Option(help="seed of made-up alerts")] = 1,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="print events as JSON")] = False,
) -> None:
    """Send alerts in time order, keyed by object."""
    from fink_broker import simulate as simulation

    settings = settings_from(context)
    rhythm = simulation.Rhythm(rate, alerts_per_observation, observations, interval)

    def tell(event: dict[str, Any]) -> None:
        typer.echo(simulation.as_json(event) if json_lines else simulation.as_line(event))

    surveys = survey or list(settings.broker.surveys)
    if alerts:
        packets: Any = list(simulation.read_alerts(alerts, settings.schemas_path, lambda text: typer.echo(text, err=True), survey, bool(display)))
        total = len(packets)
    else:
        total = number or (alerts_per_observation or 0) * max(observations, 0) or 1000
        packets = simulation.make_packets(surveys, settings.schemas_path, total, seed, kind)
    wanted = min(total, number or total)
    if alerts_per_observation and observations > 0 and alerts_per_observation * observations < wanted:
        wanted = alerts_per_observation * observations
    tell({"event": "simulation", "available": total, "to_send": wanted, "rate": rate or "as fast as possible", "kafka": settings.bootstrap_servers,
          "surveys": ",".join(surveys)})  # fmt: skip
    if display and alerts and packets and simulation.dig(packets[0].display, display.replace(",", ".")) is None:
        typer.echo(f"the alerts have no field {display}; none is shown", err=True)
    chosen = dict.fromkeys(load_names(settings), topic) if topic else None
    simulation.send(settings, packets, number=number, rhythm=rhythm, topics=chosen, display=display, tell=tell)


def load_names(settings: Any) -> list[str]:
    """Names of all surveys."""
    from fink_broker.survey import load_surveys

    return list(load_surveys(settings.schemas_path))
