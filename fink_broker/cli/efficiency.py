"""`fink efficiency`: how complete and pure every class and every topic is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fink_broker.cli.common import MODELS, settings_from

if TYPE_CHECKING:
    import pandas as pd


def efficiency(
    context: typer.Context,
    survey: Annotated[str, typer.Option(help="survey whose alerts are injected")] = "ztf",
    module: Annotated[list[str] | None, typer.Option(help="only the classes of this module, enabled or not; may be repeated")] = None,
    filter_name: Annotated[list[str] | None, typer.Option("--filter", help="only this filter; may be repeated")] = None,
    seed: Annotated[int, typer.Option(help="the same seed gives the same table")] = 1,
    number: Annotated[int, typer.Option(help="simulated alerts that are injected, each label alike")] = 2000,
    night: Annotated[int, typer.Option(help="alerts of the night that they are put into, as common as in the sky")] = 2000,
    nights: Annotated[int, typer.Option(help="over which these lie; what alerts of earlier nights told is the history of later ones")] = 1,
    alerts: Annotated[
        list[Path] | None, typer.Option(help="files of a real night instead; may be repeated. What is injected is of the night with most of them")
    ] = None,
    models: Annotated[str, typer.Option(help=MODELS)] = "auto",
    out: Annotated[Path | None, typer.Option(help="folder of tables and plots (default: HOME/efficiency/SURVEY, which the page shows)")] = None,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="only the tables")] = False,
) -> None:
    """Inject simulated objects into a night, run the unchanged chain, and give completeness and purity of every class and topic."""
    from fink_broker import efficiency as efficiencies
    from fink_broker.efficiency_plot import plots
    from fink_broker.skysim.templates import lacking

    settings = settings_from(context)
    plan = efficiencies.Plan(survey, number, night, seed, nights, tuple(module or ()), tuple(filter_name or ()), tuple(map(str, alerts or ())), models)
    if models == "auto" and (missing := lacking()):
        typer.echo(missing, err=True)
    found, rows, about = efficiencies.measure(settings, plan, lambda text: typer.echo(text, err=True))
    folder = out or efficiencies.folder_of(settings, survey)
    efficiencies.write(folder, found, rows, about)
    typer.echo(_table(found))
    typer.echo(f"{folder}: efficiency.parquet, alerts.parquet, about.json", err=True)
    if not no_plots:
        typer.echo(", ".join(file.name for file in plots(found, folder)), err=True)


def _table(found: pd.DataFrame) -> str:
    """The rows over all alerts."""
    counted = "".join(f"{name:>7}" for name in ("meant", "asked", "right"))
    lines = [f"{'':<42}{counted}  {'completeness':<19}{'purity: even':>13}{'by lot':>8}{'night':>8}{'by lot':>8}{'chosen of night':>17}"]
    for _, row in found[found["by"] == "all"].iterrows():
        share = f"{row['completeness']:6.1%} {row['completeness_low']:.0%}-{row['completeness_high']:.0%}" if row["meant"] else "-" if row["aims"] else "no aim"
        pure = [f"{row[name]:.1%}" if row[name] == row[name] else "-" for name in ("purity_even", "chance_even", "purity_night", "chance_night")]
        counts = "".join(f"{row[name]:>7}" for name in ("meant", "asked", "right"))
        lines.append(f"{row['of']:<16}{row['name']:<26}{counts}  {share:<19}{pure[0]:>13}{pure[1]:>8}{pure[2]:>8}{pure[3]:>8}{row['chosen_of_night']:>17}")
    return "\n".join(lines)
