"""The REST API under /api/v1; Fink's endpoints and argument names are taken beside ours."""

from __future__ import annotations

import difflib
import json
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from fink_broker.errors import ConfigError, NotFound
from fink_broker.history import History
from fink_broker.schema import SchemaLibrary
from fink_broker.settings import Settings
from fink_broker.web import cutouts, state
from fink_broker.web.asked import Asked, Given
from fink_broker.web.formats import Row, answer

router = APIRouter(prefix="/api/v1")
MOST_OBJECTS = 500  # in one request
WIDEST_ARCSEC = 18000.0

ObjectId = Annotated[str | None, Query(description="id, or comma list of ids (Fink: objectId, diaObjectId)")]
AlertId = Annotated[str | None, Query(description="id (Fink: candid, diaSourceId)")]
FormatName = Annotated[str, Query(description="json, csv, parquet or votable (Fink: output-format)")]
Columns = Annotated[str | None, Query(description="comma list of columns, dotted into module results; none: all")]
Limit = Annotated[int | None, Query(ge=1, description="most rows (Fink: n)")]
Offset = Annotated[int, Query(ge=0, description="rows to leave out first, for paging; the header Link gives the next page")]
SurveyName = Annotated[str | None, Query(description="survey; none: any")]
Degrees = Annotated[float | None, Query(description="J2000 [deg]")]
Since = Annotated[str | None, Query(description="not before: MJD [TAI], JD [UTC] or YYYY-MM-DD[ hh:mm:ss] [UTC]")]
Until = Annotated[str | None, Query(description="not after: the same")]


def history(request: Request) -> History:
    """The reader of HBase."""
    found: History = request.app.state.history
    return found


def public_only(request: Request) -> bool:
    """Whether the request lacks the token that unlocks alerts which are not public."""
    settings: Settings = request.app.state.settings
    token = settings.web.token.get_secret_value()
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    return not (token and kind.lower() == "bearer" and secrets.compare_digest(given.strip().encode(), token.encode()))


def find_object(request: Request, object_id: str, survey: str | None) -> tuple[str, list[Row]]:
    """Survey and visible alerts of an object; NotFound when there are none."""
    hidden = public_only(request)
    if survey:
        known_survey(request, survey)
        return survey, history(request).object(survey, object_id, public_only=hidden)
    return history(request).find(object_id, public_only=hidden)


def known_survey(request: Request, survey: str | None) -> str | None:
    """The same; ConfigError when there is no such survey."""
    if survey and survey not in request.app.state.surveys:
        raise ConfigError(f"survey is '{survey}'; expected one of {', '.join(request.app.state.surveys)}")
    return survey


def page(rows: list[Row], given: Asked, request: Request, default: int, name: str) -> Response:
    """One page of rows, in the format asked for; X-Total-Count tells how many there are, Link where the next ones are."""
    most = request.app.state.settings.web.max_rows
    start, limit = given.count("offset", 0, 10**9, least=0), given.count("limit", min(default, most), most)
    made = answer(rows[start : start + limit], given.format(), given.text("columns"), name)
    made.headers["X-Total-Count"] = str(len(rows))
    if start + limit < len(rows):
        made.headers["Link"] = f'<{request.url.include_query_params(offset=start + limit)}>; rel="next"'
    return made


@router.post("/sources", include_in_schema=False)
@router.get("/sources", include_in_schema=False)  # what Fink calls them for LSST
@router.post("/objects", include_in_schema=False)
@router.get("/objects", summary="All alerts of one object or several, newest first")
def objects(
    request: Request, given: Given, object_id: ObjectId = None, survey: SurveyName = None,
    withupperlim: Annotated[bool, Query(description="upper limits too, as rows whose `kind` is limit (as Fink)")] = False,
    columns: Columns = None, limit: Limit = None, offset: Offset = 0, format: FormatName = "json",
) -> Response:  # fmt: skip
    """Neutral columns and module results of each alert."""
    names = [name.strip() for name in given.needed("object_id").split(",") if name.strip()]
    if len(names) > MOST_OBJECTS:
        raise ConfigError(f"{len(names)} objects in one request; expected at most {MOST_OBJECTS}")
    limits = given.one_of("withupperlim", ("false", "true"), "false") == "true"
    rows: list[Row] = []
    for name in names:
        found, alerts = find_object(request, name, given.text("survey"))
        if limits:
            points = _points(request, found, name, alerts)
            alerts = [{**row, "kind": "detection"} for row in alerts]
            alerts += [{"survey": found, "object_id": name, **point} for point in points if point["kind"] == "limit"]
            alerts.sort(key=lambda row: -row["mjd"])
        rows += alerts
    return page(rows, given, request, request.app.state.settings.web.max_rows, names[0])


