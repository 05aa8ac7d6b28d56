"""The pages: search, object, topics, ledger, efficiency, status; each has a JSON twin at the same address with .json."""

from __future__ import annotations

import contextlib
import json
import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from fink_broker.errors import FinkError, NotFound
from fink_broker.sky import galactic_latitude
from fink_broker.web import api, cutouts
from fink_broker.web.asked import Asked

router = APIRouter(include_in_schema=False)
HERE = Path(__file__).parent
templates = Jinja2Templates(directory=HERE / "templates")
_CONE = re.compile(r"\s*(\d+(?:\.\d*)?)[\s,;]+([+-]?\d+(?:\.\d*)?)(?:[\s,;]+(\d+(?:\.\d*)?))?\s*$")
_FILE = re.compile(r"[a-z][a-z0-9_]*\.(?:png|parquet)")
APART = ("xmatch", "provenance")  # module results shown apart from the scores
BANDS = "ugrizyY"  # in the order of their wavelengths; ELAsTiCC writes the last in upper case
SHOWN = 200  # rows of a table
RECENT = 4


def show(request: Request, name: str, values: dict[str, Any]) -> Response:
    """A page, or its JSON twin."""
    if _is_twin(request):
        return JSONResponse(values)
    path = "/index" if request.url.path == "/" else request.url.path
    twin = f"{quote(path)}.json" + (f"?{request.url.query}" if request.url.query else "")
    return templates.TemplateResponse(request, f"{name}.html", {"twin": twin, **values})


def _is_twin(request: Request) -> bool:
    return request.url.path.endswith(".json")


def _significant(value: Any) -> str:
    """A value for a reader: four digits, thousands apart, nothing computed as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _date(mjd: float | None) -> str:
    """Date and minute of a time [MJD TAI], in UTC (TAI is 37 s ahead)."""
    return "" if mjd is None else f"{datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=mjd, seconds=-37):%Y-%m-%d %H:%M}"


def _who(row: dict[str, Any]) -> str:
    """What a row's object is filed under."""
    return str(row.get("object_id") or row.get("ss_object_id") or row["alert_id"])


def _address(row: dict[str, Any]) -> str:
    """Where the page of a row's object is."""
    return f"/object/{quote(row['survey'])}/{quote(_who(row), safe='')}"


def _sexagesimal(row: dict[str, Any]) -> str:
    """A row's position as hours and degrees, to 0.01 s and 0.1 arcsec."""
    ra, dec = round(row["ra"] % 360 * 24000) % 8_640_000, round(abs(row["dec"]) * 36000)
    hours = f"{ra // 360_000:02d}:{ra // 6000 % 60:02d}:{ra % 6000 / 100:05.2f}"
    return f"{hours} {'-' if row['dec'] < 0 else '+'}{dec // 36000:02d}:{dec // 600 % 60:02d}:{dec % 600 / 10:04.1f}"


def _ago(seconds: float) -> str:
    """How long ago, in the unit that fits."""
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name} ago"
    return f"{seconds:.0f} s ago"


def _percent(share: float) -> str:
    """A share in percent, that is never rounded up to all."""
    return "100 %" if share >= 1 else f"{math.floor(share * 10000) / 100:.2f} %"


templates.env.filters |= {
    "sig": _significant, "date": _date, "address": _address, "who": _who, "sexagesimal": _sexagesimal, "ago": _ago,
    "number": lambda value: "?" if value is None else f"{value:,}",
    "percent": _percent,
    "words": lambda name: name.replace("_", " "),
}  # fmt: skip


@router.get("/favicon.ico")
def icon() -> Response:
    """For those who ask without reading the page."""
    return FileResponse(HERE / "static" / "icon.svg", media_type="image/svg+xml")


