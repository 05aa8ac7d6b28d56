"""`fink replay`: past nights through today's modules; quarantined packets once more."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fink_broker.cli.common import settings_from, with_options

if TYPE_CHECKING:
    from fink_broker.jobs.rerun import Result


def replay(
    context: typer.Context,
    night: Annotated[str | None, typer.Option(help="one night, YYYY-MM-DD or YYYYMMDD")] = None,
    start: Annotated[str | None, typer.Option("--from", help="alerts from this time on: YYYY-MM-DD[ hh:mm:ss], UTC")] = None,
    end: Annotated[str | None, typer.Option("--to", help="alerts before this time")] = None,
    modules: Annotated[str | None, typer.Option(help="comma list of science modules (default: [science] modules)")] = None,
    to_topics: Annotated[bool, typer.Option("--to-topics", help="send what today's filters choose to topics TOPIC_replay")] = False,
    quarantine: Annotated[bool, typer.Option("--quarantine", help="instead: send quarantined packets that can be read now to the input once more")] = False,
    survey: Annotated[str | None, typer.Option(help="one survey (default: [broker] surveys)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Run past nights of the raw table again, beside the old results, and compare."""
    settings = settings_from(context)
    surveys = [survey] if survey else list(settings.broker.surveys)
    if quarantine:
        from fink_broker.resend import resend

        for one in surveys:
            done = resend(settings, one)
            typer.echo(f"{one}: {len(done.sent)} packets sent to the input, {done.before} sent before, {sum(done.left.values())} still of no use")
            for reason, number in done.left.most_common():
                typer.echo(f"  {number} {reason}")
        return
    from fink_broker.jobs.rerun import Rerun, Span
    from fink_broker.jobs.session import session

    span = Span(_night(night), _mjd("--from", start), _mjd("--to", end))
    if modules is not None:
        settings = with_options(settings, science={"modules": [name.strip() for name in modules.split(",") if name.strip()]})
    spark = session(settings, "replay")
    results = [Rerun(spark, settings, one, to_topics).run(span) for one in surveys]
    typer.echo(json.dumps([asdict(one) for one in results], indent=2) if as_json else "\n".join(map(told, results)))


def told(result: Result) -> str:
    """A result as text."""
    lines = [f"{result.survey}: {result.alerts} of {result.raw} alerts of {len(result.nights)} nights run again in {result.seconds:.0f} s, in {result.folder}"]
    lines.append(f"  {result.compared} compared with the live results, which have {result.only_live} more")
    for name, number in result.differ.items():
        lines.append(f"  {name:<24} " + ("not in the live results" if number is None else f"{number} differ" if number else "equal"))
    lines += [f"  {number} messages to {topic}" for topic, number in result.published.items()]
    return "\n".join(lines)


def _night(text: str | None) -> int | None:
    from fink_broker.errors import ConfigError

    plain = (text or "").replace("-", "")
    if plain and not (plain.isdigit() and len(plain) == 8):
        raise ConfigError(f"night is '{text}'; expected YYYY-MM-DD or YYYYMMDD")
    return int(plain) if plain else None


def _mjd(option: str, text: str | None) -> float | None:
    """MJD [TAI] of a UTC time."""
    from fink_broker.errors import ConfigError
    from fink_broker.sky import mjd_tai

    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} is '{text}'; expected YYYY-MM-DD or YYYY-MM-DD hh:mm:ss, UTC") from error
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(mjd_tai(seconds / 86400 + 2440587.5))
