"""`fink catalog`: local catalogues for the cross-match."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fink_broker.cli.common import settings_from

app = typer.Typer(no_args_is_help=True, help="Local catalogues for the cross-match.")


@app.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV, FITS, VOTable or Parquet")],
    name: Annotated[str | None, typer.Option(help="name of the catalogue (default: the file's)")] = None,
    radius: Annotated[float, typer.Option(help="match radius [arcsec]")] = 1.5,
    ra: Annotated[str | None, typer.Option(help="column of the right ascension")] = None,
    dec: Annotated[str | None, typer.Option(help="column of the declination")] = None,
    name_column: Annotated[str | None, typer.Option("--name-column", help="column of the names")] = None,
    class_column: Annotated[str | None, typer.Option("--class-column", help="column of the classes")] = None,
) -> None:
    """Import a catalogue; running jobs take it at their next start."""
    from fink_broker.catalog import import_catalog

    columns = {key: value for key, value in (("ra", ra), ("dec", dec), ("name", name_column), ("class", class_column)) if value}
    made, number = import_catalog(file, settings_from(context).catalogs_path, name, radius, columns)
    typer.echo(f"{number:,} entries in {made}")


@app.command("list")
def list_catalogs(context: typer.Context) -> None:
    """Imported catalogues with their radius and number of entries."""
    from fink_broker.catalog import open_catalogs

    for catalog in open_catalogs(settings_from(context).catalogs_path):
        typer.echo(f"{catalog.name:<24}{len(catalog.ra):>12,} entries within {catalog.radius_arcsec:g} arcsec")
