"""`fink catalog`: local catalogues for the cross-match."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fink_broker.cli.common import settings_from

app = typer.Typer(no_args_is_help=True, help="Local catalogues for the cross-match: import, list, show.")


@app.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV, TSV, FITS, VOTable or Parquet, or with .gz")],
    name: Annotated[str | None, typer.Option(help="name of the catalogue (default: the file's)")] = None,
    radius: Annotated[float, typer.Option(help="match radius [arcsec]")] = 1.5,
    ra: Annotated[str | None, typer.Option(help="column of the right ascension [deg, or sexagesimal hours]")] = None,
    dec: Annotated[str | None, typer.Option(help="column of the declination [deg, or sexagesimal]")] = None,
    name_column: Annotated[str | None, typer.Option("--name-column", help="column of the names")] = None,
    class_column: Annotated[str | None, typer.Option("--class-column", help="column of the classes")] = None,
    epoch: Annotated[float | None, typer.Option(help="epoch of the positions [yr], kept as a note")] = None,
) -> None:
    """Import a catalogue; running jobs take it at their next start."""
    from fink_broker.catalog_import import import_catalog

    columns = {key: value for key, value in (("ra", ra), ("dec", dec), ("name", name_column), ("class", class_column)) if value}
    made, number = import_catalog(file, settings_from(context).catalogs_path, name, radius, columns, epoch)
    typer.echo(f"{number:,} entries in {made}")


@app.command("list")
def list_catalogs(context: typer.Context) -> None:
    """Imported catalogues with their radius and number of entries."""
    from fink_broker.catalog import open_catalogs

    folder = settings_from(context).catalogs_path
    found = open_catalogs(folder)
    for catalog in found:
        typer.echo(f"{catalog.name:<24}{catalog.rows:>12,} entries within {catalog.radius_arcsec:g} arcsec, from {catalog.about.get('source')}")
    if not found:
        typer.echo(f"none under {folder}; import one: fink catalog import FILE")


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="catalogue")],
    at: Annotated[tuple[float, float] | None, typer.Option(help="match this position [deg]: --at RA DEC")] = None,
) -> None:
    """What is known of a catalogue, its commonest classes, and the entry nearest to a position."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from fink_broker.catalog import open_catalogs

    (catalog,) = open_catalogs(settings_from(context).catalogs_path, [name])
    for key, value in {**catalog.about, "file": catalog.file}.items():
        typer.echo(f"{key:<16}{value}")
    if at is not None:
        _, entries, apart = catalog.nearest([at[0]], [at[1]])
        found = [f"{catalog.names(entries)[0]} ({catalog.classes(entries)[0]}), {apart[0]:.2f} arcsec away"] if len(entries) else ["nothing within the radius"]
        typer.echo(f"{'nearest':<16}{found[0]}")
        return
    counts = pc.value_counts(pq.read_table(catalog.file, columns=["class"]).column(0)).to_pylist()
    for found_class in sorted(counts, key=lambda one: -one["counts"])[:12]:
        typer.echo(f"  {found_class['values'] or 'no class':<14}{found_class['counts']:>12,}")