@router.get("/")
@router.get("/index.json")
def home(request: Request, q: str = "") -> Response:
    """Search by id, position or designation; below, the newest alerts of each topic."""
    q = q.strip()
    if q:
        return search(request, q)
    surveys = request.app.state.surveys
    rows = [{**row, "title": surveys[row["survey"]].title} for row in request.app.state.broker.topics() if row["messages"] != 0]
    newest: dict[str, list[dict[str, Any]]] = {}
    with contextlib.suppress(FinkError):  # the page shows the topics even while HBase is away
        newest = api.history(request).newest([row["topic"] for row in rows], RECENT, public_only=api.public_only(request))
    return show(request, "home", {"topics": [{**row, "newest": newest.get(row["topic"], [])} for row in rows]})


def search(request: Request, q: str) -> Response:
    """What a query means: a cone, an object, a moving object, an alert."""
    history, hidden = api.history(request), api.public_only(request)
    if cone := _CONE.match(q):
        ra, dec, radius = (float(part) if part else 5.0 for part in cone.groups())
        rows = api.cone_rows(request, Asked({"ra": ra, "dec": dec, "radius": radius}))
        title = f"Objects within {radius:g}″ of {ra:g} {dec:+g}"
        return show(request, "results", _listed(q, title, rows, f"conesearch?ra={ra:g}&dec={dec:g}&radius={radius:g}&format=csv"))
    end = ".json" if _is_twin(request) else ""
    with contextlib.suppress(NotFound):
        survey, _ = history.find(q, limit=1, public_only=hidden)
        return RedirectResponse(f"/object/{quote(survey)}/{quote(q, safe='')}{end}")
    with contextlib.suppress(NotFound):
        rows = history.sso(q, public_only=hidden)
        return show(request, "results", _listed(q, f"Alerts of Solar System object {q}", rows, f"sso?designation={quote(q)}&format=csv"))
    with contextlib.suppress(NotFound):
        return RedirectResponse(_address(history.alert(q, public_only=hidden)[0]) + end)
    raise NotFound(f"nothing is named '{q}': no object, alert or Solar System object; a place is written as 'ra dec radius' [deg, deg, arcsec]")


def _listed(q: str, title: str, rows: list[dict[str, Any]], call: str) -> dict[str, Any]:
    return {"q": q, "title": title, "number": len(rows), "rows": rows[:SHOWN], "csv": f"/api/v1/{call}"}


@router.get("/object/{survey}/{object_id:path}")
@router.get("/object/{survey}/{object_id:path}.json")  # the lower one is tried first
def object_page(request: Request, survey: str, object_id: str) -> Response:
    """Light curve, cutouts, scores, cross-matches, history."""
    _, rows = api.find_object(request, object_id, survey)
    curve = api.history(request).lightcurve(survey, object_id, rows, public_only=api.public_only(request))
    newest, kinds = rows[0], request.app.state.surveys[survey].cutout_paths
    modules = {name: _shown(value) for name, value in newest.items() if isinstance(value, dict) and name not in APART}
    values = {
        "survey": survey, "title": request.app.state.surveys[survey].title, "object_id": object_id, "number": len(rows), "rows": rows[:SHOWN],
        "newest": newest, "curve": curve, "modules": modules, "matches": _matches(newest), "catalogued": "xmatch" in newest,
        "provenance": newest.get("provenance") or {}, "latitude": round(float(galactic_latitude(newest["ra"], newest["dec"])), 2),
        "kinds": [kind for kind in cutouts.KINDS if kind in kinds], "detections": curve["kind"].count("detection"),
    }  # fmt: skip
    if not _is_twin(request):
        values["curve_json"] = json.dumps(curve).replace("<", "\\u003c").replace("&", "\\u0026")
        values["stretches"], values["colormaps"] = cutouts.STRETCHES, list(cutouts.COLORMAPS)
    return show(request, "object", values)


