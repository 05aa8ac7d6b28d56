"""Merges the many small files of a closed night into few large ones, by one atomic exchange of the night's folder.

A reader sees the old files or the merged ones, or meets a missing file and has to list again: never both, never half.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fink_broker import merge, sky
from fink_broker.checkpoint import Checkpoint
from fink_broker.errors import StoreError
from fink_broker.jobs.plans import PLANS
from fink_broker.lake import COMPACTED, Lake, exchange, merged_id
from fink_broker.log import Logger
from fink_broker.retention import Night
from fink_broker.settings import Settings
from fink_broker.survey import load_survey

TABLES = ("raw", "science")
log = Logger("compact")


@dataclass(frozen=True)
class Compacted:
    """What was made of a night."""

    table: str
    survey: str
    night: int
    alerts: int  # in the files that were merged
    before: int  # files
    after: int
    bytes_before: int
    bytes_after: int
    seconds: float


class Compactor:
    """Looks after the nights of one lake."""

    def __init__(self, settings: Settings, target_mb: float = 128.0, grace_seconds: float = 5.0, now: float | None = None) -> None:
        self.settings, self.lake = settings, Lake(settings)
        self.target = int(target_mb * 1e6)
        self.grace_seconds = grace_seconds  # for which exchanged folders are kept: somebody may be listing them
        self.refused: list[str] = []  # why nights of the last run were left as they are
        self.now = time.time() if now is None else now  # [s since 1970]

    def small(self, night: Night) -> int:
        """Number of files of a night that are worth merging."""
        return sum(size < self.target / 2 for size in night.sizes)

    def closed(self, night: Night) -> bool:
        """Whether a night is over at the survey's site."""
        about = load_survey(self.settings.schemas_path, night.survey)
        return night.night < int(sky.night(self.now / 86400 + 40587 + 37 / 86400, about.longitude_deg)[0])

    def run(self, nights: Iterable[Night], force: bool = False) -> Iterator[Compacted]:
        """Compact these nights, but for open ones (unless forced) and those that hold nothing to merge."""
        self.refused = []
        with self._alone() as staging:
            for left in staging.glob("compact-*"):
                self._settle(left)
                shutil.rmtree(left)
            works: list[Path] = []
            try:
                for night in nights:
                    done = None
                    try:
                        done = self._compact(night, staging, works) if force or self.closed(night) else None
                    except StoreError as error:
                        self.refused.append(str(error))
                    if done:
                        log.info("night compacted", **vars(done))
                        yield done
            finally:
                if works:
                    time.sleep(self.grace_seconds)
                for work in works:
                    shutil.rmtree(work, ignore_errors=True)

    def _compact(self, night: Night, staging: Path, works: list[Path]) -> Compacted | None:
        started = time.monotonic()
        folder = night.folder
        small = [file for file in sorted(folder.glob("*.parquet")) if file.stat().st_size < self.target / 2 and not self._may_run_again(file, night)]
        groups = [group for group in merge.groups(small) if len(group.files) > 1]
        if not groups:
            return None
        merged = {file.name: _mark(file) for group in groups for file in group.files}
        self._refuse_unread(night, set(merged))
        size = sum(length for _, length in merged.values())
        free = shutil.disk_usage(staging).free
        if free < size + self.settings.lake.min_free_gb * 1e9:
            raise StoreError(f"night {night.night} needs {size / 1e9:.1f} GB beside it while it is compacted and {free / 1e9:.1f} GB are free; make room")
        identifier = uuid.uuid4().hex[:8]
        work = staging / f"compact-{identifier}"
        new = work / "night"
        new.mkdir(parents=True)
        try:
            made = [part for group in groups for part in merge.merge(group, new, f"{COMPACTED}{identifier}", self.target, self.lake.codec)]
            alerts = sum(part.alerts for part in made)
            if alerts != (held := sum(group.alerts for group in groups)):
                raise StoreError(f"{alerts} alerts came out of files that hold {held}; night {night.night} is left as it is")
            self._link_others(folder, new, merged)
            linked = {file.name: _mark(file)[0] for file in new.iterdir() if not file.name.startswith(f"{COMPACTED}{identifier}-")}
            journal = {"table": night.table, "survey": night.survey, "night": night.night, "id": identifier, "merged": sorted(merged)}
            _write(work / "journal.json", {**journal, "linked": linked})
            merge.flush(new)
            exchange(folder, new)
            merge.flush(folder.parent)
        except BaseException:
            self._settle(work)
            shutil.rmtree(work)
            raise
        self._settle(work)
        works.append(work)
        after = sum(part.bytes for part in made)
        return Compacted(night.table, night.survey, night.night, alerts, len(merged), len(made), size, after, round(time.monotonic() - started, 3))

    def _link_others(self, folder: Path, new: Path, merged: dict[str, tuple[int, int]]) -> None:
        """Take the files over that were not merged, also those that came meanwhile."""
        here = {file.name: file for file in folder.iterdir()}
        if changed := sorted(name for name, mark in merged.items() if name not in here or _mark(here[name]) != mark):
            raise StoreError(f"{len(changed)} files of {folder} changed while they were merged, {changed[0]} first; nothing was exchanged, try again")
        for name, file in here.items():
            if name not in merged:
                os.link(file, new / name)

    def _settle(self, work: Path) -> None:
        """After an exchange: what a job did to the old folder in the last moment is done to the new one. Nothing where there was none.

        The journal is put away at the end: what was settled once is not again.
        """
        file = work / "journal.json"
        if not file.is_file():
            return
        known = json.loads(file.read_text())
        old, folder = work / "night", self.lake.table(known["table"]) / f"survey={known['survey']}" / f"night={known['night']}"
        if any(folder.glob(f"{COMPACTED}{known['id']}-*")):
            left = {one.name: one for one in old.iterdir() if one.name not in known["merged"]}
            for name, one in left.items():
                before, here = known["linked"].get(name), folder / name
                if _mark(one)[0] != before and (not here.exists() or _mark(here)[0] == before):  # added, or replaced
                    one.rename(here)
            for name, inode in known["linked"].items():
                here = folder / name
                if name not in left and here.exists() and _mark(here)[0] == inode:  # removed
                    here.unlink()
        file.rename(work / "journal.settled")

    def _refuse_unread(self, night: Night, files: set[str]) -> None:
        """StoreError when a job that reads the table has a checkpoint and has not read these files: it would never see their rows."""
        for plan in PLANS.values():
            checkpoint = Checkpoint(self.settings.home / "checkpoints" / plan.name / night.survey)
            if plan.source == night.table and checkpoint.exists:
                wanted = {name for name in files if not name.startswith(COMPACTED) or merged_id(name) in checkpoint.merged}
                unread = wanted - {name for place, name in checkpoint.read() if place == f"night={night.night}"}
                if unread:
                    raise StoreError(
                        f"job {plan.name} has not read {len(unread)} of {len(wanted)} files of {night.table} {night.survey} {night.night}; "
                        f"let `fink run {plan.name} --survey {night.survey}` go through them, or delete {checkpoint.folder} if it is to run no more"
                    )

    def _may_run_again(self, file: Path, night: Night) -> bool:
        """Whether a file is of a batch that its job is not done with: it would write the rows again."""
        identifier, _, rest = file.name.partition("-")
        for plan in PLANS.values():
            checkpoint = Checkpoint(self.settings.home / "checkpoints" / plan.name / night.survey)
            if night.table in plan.sinks and checkpoint.exists and checkpoint.identifier == identifier:
                return int(rest[:8]) > checkpoint.done
        return False

    @contextmanager
    def _alone(self) -> Iterator[Path]:
        """The folder for staging, for one at a time."""
        staging = self.lake.path / "_staging"
        staging.mkdir(parents=True, exist_ok=True)
        with (staging / "compact.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StoreError(f"another `fink lake compact` is at work on {self.lake.path}; wait for it") from error
            yield staging


def _mark(file: Path) -> tuple[int, int]:
    """What tells a file from another of the same name: inode and size."""
    about = file.stat()
    return about.st_ino, about.st_size


def _write(file: Path, value: dict[str, Any]) -> None:
    part = file.with_suffix(".part")
    part.write_text(json.dumps(value))
    merge.flush(part)
    part.rename(file)
    merge.flush(file.parent)
