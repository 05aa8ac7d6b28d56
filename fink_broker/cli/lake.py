"""`fink lake`: the nights that the Parquet lake holds, and the removal of old ones."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from fink_broker.cli.common import settings_from

app = typer.Typer(no_args_is_help=True, help="The Parquet lake: list, prune.", rich_markup_mode=None)


@app.command("list")
def list_nights(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Every night of every table with its files and size, and the free disk."""
    from fink_broker import retention

    settings = settings_from(context)
    rows: list[dict[str, Any]] = [
        {"table": one.table, "survey": one.survey, "night": one.night, "files": one.files, "bytes": one.size} for one in retention.nights(settings)
    ]
    free = retention.free_gb(settings)
    if as_json:
        typer.echo(json.dumps({"path": settings.lake_path, "free_gb": round(free, 3), "nights": rows}, indent=2))
        return
    for row in rows:
        typer.echo(f"{row['night']}  {row['survey']:<10}{row['table']:<12}{row['files']:>6} files {row['bytes'] / 1e6:>12,.1f} MB")
    typer.echo(f"{settings.lake_path}: {len(rows)} nights of tables, {free:,.1f} GB of disk free")


@app.command()
def prune(context: typer.Context, yes: Annotated[bool, typer.Option("--yes", help="remove them; without it they are only listed")] = False) -> None:
    """Remove nights older than [lake] retention_days."""
    from fink_broker import retention
    from fink_broker.errors import ConfigError

    settings = settings_from(context)
    if not settings.lake.retention_days:
        raise ConfigError("[lake] retention_days is 0, which keeps all; set how many days to keep, such as FINK_LAKE__RETENTION_DAYS=90")
    old = retention.overdue(settings)
    for one in old:
        typer.echo(f"{one.night}  {one.survey:<10}{one.table:<12}{one.size / 1e6:>12,.1f} MB")
        if yes:
            retention.remove(one)
    what = "removed" if yes else "to remove; add --yes to do it"
    typer.echo(f"{len(old)} nights of tables, {sum(one.size for one in old) / 1e6:,.1f} MB {what}")
