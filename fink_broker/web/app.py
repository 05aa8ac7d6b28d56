"""The FastAPI application: errors of one shape, the API under /api/v1, the pages beside it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from fink_broker.errors import ConfigError, FinkError, Unavailable
from fink_broker.history import History
from fink_broker.lake import Lake
from fink_broker.log import Logger
from fink_broker.settings import Settings
from fink_broker.survey import load_surveys
from fink_broker.web import api, pages
from fink_broker.web.cutouts import Cutouts
from fink_broker.web.state import State

HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
log = Logger("web")


def create_app(settings: Settings) -> FastAPI:
    """The gateway for some settings; HBase is reached at the first request."""
    app = FastAPI(title="Fink broker", version=version("fink-broker"), docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    app.state.settings, app.state.history, app.state.cutouts = settings, History(settings), Cutouts(Lake(settings))
    app.state.broker = State(settings)
    app.state.surveys, app.state.libraries = load_surveys(settings.schemas_path), {}
    app.include_router(api.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")

    @app.exception_handler(FinkError)
    def ours(request: Request, error: FinkError) -> Response:
        code = 404 if isinstance(error, LookupError) else 503 if isinstance(error, Unavailable) else 422 if isinstance(error, ConfigError) else 500
        return told(request, code, type(error).__name__, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return told(request, 422, "BadParameter", f"{first['loc'][-1]}: {first['msg']}; see /docs")

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> Response:
        return told(request, error.status_code, "HTTPException", f"{error.detail}; see /docs")

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> Response:
        log.error("request failed", path=request.url.path, cause=f"{type(error).__name__}: {error}")
        return told(request, 500, "InternalError", "the gateway failed at this request; its log says why, please tell the operator")

    @app.middleware("http")
    async def secured(request: Request, call_next):  # type: ignore[no-untyped-def]
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    return app


def told(request: Request, code: int, kind: str, message: str) -> Response:
    """An error as JSON, or as a page for a browser."""
    path = request.url.path
    if path.startswith("/api/") or path.endswith(".json") or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": {"type": kind, "message": message}}, status_code=code)
    headings = {404: "Not found", 422: "That cannot be asked", 503: "Not available now"}
    values = {"heading": headings.get(code, "That did not work"), "message": message}
    return pages.templates.TemplateResponse(request, "error.html", values, status_code=code)
