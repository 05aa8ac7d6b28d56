"""`fink lake`: the nights of the lake as files, merging many small ones, removing old ones."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fink_broker.cli.common import settings_from

app = typer.Typer(no_args_is_help=True, help="The Parquet lake: list, merge small files, prune.")
Table = Annotated[str | None, typer.Option(help="raw, science, and quarantine where only listed (default: all)")]
Survey = Annotated[str | None, typer.Option(help="one survey (default: all)")]
Night = Annotated[str | None, typer.Option(help="one night, YYYY-MM-DD or YYYYMMDD (default: all)")]
Target = Annotated[float, typer.Option(help="files are made at least so large [MB]", min=0.001)]


@app.command()
def nights(
    context: typer.Context, table: Table = None, survey: Survey = None, night: Night = None, target_mb: Target = 128.0,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:  # fmt: skip
    """Files and sizes of each night."""
    from fink_broker import lake, retention
    from fink_broker.compact import Compactor

    settings = settings_from(context)
    compactor, free = Compactor(settings, target_mb), retention.free_gb(settings)
    found = retention.nights(settings, _tables(table, lake.TABLES), survey, _number(night))
    if as_json:
        rows = [{"table": one.table, "survey": one.survey, "night": one.night, "files": one.files, "bytes": one.size,
                 "small": compactor.small(one), "closed": compactor.closed(one)} for one in found]  # fmt: skip
        typer.echo(json.dumps({"path": settings.lake_path, "free_gb": round(free, 3), "nights": rows}, indent=2))
        return
    typer.echo(f"{'table':<10} {'survey':<9} {'night':<10} {'files':>7} {'MB':>10} {'MB a file':>10} {'small':>6}")
    for one in found:
        mb, state = one.size / 1e6, "" if compactor.closed(one) else "  open"
        line = f"{one.table:<10} {one.survey:<9} {_date(one.night):<10} {one.files:>7} {mb:>10.1f} {mb / max(one.files, 1):>10.2f}"
        typer.echo(f"{line} {compactor.small(one):>6}{state}")
    typer.echo(f"{settings.lake_path}: {len(found)} nights of tables, {free:,.1f} GB of disk free")


@app.command()
def compact(
    context: typer.Context, night: Night = None, survey: Survey = None, table: Table = None, target_mb: Target = 128.0,
    force: Annotated[bool, typer.Option("--force", help="nights too that are not over at the survey's site")] = False,
) -> None:  # fmt: skip
    """Merge the small files of closed nights; readers see the old files or the new ones."""
    from fink_broker import retention
    from fink_broker.compact import TABLES as compact_tables
    from fink_broker.compact import Compactor

    settings = settings_from(context)
    compactor = Compactor(settings, target_mb)
    chosen = retention.nights(settings, _tables(table, compact_tables), survey, _number(night))
    number = 0
    for one in chosen:
        if night and not (force or compactor.closed(one)):
            typer.echo(f"{one.table} {one.survey} {_date(one.night)}: the night is not over at the survey's site; --force merges its files nevertheless")
    for done in compactor.run(chosen, force):
        typer.echo(
            f"{done.table} {done.survey} {_date(done.night)}: {done.alerts:,} alerts in {done.before} files of {done.bytes_before / 1e6:.1f} MB "
            f"are in {done.after} of {done.bytes_after / 1e6:.1f} MB, {done.seconds:.1f} s"
        )
        number += 1
    for text in compactor.refused:
        typer.echo(f"left as it is: {text}", err=True)
    if not number and not compactor.refused:
        typer.echo("nothing to merge")
    raise typer.Exit(1 if compactor.refused else 0)


def _tables(table: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    from fink_broker.errors import ConfigError

    if table and table not in known:
        raise ConfigError(f"table is '{table}'; expected {' or '.join(known)}")
    return (table,) if table else known


def _number(night: str | None) -> int | None:
    from fink_broker.errors import ConfigError

    text = (night or "").replace("-", "")
    if text and not (text.isdigit() and len(text) == 8):
        raise ConfigError(f"night is '{night}'; expected YYYY-MM-DD or YYYYMMDD")
    return int(text) if text else None


def _date(night: int) -> str:
    text = str(night)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"


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
