"""The pages: search, object, topics, status; each has a JSON twin at the same address with .json."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from fink_broker.errors import FinkError, NotFound
from fink_broker.sky import galactic_latitude
from fink_broker.web import api, cutouts, state

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
_CONE = re.compile(r"\s*(\d+(?:\.\d*)?)[\s,;]+([+-]?\d+(?:\.\d*)?)(?:[\s,;]+(\d+(?:\.\d*)?))?\s*$")
APART = ("xmatch", "provenance")  # module results shown apart from the scores
SHOWN = 200  # rows of a table
RECENT = 6


def show(request: Request, name: str, values: dict[str, Any]) -> Response:
    """A page, or its JSON twin."""
    if request.url.path.endswith(".json"):
        return JSONResponse(values)
    return templates.TemplateResponse(request, f"{name}.html", values)


def _significant(value: Any) -> str:
    """A value for a reader: four digits, thousands apart, nothing computed as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _date(mjd: float | None) -> str:
    """Date and minute of a time [MJD TAI], in UTC (TAI is 37 s ahead)."""
    return "" if mjd is None else f"{datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=mjd, seconds=-37):%Y-%m-%d %H:%M}"


def _address(row: dict[str, Any]) -> str:
    """Where the page of a row's object is."""
    who = row.get("object_id") or row.get("ss_object_id") or row["alert_id"]
    return f"/object/{quote(row['survey'])}/{quote(who, safe='')}"


templates.env.filters |= {"sig": _significant, "date": _date, "address": _address, "words": lambda name: name.replace("_", " ")}


@router.get("/")
@router.get("/index.json")
def home(request: Request, q: str = "") -> Response:
    """Search by id, position or designation; below, the newest alerts of each topic."""
    q = q.strip()
    if q:
        return search(request, q)
    rows = [row for row in state.topics(request.app.state.settings) if row["messages"]]
    newest: dict[str, list[dict[str, Any]]] = {}
    with contextlib.suppress(FinkError):  # the page shows the topics even while HBase is away
        newest = api.history(request).newest([row["topic"] for row in rows], RECENT, public_only=api.public_only(request))
    return show(request, "home", {"topics": [{**row, "newest": newest.get(row["topic"], [])} for row in rows]})


def search(request: Request, q: str) -> Response:
    """What a query means: a cone, an object, a moving object, an alert."""
    history, hidden = api.history(request), api.public_only(request)
    if cone := _CONE.match(q):
        ra, dec, radius = (float(part) if part else 5.0 for part in cone.groups())
        given = api.Asked({"ra": ra, "dec": dec, "radius": radius})
        rows = api.cone_rows(request, given)
        return show(request, "results", _listed(q, f"Objects within {radius:g}″ of {ra:g} {dec:+g}", rows))
    try:
        survey, _ = history.find(q, public_only=hidden)
        return RedirectResponse(f"/object/{quote(survey)}/{quote(q, safe='')}")
    except NotFound:
        pass
    try:
        return show(request, "results", _listed(q, f"Alerts of Solar System object {q}", history.sso(q, public_only=hidden)))
    except NotFound:
        pass
    try:
        return RedirectResponse(_address(history.alert(q, public_only=hidden)[0]))
    except NotFound:
        raise NotFound(f"nothing is named '{q}': no object, alert or Solar System object; a place is written as 'ra dec radius' [deg, deg, arcsec]") from None


def _listed(q: str, title: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"q": q, "title": title, "number": len(rows), "rows": rows[:SHOWN]}


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
    if not request.url.path.endswith(".json"):
        values["curve_json"] = json.dumps(curve).replace("<", "\\u003c").replace("&", "\\u0026")
        values["stretches"], values["colormaps"] = cutouts.STRETCHES, list(cutouts.COLORMAPS)
    return show(request, "object", values)


def _shown(module: dict[str, Any]) -> dict[str, Any]:
    """A module's results for a reader: fields of one band each as a table, the others as a list, those without a value named."""
    table: dict[str, dict[str, Any]] = {}
    plain: dict[str, Any] = {}
    for field, value in module.items():
        stem, _, band = field.rpartition("_")
        if len(band) == 1 and band in "ugrizy" and stem:
            table.setdefault(stem, {})[band] = value
        elif field != "error":
            plain[field] = value
    bands = [band for band in "ugrizy" if any(row.get(band) is not None for row in table.values())]
    nulls = [field for field, value in plain.items() if value is None]
    computed = {field: value for field, value in plain.items() if value is not None}
    return {"plain": computed, "table": table if bands else {}, "bands": bands, "not_computed": nulls, "error": module.get("error")}


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
    rows = api.history(request).latest(topic, SHOWN, public_only=api.public_only(request))
    return show(request, "results", {**_listed("", f"Newest alerts of {topic}", rows), "topic": topic})


@router.get("/topics")
@router.get("/topics.json")
def topics_page(request: Request) -> Response:
    """All substreams."""
    return show(request, "topics", {"topics": state.topics(request.app.state.settings)})


@router.get("/status")
@router.get("/status.json")
def status_page(request: Request) -> Response:
    """Services, jobs, lag; nights."""
    settings = request.app.state.settings
    return show(request, "status", {**state.status(settings), "nights": state.statistics(settings)})


@router.get("/docs")
def docs(request: Request) -> Response:
    """The API, from its own OpenAPI description, each call with a form to try it; no scripts of others."""
    calls = []
    for path, methods in request.app.openapi()["paths"].items():
        for method, call in methods.items():
            if method == "get":
                calls.append({"path": path, "method": "GET", "posts": "{" not in path and _posts(request, path), **call})
    return show(request, "docs", {"calls": calls})


def _posts(request: Request, path: str) -> bool:
    return any(getattr(route, "path", "") == path and "POST" in getattr(route, "methods", ()) for route in request.app.routes)
