"""The HTTP application around one folder of runs: routes, guard, errors. Opens no port."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

import adaptune
from adaptune.core.errors import AdaptuneError, RecipeError
from adaptune.ui import page, reading, starting
from adaptune.ui.drafts import faults_of
from adaptune.ui.guard import Guard
from adaptune.ui.jobs import Jobs
from adaptune.ui.places import NotThere, Places
from adaptune.ui.starting import Conflict
from adaptune.web.problems import TYPES, add_general_handlers, problem


def make_app(places: Places, *, host: str = "127.0.0.1", token: str | None = None) -> FastAPI:
    """The application; `token` where it is not one that nobody knows."""
    token = token or secrets.token_urlsafe(24)
    jobs = Jobs(places.own, places.here)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        jobs.open()
        try:
            yield
        finally:
            jobs.close()

    app = FastAPI(
        title="adaptune ui",
        version=adaptune.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.places, app.state.jobs, app.state.token, app.state.asked_to_stop = places, jobs, token, set()
    for module in (page, reading, starting):
        app.include_router(module.router)
    app.add_exception_handler(AdaptuneError, _ours)
    add_general_handlers(app)
    app.add_middleware(Guard, token=token, host=host)
    return app


def _ours(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RecipeError):
        faults = [asdict(fault) for fault in faults_of(error)]
        told = {"message": str(error), "type": TYPES[422], "code": 422, "request_id": ""}
        return JSONResponse({"error": told, "faults": faults}, 422)
    status = 404 if isinstance(error, NotThere) else 409 if isinstance(error, Conflict) else 400
    return problem(status, str(error), request.scope)
