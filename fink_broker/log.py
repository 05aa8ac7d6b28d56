"""Logs as events with fields: key=value on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from fink_broker.errors import ConfigError

_context: ContextVar[dict[str, Any]] = ContextVar("fink_log_context", default={})  # noqa: B039 (never mutated)
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_QUIET = ("py4j", "SQLQueryContextLogger", "pyspark.sql.connect", "asyncio", "matplotlib")


class Logger:
    """A named logger whose calls take an event and fields: log.info("batch done", rows=12)."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"fink.{name}")

    def debug(self, event: str, **fields: Any) -> None:
        """For developers."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Start, stop, and one line a batch."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Something that an operator may act on."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Something that an operator must act on."""
        self._log(logging.ERROR, event, fields)

    def _log(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": {**_context.get(), **fields}})


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Within it, every event carries these fields (job, survey, night, batch)."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class _Formatter(logging.Formatter):
    def __init__(self, pretty: bool) -> None:
        super().__init__()
        self.pretty = pretty

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        time = datetime.fromtimestamp(record.created, UTC)
        if self.pretty:
            pairs = " ".join(f"{key}={_short(value)}" for key, value in fields.items())
            line = f"{time:%H:%M:%S} {record.levelname.lower():7} {record.getMessage()} {pairs}".rstrip()
        else:
            event = {"time": time.isoformat(timespec="milliseconds"), "level": record.levelname.lower(), "logger": record.name}
            line = json.dumps({**event, "event": record.getMessage(), **fields}, default=str)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _short(value: Any) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f'"{text}"' if " " in text else text


def setup(level: str = "INFO") -> None:
    """Configure logging to stderr; called once, by the command line, a job or the web factory."""
    if level.upper() not in LEVELS:
        raise ConfigError(f"log level is '{level}'; expected one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(pretty=sys.stderr.isatty()))
    root = logging.getLogger("fink")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
