"""`fink filter`: the filters that run, how many alerts they choose, and new ones."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fink_broker.cli.common import settings_from

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from fink_broker.filters import Filter
    from fink_broker.settings import Settings
    from fink_broker.survey import Survey

app = typer.Typer(no_args_is_help=True, help="Filters: rules that choose alerts for a substream.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="name of the filter, which is its file's without .toml")]
FEW = 50  # alerts below which a share says nothing
TEMPLATE = '''# A filter: the alerts for which `where` holds go to the topic fink_{name}_SURVEY.
# `fink filter check {name}` tries it on the nights in the lake; conf/filters/README.md lists the columns.
summary = "TODO: say in one sentence which alerts these are"
contact = "you@example.org"
where = """
mag < 18 and snr > 10 and size(quality) = 0
"""
# survey = ["ztf"]               # default: all surveys; needed to use packet.…
# columns = ["objectId"]         # the packet's own columns to send; default: all
# cutouts = false                # send no cutouts
# max_rate = 0.05                # largest share of alerts; default [filters] max_rate
'''


@app.command("list")
def list_filters(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Every filter with its surveys and summary; broken ones with their reason."""
    from fink_broker.errors import FilterError
    from fink_broker.filters import read_filter

    folder = settings_from(context).filters_path
    rows = []
    for file in sorted(folder.glob("*.toml")):
        try:
            rule = read_filter(file)
            rows.append({"name": rule.name, "survey": list(rule.survey) or ["all"], "summary": rule.summary, "error": None})
        except FilterError as error:
            rows.append({"name": file.stem, "survey": [], "summary": "", "error": str(error)})
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        typer.echo(f"no filters in {folder}; make one with `fink filter new NAME`", err=True)
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        surveys = ",".join(row["survey"] or [])
        typer.echo(f"{row['name']:{width}}  {surveys:8}  {'BROKEN: ' + str(row['error']) if row['error'] else row['summary']}")


@app.command()
def show(context: typer.Context, name: Name) -> None:
    """All of one filter, with the topics it feeds."""
    from fink_broker.filters import topic_name

    settings = settings_from(context)
    rule = _read(settings, name)
    for key, value in asdict(rule).items():
        if value not in ("", (), {}, None):
            typer.echo(f"{key:9} {' '.join(str(value).split()) if isinstance(value, str) else value}")
    typer.echo(f"{'version':9} {rule.version}")
    typer.echo(f"{'topics':9} {', '.join(topic_name(rule, survey.name) for survey in _surveys(settings, rule, None))}")


@app.command()
def new(context: typer.Context, name: Name) -> None:
    """Write the file of a new filter to fill in."""
    from fink_broker.errors import FilterError
    from fink_broker.filters import check_name

    check_name(name)
    file = settings_from(context).filters_path / f"{name}.toml"
    if file.exists():
        raise FilterError(f"filter {name} exists already: {file}; choose another name or edit it")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(TEMPLATE.format(name=name))
    typer.echo(f"{file}: fill it in, then run `fink filter check {name}`")


@app.command()
def check(
    context: typer.Context,
    name: Name,
    night: Annotated[list[str] | None, typer.Option(help="night YYYY-MM-DD, may be repeated (default: the last)")] = None,
    survey: Annotated[str | None, typer.Option(help="only this survey")] = None,
) -> None:
    """Try a filter: its columns, then its yield on nights in the lake; refused above its max_rate."""
    from fink_broker import filters
    from fink_broker.jobs.session import session

    settings = settings_from(context)
    rule = _read(settings, name)
    surveys = _surveys(settings, rule, survey)
    spark = session(settings, "filter")
    for one in surveys:
        filters.check(_empty_rows(spark, settings, one), rule, one)
        typer.echo(f"{one.name}: the filter can run")
        _rehearse(spark, settings, rule, one, night)


