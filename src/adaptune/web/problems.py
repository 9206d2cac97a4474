"""What goes wrong becomes one shape of JSON, without stack traces. Knows no kind of error but the general ones."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Scope

MOST_FAULTS = 5
"""Of one request that are told."""
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "request_timeout",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    499: "client_closed_request",
    503: "unavailable_error",
}


class Problem(BaseModel):
    """What was wrong."""

    message: str
    """What is wrong, what was expected, what to do."""
    type: str
    code: int
    """The HTTP status."""
    request_id: str
    """By which the server's log knows the request."""


class Refused(BaseModel):
    """Every answer that is not a success."""

    error: Problem


def problem(status: int, message: str, scope: Scope, headers: dict[str, str] | None = None) -> JSONResponse:
    """The response for an error."""
    # Lone surrogates are valid in JSON's escapes, and in no encoding.
    message = message.encode("utf-8", "replace").decode()
    told = Problem(
        message=message, type=TYPES.get(status, "server_error"), code=status, request_id=request_id_of(scope)
    )
    return JSONResponse({"error": told.model_dump()}, status_code=status, headers=headers)


def request_id_of(scope: Scope) -> str:
    """As the access log has it."""
    return str(scope.get("state", {}).get("request_id", ""))


def add_general_handlers(app: FastAPI) -> None:
    """Let the app answer what any app may meet in the one shape."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(Exception, _unforeseen)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), request.scope, dict(error.headers or {}))


def _malformed(request: Request, error: Exception) -> JSONResponse:
    """What was sent is not repeated: it may be long, or confidential."""
    assert isinstance(error, RequestValidationError)
    faults = [_fault(fault) for fault in error.errors()]
    more = len(faults) - MOST_FAULTS
    told = "; ".join(faults[:MOST_FAULTS]) + (f"; and {more} more" if more > 0 else "")
    return problem(422, told, request.scope)


def _fault(fault: dict[str, Any]) -> str:
    where = ".".join(str(part)[:50] for part in fault["loc"])
    return f"{where}: {fault['msg'][:200]}"


def _unforeseen(request: Request, _error: Exception) -> JSONResponse:
    """The stack trace is in the server's log alone."""
    return problem(500, "the server failed; its log says more under this request's id", request.scope)
