"""Runs the gateway: takes a port, tells it in HOME/services.json, serves until it is stopped."""

from __future__ import annotations

import os
import threading

import uvicorn

from fink_broker import log as logs
from fink_broker import sky
from fink_broker.services import process, stack
from fink_broker.settings import Settings
from fink_broker.web.app import create_app

log = logs.Logger("web")


def run(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    port = process.free_port(settings.web.port)
    url = f"http://{settings.web.host}:{port}"
    if port != settings.web.port:
        log.warning("port was busy, another is taken", wanted=settings.web.port, port=port)
    stack.update(settings.home, "gateway", {"url": url, "port": port, "pid": os.getpid(), "mark": "serve"})
    threading.Thread(target=sky.cone_ranges, args=(0.0, 0.0, 1.0), daemon=True).start()  # loads what the first cone search would wait for
    log.info("gateway up", url=url)
    uvicorn.run(create_app(settings), host=settings.web.host, port=port, log_level="warning", access_log=False)