@router.get("/lightcurve", summary="All points of an object in time order: detections, forced photometry, upper limits")
def lightcurve(request: Request, given: Given, object_id: ObjectId = None, survey: SurveyName = None, format: FormatName = "json") -> Response:
    """Columns mjd [TAI], band, flux, flux_err [nJy], mag, mag_err, limit_mag [AB], kind; in JSON one list a column."""
    who = given.needed("object_id")
    name, rows = find_object(request, who, given.text("survey"))
    if given.format() == "json":
        return JSONResponse(history(request).lightcurve(name, who, rows, public_only=public_only(request)))
    return answer(_points(request, name, who, rows), given.format(), name=who)


@router.post("/fp", include_in_schema=False)
@router.get("/fp", summary="Forced photometry of an object in time order, as Fink names it for LSST")
def forced(
    request: Request, given: Given, object_id: ObjectId = None, survey: SurveyName = None, columns: Columns = None, limit: Limit = None,
    offset: Offset = 0, format: FormatName = "json",
) -> Response:  # fmt: skip
    """The points of /lightcurve that are forced, as rows."""
    who = given.needed("object_id")
    name, rows = find_object(request, who, given.text("survey"))
    points = _points(request, name, who, rows)
    return page([point for point in points if point["kind"] == "forced"], given, request, request.app.state.settings.web.max_rows, who)


def _points(request: Request, survey: str, object_id: str, rows: list[Row]) -> list[Row]:
    """The light curve of an object as rows."""
    curve = history(request).lightcurve(survey, object_id, rows, public_only=public_only(request))
    return [dict(zip(curve, point, strict=True)) for point in zip(*curve.values(), strict=True)]


@router.get("/alerts", summary="Alerts by object, id or position, as SkyPortal's generic broker asks for them")
def alerts(
    request: Request, given: Given, object_id: ObjectId = None, alert_id: AlertId = None, ra: Degrees = None, dec: Degrees = None,
    radius: Annotated[float | None, Query(description="[arcsec]")] = None, jd_start: Since = None, jd_end: Until = None, survey: SurveyName = None,
    columns: Columns = None, limit: Limit = None, offset: Offset = 0, format: FormatName = "json",
) -> Response:  # fmt: skip
    """Give an object, an alert, or ra, dec and radius."""
    if "alert_id" in given:
        rows = [visible_alert(request, given.needed("alert_id"), given.text("survey"))[0]]
    elif "object_id" in given:
        rows = find_object(request, given.needed("object_id"), given.text("survey"))[1]
    else:
        rows = cone_rows(request, given)
    start, end = given.time("jd_start"), given.time("jd_end")
    rows = [row for row in rows if (start is None or row["mjd"] >= start) and (end is None or row["mjd"] <= end)]
    return page(rows, given, request, 1000, "alerts")


@router.get("/alerts/{alert_id}", summary="One alert")
def alert(request: Request, alert_id: str, survey: SurveyName = None) -> Row:
    """Neutral columns and module results."""
    return visible_alert(request, alert_id, survey)[0]


def visible_alert(request: Request, alert_id: str, survey: str | None) -> tuple[Row, str]:
    """An alert that this request may see, and its files in the lake."""
    return history(request).alert(alert_id, known_survey(request, survey), public_only=public_only(request))


@router.post("/conesearch", include_in_schema=False)
@router.get("/conesearch", summary="Objects within a radius, nearest first")
def conesearch(
    request: Request, given: Given, ra: Degrees = None, dec: Degrees = None,
    radius: Annotated[float | None, Query(description="[arcsec], at most 18000; default 5")] = None, survey: SurveyName = None, columns: Columns = None,
    startdate: Annotated[str | None, Query(description="first detected not before (as Fink): MJD [TAI], JD [UTC] or YYYY-MM-DD[ hh:mm:ss] [UTC]")] = None,
    stopdate: Annotated[str | None, Query(description="first detected not after (as Fink)")] = None,
    window: Annotated[float | None, Query(gt=0, description="first detected within so many days after startdate (as Fink) [d]")] = None,
    limit: Limit = None, offset: Offset = 0, format: FormatName = "json",
) -> Response:  # fmt: skip
    """Each object's newest detection with its separation [arcsec]; the limit is applied after the distance."""
    start, end = given.time("startdate"), given.time("stopdate")
    if "window" in given:
        if start is None:
            raise ConfigError("window is given without startdate; expected both")
        end = start + given.number("window")
    rows = [row for row in cone_rows(request, given) if _within(row["first_mjd"] or row["mjd"], start, end)]
    return page(rows, given, request, 1000, "cone")


