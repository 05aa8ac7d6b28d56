"""The pages without a browser: what they say, and their JSON twins."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fink_broker import hbase
from fink_broker.errors import Unavailable
from fink_broker.ledger import Entry, Ledger
from fink_broker.web import pages
from tests.stored_alerts import stored
from tests.web.conftest import Gateway

BROWSER = {"accept": "text/html,*/*"}
ZTF = "ZTF23aaaaaaa"
PAGES = ["/", f"/object/ztf/{ZTF}", "/topic/fink_pure_ztf", "/topics", "/ledger", "/status", "/docs", "/?q=150 20 10", "/?q=2015 AB2"]


def read(gateway: Gateway, path: str, code: int = 200) -> str:
    answer = gateway.client.get(path, headers=BROWSER)
    assert answer.status_code == code, answer.text
    return answer.text


@pytest.fixture
def filled(gateway: Gateway) -> Gateway:
    gateway.memory.file(stored(8, "lsst1", survey="lsst", ss_object_id="2015 AB2", ra=151.5))
    gateway.memory.file(stored(9, "lsst2", survey="lsst", ss_object_id="2015 AB2", ra=151.6))
    return gateway


@pytest.mark.parametrize("path", PAGES)
def test_every_page_names_its_twin(filled: Gateway, path: str) -> None:
    text = read(filled, path)
    twin = re.search(r'<a href="([^"]+)">This page as JSON', text)
    assert twin
    found = filled.client.get(twin[1].replace("&amp;", "&"), headers=BROWSER)
    assert found.status_code == 200
    assert found.headers["content-type"] == "application/json"
    assert isinstance(found.json(), dict)


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_loaded_from_elsewhere(filled: Gateway, path: str) -> None:
    text = read(filled, path)
    loaded = re.findall(r"<(?:script|link|img|iframe|form)[^>]*?(?:src|href|action)=\"([^\"]+)\"", text)
    assert loaded
    for address in loaded:
        assert address.startswith("/")
        assert not address.startswith("//")
        if address.startswith("/static/"):
            assert filled.client.get(address).status_code == 200, address
    assert not re.search(r"<script(?![^>]*(src=|application/json))", text)  # the content policy forbids them
    assert " onclick=" not in text


def test_an_object(gateway: Gateway) -> None:
    text = read(gateway, f"/object/ztf/{ZTF}")
    for said in (
        "150.000000 +20.000000", "10:00:00.00 +20:00:00.0", "4 alerts held, the newest 2023-02-27 23:59 UTC", "omi Cet", "Mira", "0.17",
        "1.0+12345678", "No value: limit rate.", f"/api/v1/alerts/{stored(3)['alert_id']}", "18.970 ± 0.050",
    ):  # fmt: skip
        assert said in text, said
    twin = gateway.client.get(f"/object/ztf/{ZTF}.json").json()
    assert twin["number"] == 4
    assert twin["curve"]["kind"].count("detection") == twin["detections"]
    assert json.loads(re.search(r'id="curve">(.*?)</script>', text, re.S)[1]) == twin["curve"]  # type: ignore[index]
    assert twin["matches"] == [{"catalog": "bright", "class": "Mira", "name": "omi Cet", "arcsec": "0.17"}]


def test_names_are_written_as_text(gateway: Gateway) -> None:
    name = "</script><b>x&y/z?"
    row = stored(1, name, band="</script>", xmatch={"matches": ["a:<i>:n:1"], "error": None})
    columns = {key: [None] for key in ("flux", "flux_err", "mag", "mag_err", "limit_mag", "kind")}
    gateway.memory.file(row, {"mjd": [60001.0], "band": ["</script><script>alert(1)"], **columns})
    for path in (pages._address(row), "/?q=150 20 10"):
        text = read(gateway, path)
        assert "<b>" not in text
        assert "<i>" not in text
        assert "<script>alert" not in text


def test_search_goes_where_the_words_lead(filled: Gateway) -> None:
    def led(q: str, path: str = "/") -> str:
        answer = filled.client.get(path, params={"q": q}, headers=BROWSER, follow_redirects=False)
        return str(answer.headers.get("location", answer.status_code))

    assert led(ZTF) == f"/object/ztf/{ZTF}"
    assert led(f" {ZTF} ", "/index.json") == f"/object/ztf/{ZTF}.json"
    assert led(stored(8)["alert_id"]) == "/object/lsst/lsst1"
    assert led("150 20 10") == "200"
    assert "Objects within 10″ of 150 +20" in read(filled, "/?q=150 20 10")
    assert "Alerts of Solar System object 2015 AB2" in read(filled, "/?q=2015 AB2")
    assert "nothing is named &#39;zzz&#39;" in read(filled, "/?q=zzz", 404)
    assert filled.client.get("/index.json", params={"q": "zzz"}, headers=BROWSER).json()["error"]["type"] == "NotFound"


def test_results_link_to_the_same_rows_as_csv(filled: Gateway) -> None:
    for path in ("/?q=150 20 10", "/?q=2015 AB2", "/topic/fink_pure_ztf"):
        twin = filled.client.get(path.replace("/?", "/index.json?") if "?" in path else f"{path}.json").json()
        table = filled.client.get(twin["csv"])
        assert len(table.text.splitlines()) == twin["number"] + 1


def test_a_topic_that_is_none(gateway: Gateway) -> None:
    assert "no topic &#39;fink_pur_ztf&#39;; near it: fink_pure_ztf" in read(gateway, "/topic/fink_pur_ztf", 404)
    assert "Nothing is held here." in read(gateway, "/topic/fink_bright_ztf")


def test_home_stands_while_hbase_is_away(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(settings: Any) -> None:
        raise Unavailable("HBase's Thrift server does not answer")

    monkeypatch.setattr(hbase, "connect", away)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    gateway.client.app.state.history._free.clear()  # type: ignore[attr-defined]
    assert "fink_pure_ztf" in read(gateway, "/")
    assert "Not available now" in read(gateway, f"/object/ztf/{ZTF}", 503)


def test_status_tells_jobs_and_nights(gateway: Gateway) -> None:
    ledger = Ledger(gateway.settings.home)
    ledger.write(
        Entry("live", "ztf", "abc", 0, 1_700_000_000.0, 2.5, rows_in=10, rows_out=10, by_night={"20231017": {"science": 4}, "20231018": {"science": 6}})
    )
    ledger.write(
        Entry("ingest", "ztf", "def", 0, 1_700_000_000.0, 1.5, rows_in=12, duplicates=2, quarantined={"damaged": 1}, by_night={"20231017": {"raw": 5}})
    )
    text = read(gateway, "/status")
    assert "2023-10-17" in text
    assert "10 in 2.5 s" in text
    rows = gateway.get("statistics")
    assert rows == [
        {"survey": "ztf", "night": "20231018", "stored": 0, "enriched": 6, "indexed": 0},
        {"survey": "ztf", "night": "20231017", "stored": 5, "enriched": 4, "indexed": 0},
    ]
    assert gateway.get("statistics", date="2023-10-18") == rows[:1]
    jobs = {row["job"]: row for row in gateway.get("status")["jobs"]}
    assert jobs["ingest"]["quarantined"] == 1
    assert jobs["ingest"]["duplicates"] == 2


def test_the_ledger_tells_each_night(gateway: Gateway) -> None:
    assert "No batch has ended yet" in read(gateway, "/ledger")
    ledger = Ledger(gateway.settings.home)
    came = {"received": 1200, "duplicate": 2, "quarantined/damaged": 1, "quarantined/changed": 3, "raw": 1194}
    done = {"science": 1194, "indexed": 1194, "matched": 40, "published/fink_pure_ztf": 30, "published/fink_bright_ztf": 20, "failed/xmatch": 7}
    ledger.write(Entry("ingest", "ztf", "a", 0, 1.0, 1.0, by_night={"20231017": came, "20231018": {"received": 5, "raw": 5}}))
    ledger.write(Entry("live", "ztf", "b", 0, 1.0, 1.0, by_night={"20231017": done, "20231018": {"science": 4, "indexed": 6}}))
    gateway.client.app.state.broker.seconds = 0.0  # type: ignore[attr-defined]
    text = read(gateway, "/ledger")
    first, second = text.split("2023-10-17")[0].split("2023-10-18")[1], text.split("2023-10-17")[1]
    assert "science lacks 1" in first
    assert "indexed has 2 more" in first
    assert "80.00 %" in first
    for said in ("balanced", "100 %", "1,200", "1,194", "damaged 1<br>", "changed 3<br>", "fink_pure_ztf 30<br>", "xmatch 7<br>"):
        assert said in second, said
    newest, oldest = gateway.get("ledger")
    assert newest["differs"] == {"science": 1, "indexed": -2}
    assert oldest["quarantined"] == {"changed": 3, "damaged": 1}
    assert oldest["balanced"]
    assert gateway.client.get("/ledger.json").json()["nights"] == [newest, oldest]


def test_a_share_is_not_rounded_up_to_all() -> None:
    assert [pages._percent(share) for share in (1.0, 0.99999, 0.5)] == ["100 %", "99.99 %", "50.00 %"]


def test_the_icon(gateway: Gateway) -> None:
    answer = gateway.client.get("/favicon.ico")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/svg+xml"


def test_headers_of_safety(gateway: Gateway) -> None:
    headers = gateway.client.get("/topics").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_every_call_has_a_form(gateway: Gateway) -> None:
    text = read(gateway, "/docs")
    paths = gateway.client.get("/api/v1/openapi.json").json()["paths"]
    assert all(f'action="{path}"' in text for path in paths)
    assert "GET, POST /api/v1/objects" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (0.123456, "0.1235"), (12345.6, "12,346"), (4_552_418.0, "4.552e+06"), (3, "3"), (["a", "b"], "a, b"), ("word", "word")],
)
def test_values_for_a_reader(value: Any, text: str) -> None:
    assert pages._significant(value) == text


@pytest.mark.parametrize(
    ("ra", "dec", "text"),
    [(0.0, 0.0, "00:00:00.00 +00:00:00.0"), (359.99999999, -89.99999999, "00:00:00.00 -90:00:00.0"), (83.822083, -5.391111, "05:35:17.30 -05:23:28.0")],
)
def test_sexagesimal(ra: float, dec: float, text: str) -> None:
    assert pages._sexagesimal({"ra": ra, "dec": dec}) == text


@pytest.mark.parametrize(("seconds", "text"), [(3.2, "3 s ago"), (119, "119 s ago"), (180, "3 min ago"), (7200, "2 h ago"), (200_000, "2 d ago")])
def test_ago(seconds: float, text: str) -> None:
    assert pages._ago(seconds) == text


def test_static_files_are_few_and_ours() -> None:
    found = {file.name for file in (Path(pages.__file__).parent / "static").iterdir()}
    assert found == {"cutouts.js", "docs.js", "icon.svg", "lightcurve.js", "style.css"}


def test_many_readers_of_the_status_cost_one(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("fink_broker.web.state.status", lambda settings: asked.append("status") or {"services": {}, "jobs": [], "disk_free_gb": 1.0})
    for _ in range(3):
        assert gateway.get("status")["jobs"] == []
    assert asked == ["status"]
    gateway.client.app.state.broker.seconds = 0.0  # type: ignore[attr-defined]
    gateway.get("status")
    assert len(asked) == 2