def _rehearse(spark: SparkSession, settings: Settings, rule: Filter, survey: Survey, nights: list[str] | None) -> None:
    from fink_broker.errors import FilterError, TooLoose
    from fink_broker.filters import failing, route
    from fink_broker.lake import Lake

    lake = Lake(settings)
    held = lake.nights("science", survey.name)
    asked = [int(night.replace("-", "")) for night in nights or []]
    chosen = [night for night in asked or held[-1:] if night in held]
    if missing := sorted(set(asked) - set(held)):
        last = ", ".join(map(_date, held[-5:])) or "none"
        typer.echo(f"  not in the lake: {', '.join(map(_date, missing))}; its last nights: {last}")
    if not chosen:
        typer.echo("  no night in the lake to try it on; only its columns were checked")
        return
    rows = lake.read(spark, "science", survey.name, chosen)
    if broken := failing(rows, [rule], survey):
        raise FilterError(broken[rule.name])
    frame = route(rows, [rule], survey)
    by_night = frame.selectExpr("night", "size(topics) > 0 yes").groupBy("night").agg({"yes": "count_if", "*": "count"}).collect()
    counts = sorted((row["night"], row["count_if(yes)"], row["count(1)"]) for row in by_night)
    matched, total = sum(yes for _, yes, _ in counts), sum(all_ for _, _, all_ in counts)
    for one, yes, alerts in counts:
        typer.echo(f"  {_date(one)}: {yes} of {alerts} alerts")
    few = frame.where("size(topics) > 0").select("alert_id", "object_id", "mjd", "band", "mag").limit(5).collect()
    for row in few:
        mag = f"{row['mag']:.2f}" if row["mag"] is not None else "-"
        typer.echo(f"    {row['alert_id']}  {row['object_id']}  mjd {row['mjd']:.5f}  {row['band']} {mag}")
    allowed = rule.max_rate or settings.filters.max_rate
    share = matched / total if total else 0.0
    if share > allowed and total >= FEW:
        raise TooLoose(
            f"filter {rule.name} passes {share:.1%} of {total} alerts of {survey.name}; at most {allowed:.1%} are allowed:"
            " narrow `where`, or raise its max_rate"
        )
    few_words = "" if total >= FEW else " (too few to judge)"
    typer.echo(f"  {share:.2%} of {total} alerts; at most {allowed:.1%} are allowed{few_words}")


def _read(settings: Settings, name: str) -> Filter:
    from fink_broker.errors import FilterError
    from fink_broker.filters import read_filter

    file = settings.filters_path / f"{name}.toml"
    if not file.is_file():
        known = sorted(found.stem for found in settings.filters_path.glob("*.toml"))
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'};"
        raise FilterError(f"no filter named '{name}' in {settings.filters_path}; {hint} `fink filter new {name}` makes it")
    return read_filter(file)


def _surveys(settings: Settings, rule: Filter, only: str | None) -> list[Survey]:
    """The surveys whose alerts the filter sees."""
    from fink_broker.errors import FilterError
    from fink_broker.survey import load_surveys

    known = load_surveys(settings.schemas_path)
    if unknown := set(rule.survey) - set(known):
        raise FilterError(f"filter {rule.name} is for {', '.join(sorted(unknown))}; known surveys: {', '.join(known)}")
    if only and (only not in known or (rule.survey and only not in rule.survey)):
        raise FilterError(f"filter {rule.name} sees no alerts of '{only}'; it is for {', '.join(rule.survey or known)}")
    return [survey for name, survey in known.items() if (not rule.survey or name in rule.survey) and only in (None, name)]


def _empty_rows(spark: SparkSession, settings: Settings, survey: Survey) -> DataFrame:
    """Alert rows as a job has them before its filters, without any alert."""
    from fink_broker.alert import Decoder
    from fink_broker.jobs import steps
    from fink_broker.schema import SchemaLibrary

    records = spark.createDataFrame([], "value binary, topic string, partition int, offset bigint, timestamp timestamp")
    rows = Decoder(survey, SchemaLibrary.load(settings.schemas_path, survey.name)).decode(records)
    return steps.enrich(rows, steps.science_chain(settings, survey.name), survey)


def _date(night: int) -> str:
    text = str(night)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"
