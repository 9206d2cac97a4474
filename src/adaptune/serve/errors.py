"""What goes wrong here, and which status each error has."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

from adaptune.core.errors import AdaptuneError, BundleError, DataError, Unsupported
from adaptune.serve.batcher import Busy, Closing, TooLate
from adaptune.serve.pool import UnknownBundle
from adaptune.web.problems import add_general_handlers, problem


class TooMuch(AdaptuneError):
    """A request that asks for more than one request may."""


class UnknownPrediction(AdaptuneError):
    """A request of which nothing is remembered."""


class Unavailable(AdaptuneError):
    """A bundle that cannot be read now, through no fault of the request."""


class Denied(AdaptuneError):
    """A caller who may not do this; `status` is 401 where no valid key came, else 403."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


def status_of(error: AdaptuneError) -> int:
    """The HTTP status that says what kind of error it is."""
    if isinstance(error, Denied):
        return error.status
    kinds: tuple[tuple[type[AdaptuneError], int], ...] = (
        (UnknownBundle, 404),
        (UnknownPrediction, 404),
        (TooMuch, 413),
        (Busy, 429),
        (Closing, 503),
        (TooLate, 503),
        (Unavailable, 503),
        (DataError, 422),
        (BundleError, 422),
        (Unsupported, 422),
    )
    return next((status for kind, status in kinds if isinstance(error, kind)), 400)


def add_handlers(app: FastAPI) -> None:
    """Let the app answer every error in the one shape."""
    app.add_exception_handler(AdaptuneError, _ours)
    add_general_handlers(app)


def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AdaptuneError)
    status = status_of(error)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = str(getattr(error, "after", 1))
    return problem(status, str(error), request.scope, headers)
