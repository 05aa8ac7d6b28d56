"""Points of earlier nights from HBase, on tables in memory that are filed by the documented layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fink_broker import hbase, past, sky
from fink_broker.earlier import Earlier, Replayed
from fink_broker.science import Chain, Registry
from fink_broker.settings import Settings, load
from tests.memory_hbase import Memory
from tests.stored_alerts import curve, stored
from tests.times_module import MODULE

LONGITUDE = -116.86


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    memory = Memory()
    monkeypatch.setattr(hbase, "connect", lambda settings: memory)
    return memory


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "times.py").write_text(MODULE)
    return load(options={"hbase": {"host": "memory", "prefix": f"fink_{tmp_path.name}"}})


def row(mjd: float, mjds: list[float], object_id: str | None = "ZTF23aaaaaaa", first_mjd: float = np.nan) -> dict[str, Any]:
    """An alert as modules get it."""
    points: dict[str, Any] = {f"lightcurve.{name}": [1.0] * len(mjds) for name in past.FIELDS}
    points |= {"lightcurve.mjd": mjds, "lightcurve.band": ["r"] * len(mjds), "lightcurve.kind": ["detection"] * len(mjds)}
    return {"object_id": object_id, "mjd": mjd, "first_mjd": first_mjd, "night": int(sky.night(mjd, LONGITUDE)[0]), **points}


def test_only_earlier_nights_count_whatever_is_stored_or_in_the_batch(
    memory: Memory, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Memory, "table", lambda self, name: _table(self, name))
    for number in (0, 4, 8):
        memory.file(one := stored(number, mjd=60000.3 + number), curve(one, days=3))
    chain = Chain(Registry.load(tmp_path), ["times"], {}, "ztf", earlier=Earlier(settings, "ztf", LONGITUDE))
    now = row(60009.40, [60008.3, 60009.40])

    def run(*rows: dict[str, Any]) -> list[tuple[float, int]]:
        found = chain.run(pd.DataFrame(rows), pd.DataFrame({"times": [True] * len(rows)}))
        return list(zip(found["times.first"].astype(float), found["times.n"].astype(int), strict=True))

    alone = run(now)
    assert alone == [(59997.3, 14)]
    memory.file(one := stored(9, mjd=60009.30), curve(one, days=3))  # of the same night, written meanwhile
    assert run(now) == alone
    assert run(row(60009.30, [60009.30]), now)[1] == alone[0]  # of the same night, in the same batch
    assert run(now, row(60010.3, [60010.3]))[1][1] == 15  # the night after sees all of it, the one in the batch too
    assert run(row(60009.4, [60009.4], object_id=None)) == [(60009.4, 1)]
    assert run(row(60009.4, [60008.3, 60009.4], first_mjd=60008.3)) == [(60008.3, 2)]  # it tells all of a young object itself
    assert run(row(60009.4, [60008.3, 60009.4], first_mjd=59000.0)) == alone
    few = load(options={"hbase": {"host": "memory", "prefix": f"fink_{tmp_path.name}"}, "science": {"history_alerts": 1}})
    chain.earlier = Earlier(few, "ztf", LONGITUDE)
    assert run(now) == [(60005.3, 6)]


def test_a_replay_finds_what_the_jobs_find_in_hbase(memory: Memory, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Memory, "table", lambda self, name: _table(self, name))
    rng = np.random.default_rng(9)
    print("seed 9")
    for most in (1, 3, 12):
        for rows in memory.stored.values():
            rows.clear()
        few = load(options={"hbase": {"host": "memory", "prefix": f"fink_{tmp_path.name}"}, "science": {"history_alerts": most}})
        replayed, alerts = Replayed(few, "ztf", LONGITUDE, tmp_path / f"seen{most}"), []
        for number in range(40):
            one = stored(number, f"ZTF23aaaaaa{'abc'[rng.integers(3)]}", mjd=round(60000.3 + float(rng.uniform(0, 60)), 5))
            told = curve(one, days=int(rng.integers(1, 12)))
            memory.file(one, told)
            alerts.append({**one, "night": int(sky.night(one["mjd"], LONGITUDE)[0]), **{f"lightcurve.{name}": told[name] for name in past.FIELDS}})
        frame = pd.DataFrame(alerts)
        frame["first_mjd"] = rng.choice([np.nan, 59000.0, 60010.0], len(frame))
        replayed.add(frame.iloc[:25])
        replayed.add(frame.iloc[25:])
        jobs = Earlier(few, "ztf", LONGITUDE)
        assert np.array_equal(jobs.before(frame), replayed.before(frame))
        both = [past.with_past(frame, one.points(frame), before=one.before(frame)) for one in (jobs, replayed)]
        assert max(map(len, both[0]["history.mjd"])) > 14  # a light curve has 12 points at most
        for name in past.HISTORY:
            for expected, found in zip(*(one[name] for one in both), strict=True):
                np.testing.assert_array_equal(expected, found)


def _table(memory: Memory, name: str) -> Any:
    from tests.memory_hbase import Table

    return Table(memory, name.rpartition("_")[2])