def _shown(module: dict[str, Any]) -> dict[str, Any]:
    """A module's results for a reader: fields of one band each as a table, the others as a list, those without a value named."""
    table: dict[str, dict[str, Any]] = {}
    plain: dict[str, Any] = {}
    for field, value in module.items():
        stem, _, band = field.rpartition("_")
        if len(band) == 1 and band in BANDS and stem:
            table.setdefault(stem, {})[band] = value
        elif field != "error":
            plain[field] = value
    bands = [band for band in BANDS if any(row.get(band) is not None for row in table.values())]
    nulls = [field for field, value in plain.items() if value is None]
    computed = {field: value for field, value in plain.items() if value is not None}
    return {"plain": computed, "table": table if bands else {}, "bands": bands, "many": len(bands) > 3, "not_computed": nulls, "error": module.get("error")}


def _matches(row: dict[str, Any]) -> list[dict[str, str]]:
    found = []
    for text in (row.get("xmatch") or {}).get("matches") or []:
        catalog, kind, rest = text.split(":", 2)
        name, _, apart = rest.rpartition(":")
        found.append({"catalog": catalog, "class": kind, "name": name, "arcsec": apart})
    return found


@router.get("/topic/{topic}")
@router.get("/topic/{topic}.json")
def topic_page(request: Request, topic: str) -> Response:
    """The newest alerts of a substream."""
    rows = api.latest_rows(request, topic, SHOWN)
    return show(request, "results", {**_listed("", f"Newest alerts of {topic}", rows, f"latests?topic={quote(topic)}&n={SHOWN}&format=csv"), "topic": topic})


@router.get("/topics")
@router.get("/topics.json")
def topics_page(request: Request) -> Response:
    """All substreams."""
    return show(request, "topics", {"topics": request.app.state.broker.topics()})


@router.get("/status")
@router.get("/status.json")
def status_page(request: Request) -> Response:
    """Services, jobs, lag; nights."""
    broker = request.app.state.broker
    return show(request, "status", {**broker.status(), "nights": broker.statistics()})


@router.get("/ledger")
@router.get("/ledger.json")
def ledger_page(request: Request) -> Response:
    """What became of every alert, night by night."""
    return show(request, "ledger", {"nights": request.app.state.broker.ledger()})


@router.get("/efficiency")
@router.get("/efficiency.json")
def efficiency_page(request: Request) -> Response:
    """Completeness and purity of every class and topic, as `fink efficiency` found them."""
    from fink_broker.efficiency import folder_of, read

    surveys = []
    for name, survey in request.app.state.surveys.items():
        folder = folder_of(request.app.state.settings, name)
        if (folder / "about.json").is_file():
            found, about = read(folder)
            rows = found[found["by"] == "all"].drop(columns=["by", "bin", "low", "high"]).astype(object)
            parts = {str(of): part.where(part.notna(), None).to_dict("records") for of, part in rows.groupby("of", sort=False)}
            pictures = [of for of in parts if (folder / f"{of}.png").is_file()]
            surveys.append({"survey": name, "title": survey.title, "about": about, "parts": parts, "pictures": pictures})
    return show(request, "efficiency", {"surveys": surveys})


@router.get("/efficiency/{survey}/{name}")
def efficiency_file(request: Request, survey: str, name: str) -> Response:
    """A plot, or a table as Parquet."""
    from fink_broker.efficiency import folder_of

    file = folder_of(request.app.state.settings, survey) / name
    if survey not in request.app.state.surveys or not _FILE.fullmatch(name) or not file.is_file():
        raise NotFound(f"no {name} of {survey}; `fink efficiency --survey {survey}` makes the files that /efficiency shows")
    return FileResponse(file)


@router.get("/docs")
def docs(request: Request) -> Response:
    """The API, from its own OpenAPI description, each call with a form to try it; no scripts of others."""
    calls = []
    for path, methods in request.app.openapi()["paths"].items():
        for method, call in methods.items():
            if method == "get":
                calls.append({"path": path, "method": "GET", "posts": _posts(path), **call})
    return show(request, "docs", {"calls": calls, "twin": "/api/v1/openapi.json"})


def _posts(path: str) -> bool:
    return any(getattr(route, "path", "") == path and "POST" in getattr(route, "methods", ()) for route in api.router.routes)
