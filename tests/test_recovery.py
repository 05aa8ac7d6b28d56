"""Which checkpoint a job goes on from."""

from __future__ import annotations

import os
from pathlib import Path

from fink_broker.checkpoint import Checkpoint
from fink_broker.jobs.plans import PLANS, plan
from fink_broker.jobs.recovery import take_over
from fink_broker.seen import Seen

ALERT = ("17", "ztf_alerts", 0, 3, 99, 1_800_000_000.0)


def begun(home: Path, job: str, time: float) -> Path:
    """A checkpoint whose last batch was begun at a time."""
    file = home / "checkpoints" / job / "ztf" / "offsets" / "4"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("v1\n{}\n{}")
    os.utime(file, (time, time))
    return file.parents[1]


def test_a_job_whose_work_another_did_since_takes_its_own_checkpoint_as_lost(tmp_path: Path) -> None:
    night, live = begun(tmp_path, "night", 200.0), begun(tmp_path, "live", 100.0)
    seen = Seen(tmp_path / "seen" / "night-ztf")
    assert not list(seen.judge([ALERT]))
    seen.close()
    Seen(tmp_path / "seen" / "live-ztf").close()
    take_over(tmp_path, plan("night"), "ztf")  # it was the last itself
    assert night.is_dir()
    take_over(tmp_path, plan("live"), "ztf")
    assert not live.exists()
    (aside,) = (tmp_path / "checkpoints" / "aside").iterdir()
    assert aside.name.startswith("live-ztf-")
    assert Checkpoint(aside).planned == 4
    known = Seen(tmp_path / "seen" / "live-ztf")
    assert list(known.judge([("17", "ztf_alerts", 0, 8, 99, 1_800_000_001.0)])) == [(0, "duplicate")]
    begun(tmp_path, "live", 300.0)
    take_over(tmp_path, plan("live"), "ztf")  # and goes on from its new one
    assert Checkpoint(live).planned == 4
    take_over(tmp_path, plan("night"), "ztf")
    assert not night.exists()


def test_only_jobs_of_the_same_work_go_on_after_each_other(tmp_path: Path) -> None:
    assert {name: one.rivals for name, one in PLANS.items() if one.rivals} == {"night": ("live", "ingest"), "live": ("night",), "ingest": ("night",)}
    kept = [begun(tmp_path, name, time) for name, time in (("live", 100.0), ("ingest", 200.0), ("index", 300.0))]
    for name in PLANS:
        if name != "night":
            take_over(tmp_path, plan(name), "ztf")
    take_over(tmp_path, plan("live"), "lsst")
    assert all(folder.is_dir() for folder in kept)
