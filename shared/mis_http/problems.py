"""Every failure that reaches FastAPI leaves as problem+json, never in the framework's own error shape."""

from collections.abc import Sequence
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from mis_http.conflicts import refusal_behind
from mis_tenancy.error_responses import problem_body
from mis_tenancy.errors import (
    BodyMalformed,
    BodyTooLarge,
    InternalError,
    MethodNotAllowed,
    ProblemError,
    RouteNotFound,
    UnsupportedMediaType,
    ValidationFailed,
)
from mis_tenancy.fastapi import tenancy_of

log = structlog.get_logger(__name__)

_BY_STATUS: dict[int, type[ProblemError]] = {
    400: BodyMalformed,
    404: RouteNotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
    415: UnsupportedMediaType,
}
_LENGTHS: Final = {"too_short": ("least", "min_length"), "too_long": ("most", "max_length")}
# Whoever writes a body of mistakes is told of some, and not sent back ten times what he wrote.
_MOST_TOLD: Final = 100
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class FieldProblem(BaseModel):
    """One field that does not fit."""

    field: str
    code: str
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457); further members depend on `code`."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    requestId: str  # the name on the wire
    errors: list[FieldProblem] | None = None


class PartProblem(BaseModel):
    """What is wrong with one part of a request; further members depend on `code`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldProblem] | None = None


def problems(*refusals: type[ProblemError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an endpoint that may refuse so, for OpenAPI."""
    listed: dict[int | str, dict[str, Any]] = {}
    told: tuple[type[ProblemError], ...] = (*refusals, ValidationFailed)
    for refusal in told:
        entry = listed.setdefault(
            refusal.status, {"model": Problem, "content": {"application/problem+json": {}}, "description": ""}
        )
        entry["description"] = ", ".join(filter(None, (entry["description"], f"`{refusal.code}`")))
    return listed


def problem_response(error: ProblemError, request: Request) -> Response:
    """Return `error` as the answer to `request`."""
    headers = {"cache-control": "no-store", **error.headers}
    return Response(
        problem_body(error, request.scope),
        status_code=error.status,
        headers=headers,
        media_type="application/problem+json",
    )


def bare_problem(error: ProblemError) -> dict[str, Any]:
    """Return `error` as the problem of one part of a request, without what belongs to the whole of it."""
    problem = error.document("", "")
    del problem["instance"], problem["requestId"]
    return problem


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every refusal, validation error, unknown route and defect of `app` with problem+json."""
    app.add_exception_handler(ProblemError, _refused)
    app.add_exception_handler(RequestValidationError, _unfit)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(Exception, _defect)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101  # Starlette hands over what was registered
    return _counted(error, request)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # as above
    if isinstance(error.__cause__, ProblemError):
        # FastAPI wraps whatever is raised while it reads a body, a body past its limit too.
        return _counted(error.__cause__, request)
    kind = _BY_STATUS.get(error.status_code, InternalError)
    # The router names the methods of the first route at the path only, where each method has its own route.
    headers = {"Allow": ", ".join(_methods_at(request))} if kind is MethodNotAllowed else error.headers
    return _counted(kind(headers=headers), request)


def _methods_at(request: Request) -> list[str]:
    """Return the methods that the path of `request` takes, HEAD where it takes GET."""
    taken = [method for method in _METHODS if _is_taken(request, method)]
    return [*taken, "HEAD"] if "GET" in taken and "HEAD" not in taken else taken


def _is_taken(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)


async def _database(request: Request, error: Exception) -> Response:
    refusal = refusal_behind(error)
    if isinstance(refusal, InternalError):
        raise error
    return _counted(refusal, request)


async def _defect(request: Request, error: Exception) -> Response:
    log.error("request.failed", exc_info=error)
    return _counted(InternalError(), request)


async def _unfit(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # as above
    return _counted(refusal_of(error.errors(), request), request)


def _counted(error: ProblemError, request: Request) -> Response:
    """Answer with `error` and count it, as the middleware counts its own refusals."""
    tenancy_of(request).metrics.refused(error.code)
    return problem_response(error, request)


def refusal_of(errors: Sequence[Any], request: Request) -> ProblemError:
    """Return what validation errors mean: a wrong content type, broken JSON, or fields that do not fit."""
    in_body = any(error["loc"][:1] == ("body",) for error in errors)
    if in_body and not _says_json(request) and request.headers.get("content-length", "0") != "0":
        return UnsupportedMediaType()
    if any(error["type"] == "json_invalid" for error in errors):
        return BodyMalformed()
    return ValidationFailed([field_problem(error) for error in errors[:_MOST_TOLD]])


def field_problem(error: Any) -> dict[str, str]:
    """Return pydantic's error as `{field, code, message}`, without the value that was sent."""
    path = [str(part) for part in error["loc"]]
    field = ".".join(path[1:] if len(path) > 1 and path[0] in ("body", "query", "path", "header") else path)
    return {"field": field, "code": str(error["type"]), "message": _message(error)}


def _message(error: Any) -> str:
    """Return what pydantic says, but of a text's length, which it counts in items."""
    if error["type"] not in _LENGTHS or not isinstance(error["input"], str):
        return str(error["msg"])
    bound, name = _LENGTHS[error["type"]]
    count = error["ctx"][name]
    return f"takes at {bound} {count} character{'' if count == 1 else 's'}"


def _says_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
