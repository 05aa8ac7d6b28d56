"""What the lake holds as files, night by night: nights past their keeping, and how much disk is left."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fink_broker.lake import TABLES, Lake
from fink_broker.log import Logger
from fink_broker.settings import Settings

log = Logger("retention")


@dataclass(frozen=True)
class Night:
    """The files of one table, survey and night."""

    table: str
    survey: str
    night: int
    sizes: tuple[int, ...]  # of its files [bytes]
    folder: Path

    @property
    def files(self) -> int:
        """Number of its files."""
        return len(self.sizes)

    @property
    def size(self) -> int:
        """All of them [bytes]."""
        return sum(self.sizes)


def nights(settings: Settings, tables: Iterable[str] = TABLES, survey: str | None = None, night: int | None = None) -> list[Night]:
    """Nights of the lake, oldest first."""
    lake, found = Lake(settings), []
    for table in tables:
        for folder in lake.table(table).glob(f"survey={survey or '*'}/night={night or '*'}"):
            name, date = folder.parent.name.removeprefix("survey="), folder.name.removeprefix("night=")
            if date.isdigit():
                found.append(Night(table, name, int(date), tuple(file.stat().st_size for file in folder.glob("*.parquet")), folder))
    return sorted(found, key=lambda one: (one.night, one.survey, one.table))


def overdue(settings: Settings, today: datetime | None = None) -> list[Night]:
    """Nights older than [lake] retention_days; none when that is 0."""
    if not settings.lake.retention_days:
        return []
    last = (today or datetime.now(UTC)) - timedelta(days=settings.lake.retention_days)
    return [one for one in nights(settings) if one.night < int(last.strftime("%Y%m%d"))]


def remove(night: Night) -> None:
    """Delete one night of a table."""
    shutil.rmtree(night.folder)


def free_gb(settings: Settings) -> float:
    """Free disk where the lake lies, or will lie [GB]."""
    path = Lake(settings).path.absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / 1e9


def warn(settings: Settings) -> None:
    """Log what an operator should act on: old nights, little disk."""
    if old := overdue(settings):
        log.warning("nights past their keeping; remove them: fink lake prune", nights=len({(one.survey, one.night) for one in old}), oldest=old[0].night,
                    gb=round(sum(one.size for one in old) / 1e9, 3), retention_days=settings.lake.retention_days)  # fmt: skip
    free = free_gb(settings)
    if free < settings.lake.min_free_gb:
        log.warning("little disk left; make room, or set [lake] retention_days and run fink lake prune", free_gb=round(free, 1),
                    min_free_gb=settings.lake.min_free_gb, path=settings.lake_path)  # fmt: skip
