"""`fink config`: every setting, its value and what it is for."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import SecretStr

from fink_broker.cli.common import settings_from
from fink_broker.errors import ConfigError
from fink_broker.settings import Section


def config(context: typer.Context, section: Annotated[str | None, typer.Argument(help="only this section")] = None) -> None:
    """Print every setting with its value in force; secrets print as stars."""
    settings = settings_from(context)
    if section is not None and section not in type(settings).model_fields:
        raise ConfigError(f"no section [{section}]; they are {', '.join(type(settings).model_fields)}; `fink config` prints all")
    for name, part in settings:
        if not isinstance(part, Section) or section not in (None, name):
            continue
        typer.echo(f"[{name}]  # {(type(part).__doc__ or '').strip()}")
        for key, field in type(part).model_fields.items():
            value = getattr(part, key)
            shown = ("*****" if value.get_secret_value() else "") if isinstance(value, SecretStr) else value
            typer.echo(f"  {key} = {shown!s}  # {field.description}")
