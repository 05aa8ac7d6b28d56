"""What differs between surveys, read from schemas/<survey>/survey.toml: a job never asks which survey it has."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fink_broker.errors import ConfigError

Framing = Literal["container", "confluent", "bare"]

# Neutral columns that a survey maps by an expression; `time` and `first_time` become mjd and first_mjd [d, TAI].
NEUTRAL = {
    "alert_id": "string",
    "object_id": "string",
    "ss_object_id": "string",
    "ra": "double",
    "dec": "double",
    "time": "double",
    "band": "string",
    "flux": "double",
    "flux_err": "double",
    "mag": "double",
    "mag_err": "double",
    "snr": "double",
    "reliability": "double",
    "first_time": "double",
    "n_detections": "int",
    "ss_distance_arcsec": "double",
    "neighbour_distance_arcsec": "double",
    "neighbour_star_score": "double",
    "template_flux": "double",
    "public": "boolean",
}
POINT = {
    "time": "double",
    "band": "string",
    "flux": "double",
    "flux_err": "double",
    "mag": "double",
    "mag_err": "double",
    "limit_mag": "double",
    "kind": "string",
}
_TOP = {"title", "topic", "topic_pattern", "framing", "bands", "longitude_deg"}
_TABLES = {"packet_kb", "paths", "time", "neutral", "quality", "lightcurve", "cutouts", "client", "header"}


@dataclass(frozen=True)
class Header:
    """Start of a container file as the survey writes it: bytes before the sync marker and their CRC-32."""

    version: str
    length: int
    crc32: int


@dataclass(frozen=True)
class Survey:
    """One survey; every expression is Spark SQL over `packet`, every path is dotted inside the packet."""

    name: str
    title: str
    topic: str
    topic_pattern: str
    framing: Framing
    bands: tuple[str, ...]
    longitude_deg: float
    time_scale: Literal["jd_utc", "mjd_tai"]
    paths: dict[str, str]
    neutral: dict[str, str]
    quality: dict[str, str]
    lightcurve: tuple[dict[str, str], ...]
    cutout_format: str
    cutout_paths: dict[str, str]
    client: dict[str, str] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()
    packet_kb: int = 100  # a typical packet

    @property
    def cutouts(self) -> dict[str, str]:
        """Expression of each cutout's FITS bytes, by name (science, template, difference)."""
        return {name: f"packet.{path}" for name, path in self.cutout_paths.items()}


def load_survey(folder: Path, name: str) -> Survey:
    """The survey whose folder under `folder` is called `name`; ConfigError when there is none or it is malformed."""
    file = folder / name / "survey.toml"
    if not file.is_file():
        known = ", ".join(sorted(found.parent.name for found in folder.glob("*/survey.toml"))) or "none"
        raise ConfigError(f"no survey named '{name}'; known under {folder}: {known}; add {name}/survey.toml there")
    try:
        read = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}; mend that line") from error
    return _survey(name, file, read)


def load_surveys(folder: Path) -> dict[str, Survey]:
    """All surveys under `folder`, by name."""
    return {file.parent.name: load_survey(folder, file.parent.name) for file in sorted(folder.glob("*/survey.toml"))}


def _survey(name: str, file: Path, read: dict[str, Any]) -> Survey:
    for table, expected in (("", _TOP), ("neutral", set(NEUTRAL)), ("paths", {"alert_id", "object_id", "time", "ra", "dec"})):
        given = set(read.get(table, {})) if table else set(read)
        if missing := expected - given:
            raise ConfigError(f"{file} lacks {', '.join(sorted(missing))}{f' in [{table}]' if table else ''}; see schemas/README.md")
    if unknown := set(read) - _TOP - _TABLES:
        raise ConfigError(f"{file} has unknown {', '.join(sorted(unknown))}; known: {', '.join(sorted(_TOP | _TABLES))}")
    for points in read["lightcurve"]:
        if unknown := set(points) - set(POINT) - {"points", "where"}:
            raise ConfigError(f"{file} has unknown {', '.join(sorted(unknown))} in [[lightcurve]]; known: {', '.join(POINT)}")
    cutouts = dict(read.get("cutouts", {}))
    return Survey(
        name=name,
        title=read["title"],
        topic=read["topic"],
        topic_pattern=read["topic_pattern"],
        framing=read["framing"],
        bands=tuple(read["bands"]),
        longitude_deg=float(read["longitude_deg"]),
        time_scale=read["time"]["scale"],
        paths=read["paths"],
        neutral=read["neutral"],
        quality=read.get("quality", {}),
        lightcurve=tuple(read["lightcurve"]),
        cutout_format=cutouts.pop("format", "fits"),
        cutout_paths=cutouts,
        client=read.get("client", {}),
        headers=tuple(Header(**header) for header in read.get("header", [])),
        packet_kb=int(read.get("packet_kb", Survey.packet_kb)),
    )
