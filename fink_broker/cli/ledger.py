"""`fink ledger`: what became of every alert, night by night."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from fink_broker.cli.common import settings_from

if TYPE_CHECKING:
    from fink_broker.ledger import Night


def ledger(
    context: typer.Context,
    night: Annotated[str | None, typer.Option(help="one night, YYYY-MM-DD or YYYYMMDD (default: all)")] = None,
    survey: Annotated[str | None, typer.Option(help="one survey (default: all)")] = None,
    check: Annotated[bool, typer.Option("--check", help="compare the alert ids in the stores themselves, not only the counts")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Count each night's alerts by stage; exit status 1 and the ids that differ when it does not balance."""
    from fink_broker.audit import audit
    from fink_broker.ledger import Ledger, nights

    settings = settings_from(context)
    wanted = night.replace("-", "") if night else None
    found = [one for one in nights(Ledger(settings.home).entries()) if wanted in (None, one.night) and survey in (None, one.survey)]
    checks = {(one.survey, one.night): audit(settings, one.survey, int(one.night)) for one in found if check or one.differs}
    if as_json:
        rows = [{**one.as_dict(), "ids": checks.get((one.survey, one.night), {})} for one in found]
        typer.echo(json.dumps(rows, indent=2))
    else:
        typer.echo(table(found) if found else "the ledger is empty: no job has finished a batch yet")
        for (name, date), ids in checks.items():
            for what, missing in ids.items():
                typer.echo(f"{name} {date}: {len(missing)} alerts {what}: {', '.join(missing[:10])}{' …' if len(missing) > 10 else ''}")
    raise typer.Exit(1 if any(any(ids.values()) for ids in checks.values()) or any(one.differs for one in found) else 0)


def table(found: list[Night]) -> str:
    """The nights as text."""
    names = ("received", "duplicate", "quarant.", "raw", "science", "indexed", "matched", "published")
    lines = [f"{'night':<10} {'survey':<9} " + " ".join(f"{name:>9}" for name in names) + f" {'failed':>7}"]
    for one in found:
        date = f"{one.night[:4]}-{one.night[4:6]}-{one.night[6:]}"
        lines.append(
            f"{date:<10} {one.survey:<9} {one.received:>9} {one.duplicate:>9} {sum(one.quarantined.values()):>9} {one.raw:>9} {one.science:>9} "
            f"{one.indexed:>9} {one.matched:>9} {sum(one.published.values()):>9} {sum(one.failed.values()):>7}"
            + ("" if not one.differs else "  differs: " + ", ".join(f"{stage} {number:+d}" for stage, number in one.differs.items()))
        )
    return "\n".join(lines)
