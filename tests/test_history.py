"""The reader of HBase, on tables in memory that are filed by the documented layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from fink_broker import hbase
from fink_broker.errors import ConfigError, NotFound, Unavailable
from fink_broker.history import History
from fink_broker.settings import load
from tests.memory_hbase import Memory
from tests.stored_alerts import curve, stored

Made = tuple[History, Memory]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    memory = Memory()
    monkeypatch.setattr(hbase, "connect", lambda settings: memory)
    return History(load(options={"hbase": {"host": "memory"}})), memory


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row["alert_id"][-6:]) for row in rows]


def test_alerts_of_an_object_newest_first(made: Made) -> None:
    history, memory = made
    for number in (2, 5, 3):
        memory.file(stored(number))
    memory.file(stored(9, "ZTF23aaaaaab"))
    memory.file(stored(8, "ZTF23aaaaaa"))  # its id begins as the other's
    assert ids(history.object("ztf", "ZTF23aaaaaaa")) == [5, 3, 2]
    assert ids(history.object("ztf", "ZTF23aaaaaaa", limit=2)) == [5, 3]
    with pytest.raises(NotFound, match="no object ZTF23aaaaaaa of lsst in HBase; check its id, or search by position"):
        history.object("lsst", "ZTF23aaaaaaa")


def test_alerts_that_are_not_public_do_not_count_against_the_limit(made: Made) -> None:
    history, memory = made
    for number in range(10):
        memory.file(stored(number, public=number % 3 == 0), topics=("fink_pure_ztf",))
    assert ids(history.object("ztf", "ZTF23aaaaaaa", limit=3, public_only=True)) == [9, 6, 3]
    assert ids(history.object("ztf", "ZTF23aaaaaaa", limit=3)) == [9, 8, 7]
    assert ids(history.latest("fink_pure_ztf", 9, public_only=True)) == [9, 6, 3, 0]
    with pytest.raises(NotFound, match="no public alert 25"):
        history.alert(stored(1)["alert_id"], public_only=True)
    assert history.alert(stored(1)["alert_id"])[0]["mjd"] == 60001
    memory.file(stored(4, "ZTF23aaaaaac", public=None))
    with pytest.raises(NotFound):
        history.object("ztf", "ZTF23aaaaaac", public_only=True)


def test_an_object_is_found_in_whichever_survey_has_it(made: Made) -> None:
    history, memory = made
    memory.file(stored(1, "3100", survey="elasticc"))
    assert history.find("3100")[0] == "elasticc"
    with pytest.raises(NotFound, match="no object 3101 of ztf, lsst, elasticc in HBase"):
        history.find("3101")


def test_a_row_of_an_older_version_has_all_columns_that_pages_read(made: Made) -> None:
    history, memory = made
    memory.file({"survey": "ztf", "alert_id": "77", "object_id": "old", "ra": 1.0, "dec": 2.0, "mjd": 58000.0, "public": True})
    row = history.object("ztf", "old")[0]
    assert row["mag"] is row["reliability"] is row["ss_object_id"] is None


def test_what_json_cannot_say_is_null(made: Made) -> None:
    history, memory = made
    memory.file(stored(1))
    (key, cells) = next(iter(memory.stored["history"].items()))
    text = hbase.unpack(cells[b"a:j"]).decode().replace("0.05", '"NaN"').replace('20.0, "rel', '"-Infinity", "rel')
    memory.stored["history"][key] = cells | {b"a:j": hbase.pack(text)}
    row = history.object("ztf", "ZTF23aaaaaaa")[0]
    assert row["mag_err"] is None
    assert row["snr"] is None


def test_cells_of_before_they_were_packed_are_read(made: Made) -> None:
    history, memory = made
    memory.file(stored(1))
    (key, cells) = next(iter(memory.stored["history"].items()))
    before = history.object("ztf", "ZTF23aaaaaaa")
    memory.stored["history"][key] = cells | {b"a:j": hbase.unpack(cells[b"a:j"])}
    assert history.object("ztf", "ZTF23aaaaaaa") == before


def test_a_light_curve_is_put_together_from_alerts_that_tell_a_few_days_each(made: Made) -> None:
    history, memory = made
    for number in range(0, 30, 3):
        row = stored(number)
        memory.file(row, curve(row))
    found = history.lightcurve("ztf", "ZTF23aaaaaaa")
    detections = [mjd for mjd, kind in zip(found["mjd"], found["kind"], strict=True) if kind == "detection"]
    assert detections == [60000.0 + day for day in range(-2, 28)]
    assert found["mjd"] == sorted(found["mjd"])
    assert found["kind"].count("limit") == 1  # the others were limits to one alert, detections to another
    assert len({len(column) for column in found.values()}) == 1


def test_few_cells_are_read_when_the_newest_alert_tells_all(made: Made) -> None:
    history, memory = made
    for number in range(30):
        row = stored(number)
        memory.file(row, curve(row, days=60))
    reads: list[str] = []
    table = memory.table

    def counted(name: str) -> Any:
        reads.append(name)
        return table(name)

    memory.table = counted  # type: ignore[method-assign]
    assert len(history.lightcurve("ztf", "ZTF23aaaaaaa")["mjd"]) == 61
    assert len(reads) == 2  # the object, and one light curve


def test_light_curves_of_earlier_public_alerts(made: Made) -> None:
    history, memory = made
    for number in range(0, 20, 2):
        memory.file(row := stored(number, public=number != 10), curve(row, days=3))

    def earlier(name: str, before: float, first: float, most: int) -> list[tuple[float, dict[str, list[Any]]]]:
        other = ("ZTF23aaaaaab", 60013.0, -np.inf)
        found = history.earlier("ztf", [other, (name, before, first), other], most)
        assert found[0] == found[2] == []
        return found[1]

    found = earlier("ZTF23aaaaaaa", 60013.0, -np.inf, 12)
    assert [seen for seen, _ in found] == [60012, 60008, 60004, 60000]  # each reaches 3 days back, and at 10 it was not public
    assert found[0][1]["mjd"] == [60009, 60010, 60011, 60012]
    assert [seen for seen, _ in earlier("ZTF23aaaaaaa", 60013.0, -np.inf, 2)] == [60012, 60008]
    assert [seen for seen, _ in earlier("ZTF23aaaaaaa", 60013.0, 60005.0, 12)] == [60012, 60008]  # its first detection is among them
    assert earlier("ZTF23aaaaaaa", 60000.0, -np.inf, 5) == []
    assert earlier("ZTF23aaaaaa", 60013.0, -np.inf, 5) == []
    found = history.earlier("ztf", [("ZTF23aaaaaaa", before, -np.inf) for before in (60004.0, 60005.0)], 1)
    assert [[seen for seen, _ in told] for told in found] == [[60002], [60004]]  # an alert of that very time is not before it


def test_latest_of_a_topic_by_pages_of_time(made: Made) -> None:
    history, memory = made
    for number in range(6):
        memory.file(stored(number), topics=("fink_pure_ztf", "fink_pure_ztf2"))
    assert ids(history.latest("fink_pure_ztf", 4)) == [5, 4, 3, 2]
    assert ids(history.latest("fink_pure_ztf", 4, before_mjd=60002.0)) == [1, 0]
    assert ids(history.latest("fink_pure_ztf", 9, before_mjd=60005.0, since_mjd=60003.0)) == [4, 3]
    assert {name: ids(rows) for name, rows in history.newest(["fink_pure_ztf2", "fink_none"], 1).items()} == {"fink_pure_ztf2": [5], "fink_none": []}


def test_moving_objects_by_designation(made: Made) -> None:
    history, memory = made
    memory.file(stored(1, None, survey="lsst", ss_object_id="2015 AB1"))
    memory.file(stored(2, None, survey="lsst", ss_object_id="2015 AB1"))
    memory.file(stored(3, None, survey="lsst", ss_object_id="2015 AB12"))
    assert ids(history.sso("2015 ab1")) == [2, 1]
    assert ids(history.object("lsst", "2015 AB1")) == [2, 1]  # filed under its designation, having no object
    with pytest.raises(NotFound, match="no alert of a Solar System object named 2016 X; write it as the survey does"):
        history.sso("2016 X")


@pytest.mark.parametrize(
    ("ra", "dec", "radius"), [(150.0, 20.0, 5.0), (0.0003, -0.0002, 60.0), (359.9999, 45.0, 3600.0), (12.0, 89.999, 600.0), (200.0, -89.5, 7200.0)]
)
def test_a_cone_holds_what_astropy_says(made: Made, ra: float, dec: float, radius: float) -> None:
    history, memory = made
    rng = np.random.default_rng(int(radius))
    centre = SkyCoord(ra, dec, unit="deg")
    near = centre.directional_offset_by(rng.uniform(0, 360, 120) * u.deg, rng.uniform(0, 2 * radius, 120) * u.arcsec)
    for number, place in enumerate(near):
        memory.file(stored(number, f"ZTF{number}", ra=float(place.ra.deg), dec=float(place.dec.deg)))
    apart = dict(zip((f"ZTF{number}" for number in range(120)), centre.separation(near).arcsec, strict=True))
    found = history.cone(ra, dec, radius)
    assert [row["object_id"] for row in found] == [name for name, value in sorted(apart.items(), key=lambda pair: pair[1]) if value <= radius]
    assert all(row["separation_arcsec"] == pytest.approx(apart[row["object_id"]], abs=1e-3) for row in found)
    assert len([scan for scan in memory.scans if scan[0] == "position"]) <= 24
    assert [row["object_id"] for row in history.cone(ra, dec, radius, limit=3)] == [row["object_id"] for row in found[:3]]


def test_a_cone_shows_the_newest_public_alert_of_each_object(made: Made) -> None:
    history, memory = made
    for number, public in ((1, True), (4, True), (2, True), (9, False)):
        memory.file(stored(number, public=public))
    memory.file(stored(3, "hidden", public=False))
    memory.file(stored(5, "other", survey="lsst"))
    found = {row["object_id"]: row for row in history.cone(150.0, 20.0, 5.0, public_only=True)}
    assert set(found) == {"ZTF23aaaaaaa", "other"}
    assert found["ZTF23aaaaaaa"]["mjd"] == 60004
    assert {row["object_id"] for row in history.cone(150.0, 20.0, 5.0)} == {"ZTF23aaaaaaa", "hidden", "other"}
    assert [row["object_id"] for row in history.cone(150.0, 20.0, 5.0, survey="lsst")] == ["other"]


def test_an_object_that_moves_over_pixels_comes_once(made: Made) -> None:
    history, memory = made
    for number in range(5):
        memory.file(stored(number, ra=150.0 + number / 3600))
    assert ids(history.cone(150.0, 20.0, 30.0)) == [4]


def test_a_crowded_cone_is_refused(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    history, memory = made
    monkeypatch.setattr("fink_broker.history.MOST_IN_CONE", 3)
    for number in range(5):
        memory.file(stored(number, f"ZTF{number}"))
    with pytest.raises(ConfigError, match="more than 3 objects lie in or about this cone; ask for a smaller radius"):
        history.cone(150.0, 20.0, 5.0)


def test_alerts_of_kafka_positions_are_counted_once(made: Made) -> None:
    history, memory = made
    for number in range(7):
        memory.file(stored(number, f"ZTF{number % 3}"))
    assert history.count({"topic": {0: (0, 6)}}) == 7
    assert history.count({"topic": {0: (2, 4)}}) == 3
    assert history.count({"other": {0: (0, 6)}}) == 0


def test_a_lost_connection_is_replaced(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    history, memory = made
    memory.file(stored(1))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    good: Callable[..., Any] = memory.table
    left = [1, 1]

    def broken(name: str) -> Any:
        if left:
            left.pop()
            raise BrokenPipeError
        return good(name)

    monkeypatch.setattr(memory, "table", broken)
    with pytest.raises(Unavailable, match="does not answer"):
        history.object("ztf", "ZTF23aaaaaaa")
    assert ids(history.object("ztf", "ZTF23aaaaaaa")) == [1]
