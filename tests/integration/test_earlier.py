"""Inputs `history.…` of a module in running jobs: the points of earlier nights come from HBase, the same in a job run later."""

from __future__ import annotations

import zlib
from itertools import groupby
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from fink_broker import past, sky
from fink_broker.earlier import Earlier
from fink_broker.spool import Packet
from fink_broker.survey import load_survey
from fink_broker.testing import MadeAlert, encode, make_alerts
from tests.integration.test_recovery import Broker, broker
from tests.times_module import MODULE

__all__ = ["broker"]
pytestmark = [pytest.mark.integration, pytest.mark.slow]


def aged(alert: MadeAlert) -> Packet:
    """The alert, every other object a hundred days older than its light curve tells."""
    if zlib.crc32(alert.object_id.encode()) % 2:
        alert.packet["candidate"]["jdstarthist"] -= 100
    return Packet("ztf", encode("ztf", alert.packet), alert.alert_id, alert.object_id, alert.mjd)


def test_the_points_of_earlier_nights_stand_before_each_alert(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "times.py").write_text(MODULE)
    science = broker.settings.science.model_copy(update={"modules": ("times",), "path": tmp_path / "modules"})
    broker.settings = broker.settings.model_copy(update={"science": science})
    site = load_survey(broker.settings.schemas_path, "ztf").longitude_deg
    for name in ("live", "ingest"):
        _, query = broker.start(name)
        query.processAllAvailable()
        query.stop()
    packets = [aged(alert) for alert in make_alerts("ztf", 150, seed=41)]
    for _, night in groupby(sorted(packets, key=lambda one: one.mjd), lambda one: int(sky.night(one.mjd, site)[0])):
        broker.send_packets(list(night))
        broker.run("live")
    broker.run("ingest")
    columns = ", ".join(["alert_id", "object_id", "mjd", "first_mjd", "night", "times", *(f"lightcurve.{name} lc_{name}" for name in past.FIELDS)])
    rows = duckdb.sql(f"select {columns} from read_parquet('{broker.settings.lake_path}/science/**/*.parquet')").df()
    rows = rows.rename(columns={f"lc_{name}": f"lightcurve.{name}" for name in past.FIELDS})
    wanted = past.with_past(rows, past.points_of(rows), before=Earlier(broker.settings, "ztf", site).before(rows))["history.mjd"]
    found = pd.DataFrame(list(rows["times"]))
    assert found["n"].tolist() == wanted.map(len).tolist()
    assert np.allclose(found["sum"], wanted.map(np.sum), rtol=1e-12)
    more = wanted.map(len) > rows["lightcurve.mjd"].map(len)
    old = rows["first_mjd"] < rows["mjd"] - 50
    assert more.sum() > 5  # some have more than their own light curve
    assert 0 < old.sum() < len(old)
    assert not (more & ~old).any()
    later = broker.settings.model_copy(update={"lake": broker.settings.lake.model_copy(update={"path": str(tmp_path / "again")})})
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "raw").symlink_to(Path(broker.settings.lake_path) / "raw")
    broker.settings = later
    _, query = broker.start("enrich")
    query.processAllAvailable()
    query.stop()
    again = duckdb.sql(f"select alert_id, times from read_parquet('{tmp_path}/again/science/**/*.parquet')").df()
    pairs = rows[["alert_id", "times"]].merge(again, on="alert_id")
    assert len(pairs) == len(rows) == len(again)
    assert (pairs["times_x"] == pairs["times_y"]).all()
