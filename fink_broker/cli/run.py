"""`fink run` and `fink submit`: the streaming jobs on this machine, or the spark-submit line for a cluster."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Annotated

import typer

from fink_broker.cli.common import settings_from, with_options

Jobs = Annotated[list[str], typer.Argument(help="jobs: night (live and ingest in one), live, ingest, enrich, distribute, index")]
Survey = Annotated[list[str] | None, typer.Option(help="survey, may be repeated (default: [broker] surveys)")]


def run(
    context: typer.Context,
    jobs: Jobs,
    survey: Survey = None,
    trigger: Annotated[float | None, typer.Option(help="least time between batches [s]")] = None,
    max_offsets: Annotated[int | None, typer.Option(help="most alerts in one batch")] = None,
    start: Annotated[str | None, typer.Option(help="where a new checkpoint starts: earliest, latest or a time (2026-11-20T03:00:00, UTC)")] = None,
) -> None:
    """Run streaming jobs until Ctrl-C or SIGTERM; the batch in hand ends first."""
    from fink_broker.jobs.runner import run as run_jobs

    settings = with_options(
        settings_from(context),
        ingest={"trigger_seconds": trigger, "max_offsets_per_trigger": max_offsets, "starting_offsets": start},
    )
    raise typer.Exit(run_jobs(settings, jobs, survey))


def submit(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="job: night (live and ingest in one), live, ingest, enrich, distribute, index")],
    survey: Survey = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print the spark-submit line")] = False,
) -> None:
    """Start a job by spark-submit; secrets go through the environment, never on the line."""
    from fink_broker.jobs.submit import command

    line, secrets = command(settings_from(context), job, survey)
    if dry_run:
        typer.echo(shlex.join(line))
        for name in secrets:
            typer.echo(f"# needs {name} in the environment", err=True)
        return
    raise typer.Exit(subprocess.run(line, check=False, env=os.environ | secrets).returncode)
