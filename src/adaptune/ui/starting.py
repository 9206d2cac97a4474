"""POST: what is done with runs and recipes: check, write, start, resume, stop."""

from __future__ import annotations

import os
import secrets
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from adaptune.core.config import Config
from adaptune.core.errors import AdaptuneError
from adaptune.core.files import write_atomically
from adaptune.core.run_folder import RunDir
from adaptune.recipe import recipe_in
from adaptune.recipe.source import read_plain, write_plain
from adaptune.ui.asked import jobs_of, places_of
from adaptune.ui.drafts import draft_of
from adaptune.ui.reading import job_record

LONGEST = 200_000
"""Characters of a recipe."""
DRAFT = Path("runs/draft")
"""Where the run of a text without a name would lie, to check the text."""

router = APIRouter()


class Conflict(AdaptuneError):
    """What is asked for does not fit the state that a run is in."""


class Text(Config):
    """A recipe as it stands in the editor."""

    text: str = Field(max_length=LONGEST)


class Values(Config):
    """A recipe as it stands in the form."""

    values: dict[str, Any]


class Start(Text):
    """A run to begin."""

    name: str
    overwrite: bool = False


class Named(Config):
    """A run."""

    name: str


class Asked(Config):
    """A job."""

    id: str


@router.post("/api/check")
def check(asked: Text) -> dict[str, Any]:
    """What a text says, and everything that is wrong with it."""
    found = draft_of(asked.text, DRAFT)
    return {"values": found.values, "faults": [asdict(fault) for fault in found.faults]}


@router.post("/api/write")
def write(asked: Values) -> dict[str, str]:
    """Values as a text."""
    return {"text": write_plain(asked.values)}


@router.post("/api/start")
def start(request: Request, asked: Start) -> dict[str, Any]:
    """Begin a run, or let it wait until those before it are over. Raises RecipeError, AdaptuneError."""
    places, jobs = places_of(request), jobs_of(request)
    out = places.new_run(asked.name)
    recipe_in(asked.text, out)
    if (named := read_plain(asked.text).get("out")) is not None:
        out = places.own_out(Path(str(named)))
    name = places.name_of(out)
    run = RunDir(out)
    if run.at_work is not None:
        raise Conflict(f"{name} is running; stop it first, or choose another name")
    if run.environment.exists() and not asked.overwrite:
        raise Conflict(f"there is a run {name} already; choose another name, or let this one replace it")
    recipe = places.own / "recipes" / f"{secrets.token_hex(8)}.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(recipe, asked.text)
    return job_record(jobs.add(name, recipe, out, overwrite=asked.overwrite))


@router.post("/api/resume")
def resume(request: Request, asked: Named) -> dict[str, Any]:
    """Go on with a run that was interrupted. Raises AdaptuneError."""
    places, jobs = places_of(request), jobs_of(request)
    path = places.run(asked.name)
    run = RunDir(path)
    if run.at_work is not None:
        raise Conflict(f"{asked.name} is running")
    if run.state != "unfinished":
        raise Conflict(f"{asked.name} has no checkpoint to go on from; start it again")
    jobs.await_end(asked.name)
    return job_record(jobs.add(asked.name, run.recipe, path, resume=True))


@router.post("/api/stop")
def stop(request: Request, asked: Named) -> dict[str, Any]:
    """Ask the process of a run to save and end, as Ctrl-C would. Raises AdaptuneError."""
    places, jobs = places_of(request), jobs_of(request)
    begun = next((job for job in jobs.of(asked.name) if job.state == "running"), None)
    working = begun.process if begun is not None else RunDir(places.run(asked.name)).at_work
    if working is None or not working.alive:
        raise Conflict(f"no process is at work in {asked.name}")
    asked_to_stop: set[tuple[int, float]] = request.app.state.asked_to_stop
    if (working.pid, working.began) in asked_to_stop:  # a second signal would end it without saving
        raise Conflict(f"{asked.name} was asked to stop; it saves what it has learned, and ends after its step")
    try:
        os.kill(working.pid, signal.SIGTERM)
    except PermissionError:
        raise Conflict(f"process {working.pid} belongs to another user of this machine") from None
    except ProcessLookupError:
        raise Conflict(f"no process is at work in {asked.name}") from None
    asked_to_stop.add((working.pid, working.began))
    return {"pid": working.pid}


@router.post("/api/remove")
def remove(request: Request, asked: Asked) -> dict[str, Any]:
    """Take back a run that still waits, or forget one that ended. Raises AdaptuneError."""
    jobs_of(request).remove(asked.id)
    return {}
