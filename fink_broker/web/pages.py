"""The pages: search, object, topics, nights, status; each has a JSON twin at the same address with .json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from fink_broker.errors import NotFound
from fink_broker.sky import galactic_latitude
from fink_broker.web import api, state

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
templates.env.filters["sig"] = lambda value: f"{value:.4g}" if isinstance(value, float) else value
_CONE = re.compile(r"\s*([\d.]+)[\s,]+([+-]?[\d.]+)(?:[\s,]+([\d.]+))?\s*$")
ONE_ROW = ("xmatch",)  # shown apart from the scores


def show(request: Request, name: str, values: dict[str, Any]) -> Response:
    """A page, or its JSON twin."""
    if request.url.path.endswith(".json"):
        return JSONResponse(values)
    return templates.TemplateResponse(request, f"{name}.html", values)


@router.get("/")
def home(request: Request, q: str = "") -> Response:
    """Search by id, position or designation; below, the newest alerts of each topic."""
    if not q:
        found = [row for row in state.topics(request.app.state.settings) if row["messages"]]
        return show(request, "home", {"topics": found})
    if cone := _CONE.match(q):
        ra, dec, radius = (float(part) if part else 5.0 for part in cone.groups())
        rows = api.visible(api.history(request).cone(ra, dec, min(radius, 18000), 200), request)
        return show(request, "results", {"q": q, "title": f"Objects within {radius:g} arcsec of {ra:g} {dec:+g}", "rows": rows})
    try:
        survey, rows = api.find_object(request, q.strip(), None)
        return RedirectResponse(f"/object/{survey}/{q.strip()}")
    except NotFound:
        pass
    try:
        rows = api.visible(api.history(request).sso(q.strip()), request)
        return show(request, "results", {"q": q, "title": f"Alerts of Solar System object {q.strip()}", "rows": rows})
    except NotFound:
        row, _ = api.history(request).alert(q.strip())
        if not api.visible([row], request):
            raise
        who = row.get("object_id") or row.get("ss_object_id") or row["alert_id"]
        return RedirectResponse(f"/object/{row['survey']}/{who}")


@router.get("/object/{survey}/{object_id}")
@router.get("/object/{survey}/{object_id}.json")  # the lower one is tried first
def object_page(request: Request, survey: str, object_id: str) -> Response:
    """Light curve, cutouts, scores, cross-matches, history."""
    _, rows = api.find_object(request, object_id, survey)
    curve = api.history(request).lightcurve(survey, object_id)
    newest = rows[0]
    modules = {name: _shown(value) for name, value in newest.items() if isinstance(value, dict) and name not in ("provenance", *ONE_ROW)}
    values = {
        "survey": survey, "title": request.app.state.surveys[survey].title, "object_id": object_id, "rows": rows, "newest": newest,
        "curve": curve, "curve_json": json.dumps(curve).replace("</", "<\\/"), "modules": modules, "matches": _matches(newest),
        "provenance": newest.get("provenance", {}), "latitude": round(float(galactic_latitude(newest["ra"], newest["dec"])), 2),
        "cutouts": list(request.app.state.surveys[survey].cutout_paths),
    }  # fmt: skip
    return show(request, "object", values)


def _shown(module: dict[str, Any]) -> dict[str, Any]:
    """A module's results for a reader: per-band fields as one row each."""
    table: dict[str, dict[str, Any]] = {}
    plain: dict[str, Any] = {}
    for field, value in module.items():
        stem, _, band = field.rpartition("_")
        if band in "ugrizy" and len(band) == 1 and stem:
            table.setdefault(stem, {})[band] = value
        else:
            plain[field] = value
    bands = [band for band in "ugrizy" if any(band in row for row in table.values())]
    return {"plain": plain, "table": table, "bands": bands}


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
    rows = api.visible(api.history(request).latest(topic, 100), request)
    return show(request, "results", {"q": "", "title": f"Newest alerts of {topic}", "rows": rows})


@router.get("/topics.json")
@router.get("/topics")
def topics_page(request: Request) -> Response:
    """All substreams."""
    return show(request, "topics", {"topics": state.topics(request.app.state.settings)})


@router.get("/status.json")
@router.get("/status")
def status_page(request: Request) -> Response:
    """Services, jobs, lag; nights."""
    settings = request.app.state.settings
    return show(request, "status", {**state.status(settings), "nights": state.statistics(settings)})


@router.get("/docs")
def docs(request: Request) -> Response:
    """The API, from its own OpenAPI description, without scripts of others."""
    paths = request.app.openapi()["paths"]
    calls = [{"path": path, "method": method.upper(), **call} for path, methods in paths.items() for method, call in methods.items() if method == "get"]
    return show(request, "docs", {"calls": calls})
