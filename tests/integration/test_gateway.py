"""The REST gateway over real HBase and lake: formats, errors, ids, cutouts, tokens."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table
from fastapi.testclient import TestClient

from fink_broker import hbase
from fink_broker.settings import Settings, load
from fink_broker.web import state
from fink_broker.web.app import create_app
from tests.integration.conftest import Filled
from tests.memory_hbase import Memory

if TYPE_CHECKING:
    from fink_broker.replay import Packet

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def packets(filled: Filled) -> list[Packet]:
    return filled.packets["ztf"]


@pytest.fixture(scope="module")
def client(settings: Settings, filled: Filled) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as made:
        yield made


def test_an_object_in_every_format(client: TestClient, packets: list[Packet]) -> None:
    name = packets[-1].object_id
    rows = client.get("/api/v1/objects", params={"objectId": name}).json()
    number = sum(packet.object_id == name for packet in packets)
    assert len(rows) == number
    assert isinstance(rows[0]["alert_id"], str)
    assert len(rows[0]["alert_id"]) == 19
    asked = {"object_id": name, "survey": "ztf", "columns": "alert_id,mjd,magnitude_rate.rate"}
    csv = pd.read_csv(io.BytesIO(client.get("/api/v1/objects", params={**asked, "format": "csv"}).content), dtype={"alert_id": str})
    parquet = pd.read_parquet(io.BytesIO(client.get("/api/v1/objects", params={**asked, "output-format": "parquet"}).content))
    table = parse_single_table(io.BytesIO(client.get("/api/v1/objects", params={**asked, "format": "votable"}).content))
    assert list(csv["alert_id"]) == list(parquet["alert_id"]) == [row["alert_id"] for row in rows] == list(table.array["alert_id"])
    posted = client.post("/api/v1/objects", json={"objectId": name, "columns": "alert_id", "n": 1})
    assert posted.json() == [{"alert_id": rows[0]["alert_id"]}]
    assert posted.headers["X-Total-Count"] == str(number)


def test_a_cone_sorted_by_distance(client: TestClient, packets: list[Packet]) -> None:
    row = client.get(f"/api/v1/alerts/{packets[0].alert_id}").json()
    near = client.get("/api/v1/conesearch", params={"ra": row["ra"], "dec": row["dec"], "radius": 18000, "n": 50}).json()
    apart = [one["separation_arcsec"] for one in near]
    assert apart == sorted(apart)
    assert apart[0] < 1


def test_cutouts_are_what_was_sent(client: TestClient, packets: list[Packet]) -> None:
    alert = packets[0].alert_id
    png = client.get("/api/v1/cutouts", params={"candid": alert, "kind": "Difference"})
    assert png.content[:8] == b"\x89PNG\r\n\x1a\n"
    fits_file = client.get("/api/v1/cutouts", params={"alert_id": alert, "kind": "science", "format": "FITS"})
    with fits.open(io.BytesIO(fits_file.content)) as hdus:
        image = hdus[0].data
    with fits.open(io.BytesIO(gzip.decompress(packets[0].display["cutoutScience"]["stampData"]))) as hdus:
        assert np.array_equal(image, hdus[0].data, equal_nan=True)
    array = client.get("/api/v1/cutouts", params={"alert_id": alert, "kind": "science", "format": "array"}).json()
    assert array[10][20] == pytest.approx(float(image[10, 20]))


def test_latests_and_paging_by_time(client: TestClient) -> None:
    rows = client.get("/api/v1/latests", params={"class": "fink_pure_ztf", "n": 5}).json()
    times = [row["mjd"] for row in rows]
    assert times == sorted(times, reverse=True)
    older = client.get("/api/v1/latests", params={"topic": "fink_pure_ztf", "n": 5, "before_mjd": times[-1]}).json()
    assert all(row["mjd"] < times[-1] for row in older)


@pytest.mark.parametrize(
    ("path", "code", "kind", "text"),
    [
        ("/api/v1/objects?object_id=nothing", 404, "NotFound", "no object nothing"),
        ("/api/v1/objects", 422, "ConfigError", "argument 'object_id' is missing"),
        ("/api/v1/conesearch?ra=400&dec=0&radius=1", 422, "ConfigError", "expected 0 to 360"),
        ("/api/v1/conesearch?ra=x&dec=0&radius=1", 422, "BadParameter", "ra: "),
        ("/api/v1/cutouts?alert_id=1&kind=red", 422, "ConfigError", "kind is 'red'"),
        ("/api/v1/alerts/12", 404, "NotFound", "no public alert 12"),
        ("/api/v1/sso?n_or_d=zzz", 404, "NotFound", "named zzz"),
        ("/api/v1/nothing", 404, "HTTPException", "Not Found"),
    ],
)
def test_errors_have_one_shape(client: TestClient, path: str, code: int, kind: str, text: str) -> None:
    answer = client.get(path)
    assert answer.status_code == code
    error = answer.json()["error"]
    assert set(error) == {"type", "message"}
    assert error["type"] == kind
    assert text in error["message"]


def test_what_describes_the_broker(client: TestClient) -> None:
    topics = {row["topic"]: row for row in client.get("/api/v1/topics").json()}
    assert "fink_pure_ztf" in client.get("/api/v1/classes").json()["ztf"]
    assert topics["fink_pure_ztf"]["messages"] > 0
    assert client.get("/api/v1/tags").json()["uniform_sample"]["description"]
    assert {row["version"] for row in client.get("/api/v1/schema", params={"survey": "ztf"}).json()} >= {"3.3", "4.02"}
    assert any(row.get("enriched") for row in client.get("/api/v1/statistics").json())
    jobs = client.get("/api/v1/status").json()["jobs"]
    assert {job["job"] for job in jobs} >= {"live", "ingest"}
    assert "/api/v1/conesearch" in client.get("/api/v1/openapi.json").json()["paths"]


def test_the_tables_are_laid_out_as_documented(settings: Settings, filled: Filled) -> None:
    """Every alert of the history table, filed again by the documented layout, gives the keys and columns that are there."""
    with contextlib.closing(hbase.connect(settings)) as connection:
        there = {name: dict(connection.table(hbase.table_name(settings, name)).scan()) for name in hbase.TABLES}
    again = Memory()
    for cells in there["history"].values():
        again.file(json.loads(hbase.unpack(cells[b"a:j"])))
    assert sum(map(len, filled.packets.values())) <= len(there["history"])
    for name in ("history", "alert", "sso"):
        assert set(there[name]) == set(again.stored[name]), name
    curves = {key: json.loads(hbase.unpack(cells[b"l:j"])) for key, cells in there["history"].items()}
    told = {f"{key.rsplit(b'|', 2)[0].decode()} {key.split(b'|', 3)[3].decode()}": min(curve["mjd"]) for key, curve in curves.items()}
    assert told == {f"{key.decode()} {name.decode().lstrip('n:~')}": float(reach) for key, cells in there["object"].items() for name, reach in cells.items()}
    for name in ("position", "sso"):
        for key, cells in again.stored[name].items():
            for column, cell in cells.items():
                assert json.loads(there[name][key][column]) == pytest.approx(json.loads(cell)), (name, key, column)
    assert {key: set(cells) for key, cells in there["position"].items()} == {key: set(cells) for key, cells in again.stored["position"].items()}
    assert set(next(iter(there["history"].values()))) == {b"a:j", b"l:j", b"o:p"}
    places = {cells[b"p:h"] for cells in there["alert"].values()}
    assert places == set(there["history"])
    topics = {row["topic"] for row in state.topics_of(settings)}
    assert {key.decode().split("|")[0] for key in there["topic"]} <= topics
    latest = {key.split(b"|", 1)[1] for key in there["topic"]}
    assert latest <= {key.split(b"|", 3)[3] for key in there["history"]}


def test_a_light_curve_is_what_the_packets_tell(client: TestClient, packets: list[Packet]) -> None:
    """All detections of an object's last packet and before are on its light curve, once."""
    name = packets[-1].object_id
    mine = [packet for packet in packets if packet.object_id == name]
    times = {
        round(one["jd"], 4) for packet in mine for one in [packet.display["candidate"], *(packet.display["prv_candidates"] or [])] if one["magpsf"] is not None
    }
    curve = client.get("/api/v1/lightcurve", params={"object_id": name}).json()
    found = [round(mjd + 2400000.5 - 37 / 86400, 4) for mjd, kind in zip(curve["mjd"], curve["kind"], strict=True) if kind == "detection"]
    assert len(found) == len(set(found))
    assert set(found) == times


def test_a_moving_object_of_lsst(client: TestClient) -> None:
    """Alerts of a designation are those of its object page."""
    row = client.get("/api/v1/latests", params={"topic": "fink_known_asteroids_lsst", "n": 1}).json()[0]
    found = client.get("/api/v1/sso", params={"n_or_d": row["ss_object_id"].upper()}).json()
    assert row["alert_id"] in {one["alert_id"] for one in found}
    assert {one["ss_object_id"] for one in found} == {row["ss_object_id"]}


def test_hbase_away_is_503(settings: Settings) -> None:
    away = load(options={"broker": {"home": str(settings.home)}, "hbase": {"host": "127.0.0.1", "port": 9, "timeout_seconds": 1}})
    answer = TestClient(create_app(away), raise_server_exceptions=False).get("/api/v1/objects?object_id=x")
    assert answer.status_code == 503
    assert "HBase's Thrift server at 127.0.0.1:9 does not answer" in answer.json()["error"]["message"]
