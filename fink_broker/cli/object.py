"""`fink object` and `fink cone`: look at what HBase holds, in the terminal."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fink_broker.cli.common import settings_from


def object_command(
    context: typer.Context,
    object_id: Annotated[str, typer.Argument(help="object id")],
    survey: Annotated[str, typer.Option(help="survey")] = "ztf",
    as_json: Annotated[bool, typer.Option("--json", help="everything, as JSON")] = False,
) -> None:
    """Alerts of an object, newest first."""
    from fink_broker.history import History

    for row in History(settings_from(context)).object(survey, object_id):
        if as_json:
            typer.echo(json.dumps(row))
        else:
            mag = "" if row.get("mag") is None else f"{row['mag']:7.3f} ± {row.get('mag_err') or 0:.3f}"
            typer.echo(f"{row['alert_id']:>20}  mjd {row['mjd']:.5f}  {row.get('band', ''):>2}  {mag}  snr {row.get('snr') or 0:6.1f}")


def cone(
    context: typer.Context,
    ra: Annotated[float, typer.Argument(help="right ascension [deg]")],
    dec: Annotated[float, typer.Argument(help="declination [deg]")],
    radius: Annotated[float, typer.Argument(help="radius [arcsec]")] = 5.0,
    limit: Annotated[int, typer.Option(help="most objects")] = 100,
) -> None:
    """Objects within a radius, nearest first."""
    from fink_broker.history import History

    for row in History(settings_from(context)).cone(ra, dec, radius, limit):
        name = row.get("object_id") or row.get("ss_object_id") or row["alert_id"]
        typer.echo(f"{name:<24}{row['survey']:<10}{row['ra']:11.6f} {row['dec']:+11.6f}  {row['separation_arcsec']:9.3f} arcsec")
