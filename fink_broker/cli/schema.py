"""`fink schema`: the schemas that are known, and which one wrote a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fink_broker.cli.common import settings_from

app = typer.Typer(no_args_is_help=True, help="Avro schemas of the surveys: list, show, check.")


@app.command("list")
def list_schemas(context: typer.Context, survey: Annotated[str | None, typer.Option(help="only this survey")] = None) -> None:
    """Every schema version with its fingerprint."""
    from fink_broker.schema import SchemaLibrary
    from fink_broker.survey import load_surveys

    settings = settings_from(context)
    for name in load_surveys(settings.schemas_path):
        if survey in (None, name):
            for schema in SchemaLibrary.load(settings.schemas_path, name, kept=settings.home / "schemas").writers():
                typer.echo(f"{name:<10}{schema.version:<12}{schema.fingerprint[:16]}  {schema.confluent_id or ''}")


@app.command()
def show(context: typer.Context, survey: str, version: Annotated[str | None, typer.Argument(help="none: the union of all")] = None) -> None:
    """Print a schema as JSON."""
    import json

    from fink_broker.schema import SchemaLibrary

    settings = settings_from(context)
    library = SchemaLibrary.load(settings.schemas_path, survey, kept=settings.home / "schemas")
    typer.echo(json.dumps(library.union(), indent=1) if version is None else library.by_version(version).source)


@app.command()
def check(context: typer.Context, file: Annotated[Path, typer.Argument(help="a packet as it came from Kafka, or an Avro file")]) -> None:
    """Say which survey and version a packet is of, or why it would be quarantined."""
    from fink_broker.errors import ConfigError, SchemaError
    from fink_broker.framing import read_body
    from fink_broker.schema import SchemaLibrary
    from fink_broker.survey import load_surveys

    if not file.is_file():
        raise ConfigError(f"no file {file}; give a packet")
    settings, value = settings_from(context), file.read_bytes()
    folder, registry = settings.schemas_path, settings.kafka.schema_registry_url
    good = False
    for name, survey in load_surveys(folder).items():
        try:
            body = read_body(value, survey, SchemaLibrary.load(folder, name, registry, settings.home / "schemas"))
        except SchemaError as error:
            typer.echo(f"{name:<10}no: {error}")
        else:
            good = True
            typer.echo(f"{name:<10}{body.version}, {len(body.data):,} bytes of {len(value):,}")
    raise typer.Exit(0 if good else 1)
