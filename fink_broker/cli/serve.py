"""`fink serve`: the REST gateway and its pages."""

from __future__ import annotations

from typing import Annotated

import typer

from fink_broker.cli.common import settings_from, with_options


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port; a busy one is replaced by a free one")] = None,
) -> None:
    """Serve the gateway until Ctrl-C."""
    from fink_broker.web.server import run

    run(with_options(settings_from(context), web={"host": host, "port": port}))
