"""What every command shares: its settings, and how an error is told."""

from __future__ import annotations

import typer

from fink_broker.settings import Settings

MODELS = "spectra of supernovae: sncosmo (downloads what is missing of its data), built-in, or auto: sncosmo where all is on the machine"


def settings_from(context: typer.Context) -> Settings:
    """The settings that the command line was started with."""
    found = context.find_root().obj
    if not isinstance(found, Settings):
        raise typer.Exit(2)
    return found


def with_options(settings: Settings, **sections: dict[str, object]) -> Settings:
    """Settings with some fields replaced, checked anew: with_options(settings, ingest={"trigger_seconds": 1})."""
    from fink_broker.settings import load

    merged = settings.model_dump()
    for section, fields in sections.items():
        merged[section] = {**merged[section], **{key: value for key, value in fields.items() if value is not None}}
    return load(options=merged)
