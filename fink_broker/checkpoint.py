"""What the checkpoint of a job says: its id, the last batch that it is done with, the files of the lake that it has read."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

TAKEN = "taken"  # in a job's folder: number of the last batch that it began to work on
MERGED = "merged.json"  # in a job's folder: merged files that it has to read, since they are older than it


class Checkpoint:
    """The folder of one streaming query, read without Spark."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether the query was ever started."""
        return (self.folder / "metadata").is_file()

    @property
    def identifier(self) -> str:
        """First eight characters of its id, with which the names of its files in the lake begin."""
        found: str = json.loads((self.folder / "metadata").read_text())["id"]
        return found[:8]

    @property
    def done(self) -> int:
        """The last batch that will never run again; -1 when there is none."""
        return _last(self.folder / "commits")

    @property
    def planned(self) -> int:
        """The last batch that was begun; -1 when there is none."""
        return _last(self.folder / "offsets")

    @property
    def begun(self) -> float:
        """When its last batch was begun [s since 1970]; 0 when there is none."""
        return max((file.stat().st_mtime for file in _newest(self.folder / "offsets", 1)), default=0.0)

    def take(self, batch: int) -> None:
        """Note that a batch was planned by the Kafka that the checkpoint is of, and may reach sinks from now on."""
        part = self.folder / f"{TAKEN}.part"
        part.write_text(str(batch))
        part.rename(self.folder / TAKEN)

    def forget_untaken(self) -> int:
        """Drop the plan of a batch that was never taken, so that Spark makes it anew; its number, -1 if there is none.

        Another Kafka on the same port may have planned it: Spark would read its offsets again and again, and find none or wrong ones.
        """
        file, planned = self.folder / TAKEN, self.planned
        if not file.is_file() or planned <= max(int(file.read_text()), self.done):
            return -1
        for name in (str(planned), f".{planned}.crc"):
            (self.folder / "offsets" / name).unlink(missing_ok=True)
        return planned

    @property
    def damage(self) -> str:
        """What of it Spark would not be able to read, in a few words; empty when it is sound."""
        if self.folder.is_dir() and any(self.folder.glob("*/[0-9]*")) and not self.exists:
            return "metadata is missing"
        if not self.exists:
            return ""
        newest = [_newest(self.folder / "offsets", 2), _newest(self.folder / "commits", 1)]
        for file in (self.folder / "metadata", *(file for files in newest for file in files)):
            lines = file.read_text(errors="replace").splitlines()
            if file.name != "metadata":
                version, *lines = lines or [""]
                if not version.startswith("v") or len(lines) < (2 if file.parent.name == "offsets" else 1):
                    return f"{file.relative_to(self.folder)} is cut short"
            try:
                whole = bool(lines) and all(isinstance(json.loads(line), dict) for line in lines)
            except ValueError:
                whole = False
            if not whole:
                return f"{file.relative_to(self.folder)} is no JSON"
        return ""

    @property
    def merged(self) -> set[str]:
        """Beginnings of the names of merged files that the job reads."""
        file = self.folder / MERGED
        return set(json.loads(file.read_text())) if file.is_file() else set()

    def read(self) -> set[tuple[str, str]]:
        """Folder and name of the files of a table that are in batches it is done with."""
        offsets = self.folder / "offsets" / str(self.done)
        if not offsets.is_file():
            return set()
        last = json.loads(offsets.read_text().splitlines()[2])["logOffset"]  # version, facts, one line a source
        found = set()
        for log in (self.folder / "sources" / "0").glob("[0-9]*"):
            for line in log.read_text().splitlines()[1:]:
                entry = json.loads(line)
                if entry["batchId"] <= last:
                    folder, name = unquote(entry["path"]).split("/")[-2:]
                    found.add((folder, name))
        return found


def _newest(folder: Path, number: int) -> list[Path]:
    """The files of the last batches in one of Spark's logs."""
    return sorted((file for file in folder.glob("[0-9]*") if file.name.isdigit()), key=lambda file: int(file.name))[-number:]


def _last(folder: Path) -> int:
    """Number of the last batch in one of Spark's logs; -1 when there is none."""
    return max((int(file.name) for file in _newest(folder, 1)), default=-1)