def cone_rows(request: Request, given: Asked) -> list[Row]:
    """The visible objects of the cone that is asked for."""
    where = given.number("ra"), given.number("dec"), given.number("radius", 5.0)
    if not (0 <= where[0] <= 360 and -90 <= where[1] <= 90 and 0 < where[2] <= WIDEST_ARCSEC):
        raise ConfigError(f"ra, dec, radius are {where}; expected 0 to 360, -90 to 90 [deg] and up to 18000 [arcsec]")
    survey = known_survey(request, given.text("survey"))
    return history(request).cone(*where, limit=1_000_000, survey=survey, public_only=public_only(request))


def _within(mjd: float, start: float | None, end: float | None) -> bool:
    return (start is None or mjd >= start) and (end is None or mjd <= end)


@router.post("/tags", include_in_schema=False)  # Fink asks so for LSST
@router.post("/latests", include_in_schema=False)
@router.get("/latests", summary="The newest alerts of a topic")
def latests(
    request: Request, given: Given, topic: Annotated[str | None, Query(description="topic, such as fink_pure_ztf (Fink: class, tag)")] = None,
    before_mjd: Annotated[float | None, Query(description="only older ones [MJD TAI], for paging: the last row's mjd")] = None,
    startdate: Since = None, stopdate: Until = None, columns: Columns = None, limit: Limit = None, format: FormatName = "json",
) -> Response:  # fmt: skip
    """Newest first."""
    before = given.number("before_mjd") if "before_mjd" in given else given.time("stopdate")
    number, name = given.count("limit", 10, request.app.state.settings.web.max_rows), given.needed("topic")
    return answer(latest_rows(request, name, number, before, given.time("startdate")), given.format(), given.text("columns"), name)


def latest_rows(request: Request, topic: str, number: int, before: float | None = None, since: float | None = None) -> list[Row]:
    """The newest visible alerts of a topic, which may be called by its filter's name; NotFound when there is no such topic."""
    rows = history(request).latest(topic, number, before, since, public_only=public_only(request))
    if not rows and (other := _topic(request, topic)) != topic:
        rows = history(request).latest(other, number, before, since, public_only=public_only(request))
    return rows


def _topic(request: Request, name: str) -> str:
    """The topic of a name, which may be its filter's when only one survey has it."""
    rows = state.topics_of(request.app.state.settings)
    if name in (topics := [row["topic"] for row in rows]):
        return name
    named = [row["topic"] for row in rows if row["filter"] == name]
    if len(named) == 1:
        return str(named[0])
    if named:
        raise ConfigError(f"topic is '{name}', a filter of several surveys; expected one of {', '.join(named)}")
    near = difflib.get_close_matches(name, topics, 3)
    raise NotFound(f"no topic '{name}'; " + (f"near it: {', '.join(near)}" if near else "/api/v1/topics lists them"))


@router.post("/sso", include_in_schema=False)
@router.get("/sso", summary="Alerts of a Solar System object, newest first")
def sso(
    request: Request, given: Given, designation: Annotated[str | None, Query(description="number or designation (Fink: n_or_d)")] = None,
    columns: Columns = None, limit: Limit = None, offset: Offset = 0, format: FormatName = "json",
) -> Response:  # fmt: skip
    """As the survey names the object, in upper or lower case."""
    name = given.needed("designation")
    return page(history(request).sso(name, public_only=public_only(request)), given, request, 1000, name)


@router.post("/cutouts", include_in_schema=False)
@router.get("/cutouts", summary="A cutout of an alert as PNG, FITS or numbers")
def cutout(
    request: Request, given: Given, alert_id: AlertId = None,
    object_id: Annotated[str | None, Query(description="instead: the newest alert of an object (Fink: objectId, diaObjectId)")] = None,
    kind: Annotated[str, Query(description="science, template, difference; or all, with format=array")] = "science",
    survey: SurveyName = None, format: Annotated[str, Query(description="PNG, FITS or array (Fink: output-format)")] = "PNG",
    stretch: Annotated[str, Query(description=", ".join(cutouts.STRETCHES))] = "asinh",
    colormap: Annotated[str, Query(description=", ".join(cutouts.COLORMAPS))] = "gray",
    pmin: Annotated[float, Query(description="percentile shown darkest")] = 0.5, pmax: Annotated[float, Query(description="percentile shown brightest")] = 99.5,
    scale: Annotated[int, Query(ge=1, le=16, description="screen pixels a pixel")] = 1,
) -> Response:  # fmt: skip
    """North is not rotated up: pixels as the survey sends them, first row at the bottom."""
    wanted, made = given.one_of("kind", (*cutouts.KINDS, "all"), "science"), given.one_of("format", ("png", "fits", "array"), "png")
    if wanted == "all" and made != "array":
        raise ConfigError(f"kind is 'all' with format {made}; expected format=array, or one kind")
    stretched: Any = given.one_of("stretch", cutouts.STRETCHES, "asinh")
    colours = given.one_of("colormap", tuple(cutouts.COLORMAPS), "gray")
    low, high, size = given.number("pmin", 0.5), given.number("pmax", 99.5), given.count("scale", 1, 16)
    if not 0 <= low < high <= 100:
        raise ConfigError(f"pmin {low:g}, pmax {high:g}; expected 0 <= pmin < pmax <= 100")
    alert_id, survey = given.text("alert_id"), given.text("survey")
    if not alert_id and "object_id" in given:
        survey, rows = find_object(request, given.needed("object_id"), survey)
        alert_id = rows[0]["alert_id"]
    row, files = visible_alert(request, alert_id or given.needed("alert_id"), survey)
    found = request.app.state.cutouts.of(request.app.state.surveys[row["survey"]], row["alert_id"], files)
    kept = {"Cache-Control": "private, max-age=86400"}
    if wanted == "all":
        return JSONResponse({one: cutouts.numbers(fits) for one, fits in found.items()}, headers=kept)
    if wanted not in found:
        raise NotFound(f"alert {row['alert_id']} has no {wanted} cutout; it has {', '.join(found) or 'none'}")
    if made == "fits":
        headers = {"Content-Disposition": f'attachment; filename="{row["alert_id"]}_{wanted}.fits"', **kept}
        return Response(found[wanted], media_type="application/fits", headers=headers)
    if made == "array":
        return JSONResponse(cutouts.numbers(found[wanted]), headers=kept)
    return Response(cutouts.png(cutouts.pixels(found[wanted]), stretched, low, high, size, colours), media_type="image/png", headers=kept)


