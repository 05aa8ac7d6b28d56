"""`fink topic`: the substreams that exist, and what they hold."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fink_broker.cli.common import settings_from

app = typer.Typer(no_args_is_help=True, help="Substream topics.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Substream topics."""


@app.command("list")
def list_topics(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Every substream topic with its partitions, messages and filter."""
    from fink_broker import kafka
    from fink_broker.filters import FilterSet, topic_name
    from fink_broker.survey import load_surveys

    settings = settings_from(context)
    summaries = {}
    for survey in load_surveys(settings.schemas_path):
        for rule in FilterSet(settings.filters_path, survey, settings).current():
            summaries[topic_name(rule, survey)] = rule.summary
    known = {name: parts for name, parts in kafka.topics(settings).items() if name.startswith("fink_")}
    counts = kafka.topic_counts(settings, list(known))
    rows = [{"topic": name, "partitions": parts, "messages": counts[name], "summary": summaries.get(name, "no filter now")} for name, parts in known.items()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        typer.echo(f"no substream topic at {settings.output_servers} yet; `fink run live` makes them as alerts match", err=True)
        return
    width = max(len(name) for name in known)
    typer.echo(f"{'topic':{width}}  {'partitions':>10}  {'messages':>9}  summary")
    for row in rows:
        typer.echo(f"{row['topic']:{width}}  {row['partitions']:>10}  {row['messages']:>9}  {row['summary']}")
