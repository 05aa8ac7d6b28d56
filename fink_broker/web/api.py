"""The REST API under /api/v1; Fink's argument names are taken beside ours."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from fink_broker.errors import ConfigError, NotFound
from fink_broker.history import History
from fink_broker.schema import SchemaLibrary
from fink_broker.settings import Settings
from fink_broker.web import cutouts, state
from fink_broker.web.formats import Format, Row, answer

router = APIRouter(prefix="/api/v1")
ALIASES = {
    "objectId": "object_id", "diaObjectId": "object_id", "candid": "alert_id", "diaSourceId": "alert_id", "output-format": "format",
    "n": "limit", "n_or_d": "designation", "class": "topic", "tag": "topic", "cutout-kind": "kind",
}  # fmt: skip
KindOf = Annotated[Format, Query(description="json, csv, parquet or votable")]
Columns = Annotated[str | None, Query(description="comma list of columns, dotted into module results; none: all")]
Limit = Annotated[int | None, Query(ge=1, description="most rows (Fink: n)")]
Offset = Annotated[int, Query(ge=0, description="rows to leave out first, for paging")]
SurveyName = Annotated[str | None, Query(description="survey; none: any")]


class Asked:
    """The arguments of a request: query and JSON body, Fink's names taken for ours."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = {ALIASES.get(name, name): value for name, value in values.items() if value is not None}

    def text(self, name: str, need: bool = False) -> str | None:
        """A text argument."""
        value = self.values.get(name)
        if value is None and need:
            raise ConfigError(f"argument '{name}' is missing; see /docs")
        return None if value is None else str(value)

    def number(self, name: str, default: float | None = None) -> float:
        """A number."""
        value = self.values.get(name, default)
        try:
            return float(str(value))
        except (TypeError, ValueError):
            raise ConfigError(f"argument '{name}' is {value!r}; expected a number") from None

    def count(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 (0 for offset) to `most`."""
        value = self.number(name, default)
        if value != int(value) or not (0 if name == "offset" else 1) <= value <= most:
            raise ConfigError(f"argument '{name}' is {value:g}; expected a whole number up to {most}")
        return int(value)

    def format(self) -> Format:
        """The format of the answer."""
        kind = self.values.get("format", "json")
        if kind not in ("json", "csv", "parquet", "votable"):
            raise ConfigError(f"format is {kind!r}; expected json, csv, parquet or votable")
        found: Format = kind
        return found


async def asked(request: Request) -> Asked:
    """Arguments of a GET's query or a POST's JSON."""
    values: dict[str, Any] = dict(request.query_params)
    if request.method == "POST" and (body := await request.body()):
        try:
            values |= json.loads(body)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"the body is no JSON object: {error}") from error
    return Asked(values)


def history(request: Request) -> History:
    """The reader of HBase."""
    found: History = request.app.state.history
    return found


def trusted(request: Request) -> bool:
    """Whether the request carries the token that unlocks alerts which are not public."""
    settings: Settings = request.app.state.settings
    token = settings.web.token.get_secret_value()
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    return bool(token) and secrets.compare_digest(given.encode(), token.encode())


def visible(rows: list[Row], request: Request) -> list[Row]:
    """The rows that this request may see."""
    return rows if trusted(request) else [row for row in rows if row.get("public") is True]


def page(rows: list[Row], given: Asked, request: Request, default: int) -> Response:
    """One page of visible rows, in the format asked for; header X-Total-Count tells how many there are."""
    most = request.app.state.settings.web.max_rows
    rows = visible(rows, request)
    start, limit = given.count("offset", 0, 10**9), given.count("limit", default, most)
    made = answer(rows[start : start + limit], given.format(), given.text("columns"))
    made.headers["X-Total-Count"] = str(len(rows))
    return made


@router.post("/objects", include_in_schema=False)
@router.get("/objects", summary="All alerts of one object or several, newest first")
async def objects(
    request: Request, object_id: Annotated[str | None, Query(description="id, or comma list (Fink: objectId, diaObjectId)")] = None,
    survey: SurveyName = None, columns: Columns = None, limit: Limit = None, offset: Offset = 0, format: KindOf = "json",
) -> Response:  # fmt: skip
    """Neutral columns and module results of each alert."""
    given = await asked(request)
    rows: list[Row] = []
    for name in str(given.text("object_id", need=True)).split(","):
        rows += find_object(request, name.strip(), given.text("survey"))[1]
    return page(rows, given, request, request.app.state.settings.web.max_rows)


def find_object(request: Request, object_id: str, survey: str | None) -> tuple[str, list[Row]]:
    """Survey and visible alerts of an object; NotFound when there are none."""
    for name in [survey] if survey else list(request.app.state.surveys):
        try:
            if rows := visible(history(request).object(name, object_id), request):
                return name, rows
        except NotFound:
            continue
    raise NotFound(f"no object {object_id}; check its id, or search by position with /api/v1/conesearch")


@router.get("/lightcurve", summary="All points of an object in time order: detections, forced photometry, upper limits")
def lightcurve(request: Request, object_id: str, survey: SurveyName = None) -> dict[str, list[Any]]:
    """Columns mjd [TAI], band, flux, flux_err [nJy], mag, mag_err, limit_mag [AB], kind."""
    name, _ = find_object(request, object_id, survey)
    return history(request).lightcurve(name, object_id)


@router.get("/alerts/{alert_id}", summary="One alert")
def alert(request: Request, alert_id: str, survey: SurveyName = None) -> Row:
    """Neutral columns and module results."""
    row, _ = history(request).alert(alert_id, survey)
    if not visible([row], request):
        raise NotFound(f"no public alert {alert_id}; a token may show more")
    return row


@router.post("/conesearch", include_in_schema=False)
@router.get("/conesearch", summary="Objects within a radius, nearest first")
async def conesearch(
    request: Request, ra: Annotated[float | None, Query(description="[deg]")] = None, dec: Annotated[float | None, Query(description="[deg]")] = None,
    radius: Annotated[float | None, Query(description="[arcsec], at most 18000")] = None, survey: SurveyName = None, columns: Columns = None,
    limit: Limit = None, offset: Offset = 0, format: KindOf = "json",
) -> Response:  # fmt: skip
    """Each object's newest detection with its separation [arcsec]; the limit is applied after the distance."""
    given = await asked(request)
    where = given.number("ra"), given.number("dec"), given.number("radius", 5.0)
    if not (0 <= where[0] <= 360 and -90 <= where[1] <= 90 and 0 < where[2] <= 18000):
        raise ConfigError(f"ra, dec, radius are {where}; expected 0 to 360, -90 to 90 [deg] and up to 18000 [arcsec]")
    rows = history(request).cone(*where, limit=request.app.state.settings.web.max_rows, survey=given.text("survey"))
    return page(rows, given, request, 1000)


@router.post("/latests", include_in_schema=False)
@router.get("/latests", summary="The newest alerts of a topic")
async def latests(
    request: Request, topic: Annotated[str | None, Query(description="topic, such as fink_pure_ztf (Fink: class)")] = None,
    before_mjd: Annotated[float | None, Query(description="only older ones [MJD TAI], for paging")] = None, columns: Columns = None,
    limit: Limit = None, format: KindOf = "json",
) -> Response:  # fmt: skip
    """Newest first."""
    given = await asked(request)
    before = given.number("before_mjd") if "before_mjd" in given.values else None
    number = given.count("limit", 10, request.app.state.settings.web.max_rows)
    return page(history(request).latest(str(given.text("topic", need=True)), number, before), given, request, number)


@router.post("/sso", include_in_schema=False)
@router.get("/sso", summary="Alerts of a Solar System object, newest first")
async def sso(
    request: Request, designation: Annotated[str | None, Query(description="number or designation (Fink: n_or_d)")] = None,
    columns: Columns = None, limit: Limit = None, offset: Offset = 0, format: KindOf = "json",
) -> Response:  # fmt: skip
    """As the survey names the object."""
    given = await asked(request)
    return page(history(request).sso(str(given.text("designation", need=True))), given, request, 1000)


@router.post("/cutouts", include_in_schema=False)
@router.get("/cutouts", summary="A cutout of an alert as PNG, FITS or numbers")
async def cutout(
    request: Request, alert_id: Annotated[str | None, Query(description="(Fink: candid, diaSourceId)")] = None,
    kind: Annotated[str, Query(description="science, template or difference")] = "science", survey: SurveyName = None,
    format: Annotated[str, Query(description="PNG, FITS or array")] = "PNG", stretch: Annotated[str, Query(description="asinh, linear, sqrt, log")] = "asinh",
    pmin: Annotated[float, Query(description="percentile shown black")] = 0.5, pmax: Annotated[float, Query(description="percentile shown white")] = 99.5,
    scale: Annotated[int, Query(ge=1, le=16, description="screen pixels a pixel")] = 1,
) -> Response:  # fmt: skip
    """North is not rotated up: pixels as the survey sends them."""
    given = await asked(request)
    wanted, made = str(given.text("kind") or "science").lower(), str(given.text("format") or "PNG").lower()
    if wanted not in cutouts.KINDS or made not in ("png", "fits", "array"):
        raise ConfigError(f"kind is '{wanted}', format is '{made}'; expected one of {', '.join(cutouts.KINDS)} and PNG, FITS or array")
    row, files = history(request).alert(str(given.text("alert_id", need=True)), given.text("survey"))
    if not visible([row], request):
        raise NotFound(f"no public alert {row['alert_id']}; a token may show more")
    found = cutouts.fetch(request.app.state.lake, request.app.state.surveys[row["survey"]], row["alert_id"], files)
    if wanted not in found:
        raise NotFound(f"alert {row['alert_id']} has no {wanted} cutout; it has {', '.join(found) or 'none'}")
    if made == "fits":
        headers = {"Content-Disposition": f'attachment; filename="{row["alert_id"]}_{wanted}.fits"'}
        return Response(found[wanted], media_type="application/fits", headers=headers)
    image = cutouts.pixels(found[wanted])
    if made == "array":
        return Response(json.dumps([[None if v != v else v for v in line] for line in image.tolist()]), media_type="application/json")
    stretched = str(given.text("stretch") or "asinh")
    if stretched not in ("asinh", "linear", "sqrt", "log"):
        raise ConfigError(f"stretch is '{stretched}'; expected asinh, linear, sqrt or log")
    low, high, size = given.number("pmin", 0.5), given.number("pmax", 99.5), int(given.number("scale", 1))
    if not (0 <= low < high <= 100 and 1 <= size <= 16):
        raise ConfigError(f"pmin {low:g}, pmax {high:g}, scale {size}; expected 0 <= pmin < pmax <= 100 and a scale of 1 to 16")
    return Response(cutouts.png(image, stretched, low, high, size), media_type="image/png")  # type: ignore[arg-type]


@router.get("/statistics", summary="Counts of each survey and night")
def statistics(request: Request, format: KindOf = "json") -> Response:
    """Newest night first."""
    return answer(state.statistics(request.app.state.settings), format)


@router.get("/topics", summary="Substream topics with their filters and number of messages")
def topics(request: Request, format: KindOf = "json") -> Response:
    """One row a filter and survey."""
    return answer(state.topics(request.app.state.settings), format)


@router.get("/tags", summary="Substreams by name, as fink-client asks for them")
def tags(request: Request, survey: str = "lsst") -> dict[str, dict[str, str]]:
    """{name: {description}}."""
    return {row["filter"]: {"description": row["summary"]} for row in state.topics(request.app.state.settings) if row["survey"] == survey}


@router.get("/status", summary="Services, jobs, lag, disk")
def status(request: Request) -> dict[str, Any]:
    """As on the status page."""
    return state.status(request.app.state.settings)


@router.get("/schema", summary="Schema versions of a survey, or one schema")
def schema(request: Request, survey: str = "ztf", version: str | None = None) -> Any:
    """Without a version: the versions with their fingerprints."""
    library = SchemaLibrary.load(request.app.state.settings.schemas_path, survey)
    if version:
        return json.loads(library.by_version(version).source)
    return [{"survey": survey, "version": one.version, "fingerprint": one.fingerprint, "confluent_id": one.confluent_id} for one in library.schemas]