@router.get("/statistics", summary="Counts of each survey and night")
def statistics(
    request: Request, given: Given, date: Annotated[str | None, Query(description="only nights that begin so: YYYY, YYYYMM or YYYYMMDD (as Fink)")] = None,
    survey: SurveyName = None, columns: Columns = None, format: FormatName = "json",
) -> Response:  # fmt: skip
    """Newest night first."""
    rows = _of_nights(request, given, "date", request.app.state.broker.statistics())
    return answer(rows, given.format(), given.text("columns"), "nights")


@router.get("/ledger", summary="What became of every alert, by survey and night")
def ledger(
    request: Request, given: Given, night: Annotated[str | None, Query(description="only nights that begin so: YYYY, YYYY-MM or YYYY-MM-DD")] = None,
    survey: SurveyName = None, columns: Columns = None, format: FormatName = "json",
) -> Response:  # fmt: skip
    """Newest night first; `differs` names the sums that do not balance, with the alerts that are still to come, or lost."""
    rows = _of_nights(request, given, "night", request.app.state.broker.ledger())
    return answer(rows, given.format(), given.text("columns"), "ledger")


def _of_nights(request: Request, given: Asked, argument: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the nights and the survey that are asked for."""
    begin, name = (given.text(argument) or "").replace("-", ""), known_survey(request, given.text("survey"))
    if begin and not begin.isdigit():
        raise ConfigError(f"{argument} is '{given.text(argument)}'; expected YYYYMMDD or YYYY-MM-DD, or the beginning of one")
    return [row for row in rows if row["night"].startswith(begin) and name in (None, row["survey"])]


@router.get("/topics", summary="Substream topics with their filters and number of messages")
def topics(request: Request, given: Given, format: FormatName = "json") -> Response:
    """One row a filter and survey."""
    return answer(request.app.state.broker.topics(), given.format(), name="topics")


@router.get("/tags", summary="Substreams by name, as fink-client asks for them")
def tags(request: Request, survey: str = "lsst") -> dict[str, dict[str, str]]:
    """{name: {description}}."""
    return {row["filter"]: {"description": row["summary"]} for row in request.app.state.broker.topics() if row["survey"] == survey}


@router.get("/classes", summary="Topics by survey, for Fink's argument class")
def classes(request: Request) -> dict[str, list[str]]:
    """{survey: [topic]}."""
    found: dict[str, list[str]] = {}
    for row in state.topics_of(request.app.state.settings):
        found.setdefault(row["survey"], []).append(row["topic"])
    return found


@router.get("/status", summary="Services, jobs, lag, disk")
def status(request: Request) -> dict[str, Any]:
    """As on the status page."""
    return request.app.state.broker.status()


@router.get("/schema", summary="Schema versions of a survey, or one schema")
def schema(request: Request, survey: str = "ztf", version: str | None = None) -> Any:
    """Without a version: the versions with their fingerprints."""
    known_survey(request, survey)
    libraries: dict[str, SchemaLibrary] = request.app.state.libraries
    if survey not in libraries:
        libraries[survey] = SchemaLibrary.load(request.app.state.settings.schemas_path, survey)
    library = libraries[survey]
    if version:
        return json.loads(library.by_version(version).source)
    return [{"survey": survey, "version": one.version, "fingerprint": one.fingerprint, "confluent_id": one.confluent_id} for one in library.schemas]
