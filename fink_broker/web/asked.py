"""The arguments of a request: query and JSON body, with Fink's names taken beside ours, and unknown names refused."""

from __future__ import annotations

import difflib
import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request

from fink_broker.errors import ConfigError
from fink_broker.sky import mjd_tai
from fink_broker.web.formats import FORMATS, Format

# Fink's names for our arguments.
ALIASES = {
    "objectId": "object_id", "diaObjectId": "object_id", "candid": "alert_id", "diaSourceId": "alert_id", "output-format": "format",
    "n": "limit", "n_or_d": "designation", "class": "topic", "tag": "topic",
}  # fmt: skip


class Asked:
    """Arguments by our names; a reading that fails says what was expected."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str) -> str | None:
        """A text argument, None when it is not given."""
        value = self.values.get(name)
        if isinstance(value, list):
            return ",".join(str(one) for one in value)
        return None if value is None else str(value).strip()

    def needed(self, name: str) -> str:
        """A text argument that has to be given."""
        if not (value := self.text(name)):
            raise ConfigError(f"argument '{name}' is missing; see /docs")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = self.values.get(name, default)
        if value is None:
            raise ConfigError(f"argument '{name}' is missing; see /docs")
        try:
            number = float(str(value))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(f"argument '{name}' is {value!r}; expected a number")
        return number

    def count(self, name: str, default: int, most: int, least: int = 1) -> int:
        """A whole number from `least` to `most`."""
        value = self.number(name, default)
        if value != int(value) or not least <= value <= most:
            raise ConfigError(f"argument '{name}' is {value:g}; expected a whole number from {least} to {most}")
        return int(value)

    def one_of(self, name: str, known: tuple[str, ...], default: str) -> str:
        """One of some words, whatever their case."""
        value = (self.text(name) or default).lower()
        if value not in known:
            raise ConfigError(f"{name} is '{value}'; expected one of {', '.join(known)}")
        return value

    def format(self) -> Format:
        """The format of the answer."""
        found: Format = self.one_of("format", FORMATS, "json")  # type: ignore[assignment]
        return found

    def time(self, name: str) -> float | None:
        """A time [MJD, TAI]: given as MJD [TAI], JD [UTC] or YYYY-MM-DD[ hh:mm:ss] [UTC]; None when it is not given."""
        text = self.text(name)
        if not text:
            return None
        try:
            number = float(text)
        except ValueError:
            try:
                found = datetime.fromisoformat(text)
            except ValueError:
                raise ConfigError(f"argument '{name}' is '{text}'; expected an MJD, a JD or YYYY-MM-DD[ hh:mm:ss]") from None
            moment = found if found.tzinfo else found.replace(tzinfo=UTC)
            return float(mjd_tai(moment.timestamp() / 86400 + 2440587.5))
        return float(mjd_tai(number)) if number > 1_000_000 else number


async def asked(request: Request) -> Asked:
    """Arguments of a GET's query or a POST's JSON."""
    values: dict[str, Any] = dict(request.query_params)
    if request.method == "POST" and (body := await request.body()):
        try:
            given = json.loads(body)
        except ValueError as error:
            raise ConfigError(f"the body is not JSON: {error}; expected an object of arguments") from error
        if not isinstance(given, dict):
            raise ConfigError(f"the body is a JSON {type(given).__name__}; expected an object of arguments")
        values |= given
    known = [param.alias for param in request.scope["route"].dependant.query_params]
    for name in values:
        if ALIASES.get(name, name) not in known:
            near = difflib.get_close_matches(name, [*known, *(alias for alias, own in ALIASES.items() if own in known)], 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
            raise ConfigError(f"unknown argument '{name}'; {hint}")
    return Asked({ALIASES.get(name, name): value for name, value in values.items() if value is not None})


Given = Annotated[Asked, Depends(asked)]
