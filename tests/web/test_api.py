"""The REST API: what each call gives, Fink's names, paging, tokens, errors of one shape."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from fink_broker.ledger import Entry, Ledger
from tests.stored_alerts import stored
from tests.web.conftest import TOKEN, Gateway, image

ZTF = "ZTF23aaaaaaa"
LSST = "170028500581351556"
ID = stored(2)["alert_id"]


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row["alert_id"][-6:]) for row in rows]


def test_objects_newest_first_with_ids_as_text(gateway: Gateway) -> None:
    rows = gateway.get("objects", object_id=ZTF)
    assert numbers(rows) == [3, 2, 1, 0]
    assert all(isinstance(rows[0][name], str) for name in ("alert_id", "object_id", "healpix"))
    assert numbers(gateway.get("objects", objectId=f"{ZTF},{LSST}")) == [3, 2, 1, 0, 7]
    assert numbers(gateway.get("sources", diaObjectId=LSST)) == [7]
    assert gateway.get("objects", object_id=ZTF, columns="mjd,magnitude_rate.rate_g", n=1) == [{"mjd": 60003.0, "magnitude_rate.rate_g": 0.2}]


def test_upper_limits_come_where_asked(gateway: Gateway) -> None:
    rows = gateway.get("objects", object_id=ZTF, withupperlim=True)
    assert [row["kind"] for row in rows if row["mjd"] > 59999.5] == ["detection"] * 4
    assert [row["mjd"] for row in rows] == sorted((row["mjd"] for row in rows), reverse=True)
    limits = [row for row in rows if row["kind"] == "limit"]
    assert limits
    assert all(row["limit_mag"] == 20.5 and row["mag"] is None for row in limits)
    assert gateway.client.get("/api/v1/objects", params={"object_id": ZTF, "withupperlim": "maybe"}).status_code == 422


def test_a_page_of_rows_tells_the_next(gateway: Gateway) -> None:
    first = gateway.client.get("/api/v1/objects", params={"object_id": ZTF, "limit": 3})
    assert first.headers["X-Total-Count"] == "4"
    address = first.headers["Link"].split(">")[0].removeprefix("<")
    assert "offset=3" in address
    assert first.headers["Link"].endswith('rel="next"')
    second = gateway.client.get(address)
    assert numbers(first.json() + second.json()) == [3, 2, 1, 0]
    assert "Link" not in second.headers


def test_a_post_asks_the_same(gateway: Gateway) -> None:
    asked = {"objectId": ZTF, "columns": ["alert_id"], "n": 2, "output-format": "json"}
    answer = gateway.client.post("/api/v1/objects", json=asked)
    assert numbers(answer.json()) == [3, 2]
    for path, body in (
        ("conesearch", {"ra": 150, "dec": 20}),
        ("latests", {"class": "fink_pure_ztf"}),
        ("tags", {"tag": "pure"}),
        ("sso", {"n_or_d": "2015 AB1"}),
    ):
        assert gateway.client.post(f"/api/v1/{path}", json=body).status_code == 200, path


def test_the_points_of_a_light_curve(gateway: Gateway) -> None:
    found = gateway.get("lightcurve", object_id=ZTF)
    assert found["mjd"] == sorted(found["mjd"])
    assert set(found["kind"]) == {"detection", "limit"}
    text = gateway.client.get("/api/v1/lightcurve", params={"object_id": ZTF, "format": "csv"}).text.splitlines()
    assert text[0] == "mjd,band,flux,flux_err,mag,mag_err,limit_mag,kind"
    assert len(text) == len(found["mjd"]) + 1
    assert gateway.get("fp", diaObjectId=ZTF) == []


def test_one_alert(gateway: Gateway) -> None:
    assert gateway.get(f"alerts/{ID}")["mjd"] == 60002.0
    assert gateway.get(f"alerts/{ID}", survey="ztf")["object_id"] == ZTF


def test_alerts_as_skyportal_asks(gateway: Gateway) -> None:
    assert numbers(gateway.get("alerts", object_id=ZTF, jd_start=60001.5, jd_end=60002.5)) == [2]
    assert numbers(gateway.get("alerts", alert_id=ID)) == [2]
    assert [row["object_id"] for row in gateway.get("alerts", ra=150, dec=20, radius=3)] == [ZTF]


def test_a_cone_by_the_first_detection(gateway: Gateway) -> None:
    assert [row["object_id"] for row in gateway.get("conesearch", ra=150, dec=20, radius=5)] == [ZTF]
    assert gateway.get("conesearch", ra=150, dec=20, radius=5, startdate="2023-02-20") == []
    assert len(gateway.get("conesearch", ra=150, dec=20, startdate=59980, window=20)) == 1
    assert gateway.get("conesearch", ra=150, dec=20, startdate=59980, window=2) == []
    assert gateway.get("conesearch", ra=150, dec=20, stopdate="2459000.5") == []


def test_latest_of_a_topic_or_of_its_filter(gateway: Gateway) -> None:
    assert numbers(gateway.get("latests", topic="fink_pure_ztf", n=2)) == [3, 2]
    assert numbers(gateway.get("latests", **{"class": "pure"}, before_mjd=60002)) == [1, 0]
    assert gateway.get("latests", topic="fink_bright_ztf") == []


def test_moving_objects(gateway: Gateway) -> None:
    assert numbers(gateway.get("sso", n_or_d="2015 ab1")) == [7]


def test_what_is_not_public_needs_the_token(gateway: Gateway) -> None:
    hidden = stored(4)["alert_id"]
    asked: list[tuple[str, dict[str, Any]]] = [
        ("objects", {"object_id": ZTF}), ("alerts", {"object_id": ZTF}), ("latests", {"topic": "fink_pure_ztf"}), ("lightcurve", {"object_id": ZTF}),
        ("conesearch", {"ra": 150, "dec": 20}),
    ]  # fmt: skip
    for path, params in asked:
        assert "60004.0" not in gateway.client.get(f"/api/v1/{path}", params=params).text, path
    for path, params in asked[:-1]:
        assert "60004.0" in gateway.client.get(f"/api/v1/{path}", params=params, headers={"Authorization": f"Bearer {TOKEN}"}).text, path
    for path in (f"alerts/{hidden}", f"cutouts?alert_id={hidden}", f"alerts?alert_id={hidden}"):
        assert gateway.client.get(f"/api/v1/{path}").status_code == 404
        assert gateway.client.get(f"/api/v1/{path}", headers={"Authorization": "Bearer wrong"}).status_code == 404
        assert gateway.client.get(f"/api/v1/{path}", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    assert hidden not in gateway.client.get(f"/object/ztf/{ZTF}", headers={"accept": "text/html"}).text
    assert gateway.client.get(f"/?q={hidden}", headers={"accept": "text/html"}).status_code == 404


def test_cutouts_in_every_form(gateway: Gateway) -> None:
    png = gateway.client.get("/api/v1/cutouts", params={"candid": ID, "kind": "Science", "colormap": "heat", "stretch": "zscale", "scale": 3})
    assert png.content[:8] == b"\x89PNG\r\n\x1a\n"
    assert png.headers["content-type"] == "image/png"
    file = gateway.client.get("/api/v1/cutouts", params={"alert_id": ID, "kind": "template", "output-format": "FITS"})
    assert f"{ID}_template.fits" in file.headers["content-disposition"]
    with fits.open(io.BytesIO(file.content)) as hdus:
        assert np.array_equal(hdus[0].data, image(2), equal_nan=True)
    lines = gateway.get("cutouts", alert_id=ID, kind="difference", format="array")
    assert lines[0][:2] == [None, 201.0]
    assert set(gateway.get("cutouts", objectId=ZTF, kind="All", format="array")) == {"science", "template", "difference"}
    assert gateway.get("cutouts", objectId=ZTF, kind="science", format="array")[4][4] == 324.0  # of the newest alert that is public


def test_what_describes_the_broker(gateway: Gateway) -> None:
    topics = {row["topic"]: row for row in gateway.get("topics")}
    assert topics["fink_pure_ztf"]["messages"] == 4
    assert topics["fink_bright_ztf"]["messages"] == 0
    assert "fink_pure_ztf" in gateway.get("classes")["ztf"]
    assert gateway.get("tags", survey="ztf")["pure"]["description"]
    versions = gateway.get("schema", survey="lsst")
    assert {"10.0", "7.4"} <= {row["version"] for row in versions}
    assert gateway.get("schema", survey="lsst", version="10.0")["name"]
    assert gateway.get("status")["jobs"] == []
    assert gateway.get("statistics") == []


@pytest.mark.parametrize(
    ("path", "code", "kind", "text"),
    [
        ("objects?object_id=nothing", 404, "NotFound", "no object nothing of ztf, lsst, elasticc in HBase"),
        ("objects?object_id=a&survey=zzz", 422, "ConfigError", "survey is 'zzz'; expected one of"),
        ("objects", 422, "ConfigError", "argument 'object_id' is missing"),
        ("objects?objectid=a", 422, "ConfigError", "unknown argument 'objectid'; did you mean 'object_id'?"),
        (f"objects?object_id={ZTF}&format=xml", 422, "ConfigError", "format is 'xml'; expected one of json, csv, parquet, votable"),
        ("objects?object_id=a&limit=0", 422, "BadParameter", "limit: "),
        (f"objects?object_id={','.join('a' * 501)}", 422, "ConfigError", "501 objects in one request; expected at most 500"),
        ("conesearch?ra=400&dec=0&radius=1", 422, "ConfigError", "expected 0 to 360"),
        ("conesearch?ra=1&dec=0&radius=nan", 422, "ConfigError", "argument 'radius' is 'nan'; expected a number"),
        ("conesearch?dec=0&radius=1", 422, "ConfigError", "argument 'ra' is missing"),
        ("conesearch?ra=x&dec=0&radius=1", 422, "BadParameter", "ra: "),
        ("conesearch?ra=1&dec=0&window=3", 422, "ConfigError", "window is given without startdate"),
        ("conesearch?ra=1&dec=0&startdate=yesterday", 422, "ConfigError", "expected an MJD, a JD or YYYY-MM-DD"),
        ("cutouts?alert_id=1&kind=red", 422, "ConfigError", "kind is 'red'; expected one of science, template, difference, all"),
        ("cutouts?alert_id=1&kind=all", 422, "ConfigError", "expected format=array, or one kind"),
        ("cutouts?alert_id=1&pmin=60&pmax=40", 422, "ConfigError", "expected 0 <= pmin < pmax <= 100"),
        ("cutouts?kind=science", 422, "ConfigError", "argument 'alert_id' is missing"),
        ("latests?topic=fink_pur_ztf", 404, "NotFound", "no topic 'fink_pur_ztf'; near it: fink_pure_ztf"),
        ("latests?topic=bright", 422, "ConfigError", "a filter of several surveys; expected one of fink_bright_elasticc"),
        ("alerts/12", 404, "NotFound", "no public alert 12 in HBase"),
        ("sso?n_or_d=zzz", 404, "NotFound", "named zzz"),
        ("schema?survey=ztf&version=99", 404, "UnknownSchema", "99"),
        ("nothing", 404, "HTTPException", "Not Found; see /docs"),
    ],
)
def test_errors_have_one_shape(gateway: Gateway, path: str, code: int, kind: str, text: str) -> None:
    answer = gateway.client.get(f"/api/v1/{path}")
    assert answer.status_code == code
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"type", "message"}
    assert error["type"] == kind
    assert text in error["message"]


@pytest.mark.parametrize("body", ["[1]", "{", '"text"'])
def test_a_body_that_is_no_object(gateway: Gateway, body: str) -> None:
    answer = gateway.client.post("/api/v1/objects", content=body)
    assert answer.status_code == 422
    assert "expected an object of arguments" in answer.json()["error"]["message"]


def test_a_failure_of_ours_tells_no_secrets(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("fink_broker.web.state.status", broken)
    answer = gateway.client.get("/api/v1/status")
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "InternalError"
    assert "hunter2" not in answer.text


def test_the_description_has_every_call_once(gateway: Gateway) -> None:
    paths = gateway.client.get("/api/v1/openapi.json").json()["paths"]
    wanted = ("objects", "alerts/{alert_id}", "conesearch", "latests", "sso", "cutouts", "statistics", "schema", "lightcurve", "topics", "status")
    assert {f"/api/v1/{name}" for name in wanted} <= set(paths)
    assert all(list(methods) == ["get"] for methods in paths.values())


def test_the_ledger_by_night_and_survey(gateway: Gateway) -> None:
    ledger = Ledger(gateway.settings.home)
    for survey, number in (("ztf", 3), ("lsst", 4)):
        ledger.write(
            Entry("ingest", survey, "a", 0, 1.0, 1.0, by_night={"20231017": {"received": number, "raw": number}, "20231118": {"received": 1, "raw": 1}})
        )
    assert [(row["night"], row["survey"], row["raw"]) for row in gateway.get("ledger")] == [
        ("20231118", "ztf", 1), ("20231118", "lsst", 1), ("20231017", "ztf", 3), ("20231017", "lsst", 4),
    ]  # fmt: skip
    assert [row["raw"] for row in gateway.get("ledger", night="2023-10-17", survey="ztf")] == [3]
    assert len(gateway.get("ledger", night="202310")) == 2
    assert gateway.get("ledger", night="20240101") == []
    text = gateway.client.get("/api/v1/ledger", params={"survey": "ztf", "format": "csv", "columns": "night,raw,differs.science"}).text
    assert text.splitlines() == ["night,raw,differs.science", "20231118,1,1", "20231017,3,3"]
    for kind in ("csv", "parquet", "votable"):
        assert gateway.client.get("/api/v1/ledger", params={"format": kind}).status_code == 200
    for bad, said in (
        ({"night": "yesterday"}, "expected YYYYMMDD or YYYY-MM-DD"),
        ({"survey": "zft"}, "expected one of"),
        ({"nite": "1"}, "did you mean 'night'"),
    ):
        answer = gateway.client.get("/api/v1/ledger", params=bad)
        assert answer.status_code == 422
        assert said in answer.json()["error"]["message"]
