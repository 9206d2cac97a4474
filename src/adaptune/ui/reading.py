"""GET: what there is to see of runs and recipes. Changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

import adaptune
from adaptune.core.run_folder import RunDir, read_record
from adaptune.history.found import recipe_of
from adaptune.recipe import schema
from adaptune.ui.asked import jobs_of, places_of
from adaptune.ui.curves import Part, read_part, steps_in
from adaptune.ui.drafts import differences
from adaptune.ui.jobs import Job
from adaptune.ui.places import NotThere, Places
from adaptune.ui.summary import Summary, runs_below, summary_of

MOST_COMPARED = 6
SEALED = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; font-src data:",
    "Referrer-Policy": "no-referrer",
}
"""A report is a file that may come from anyone: it can draw, but reach neither this page nor anything else."""

router = APIRouter()


@router.get("/api/about")
def about(request: Request) -> dict[str, Any]:
    """Which folder is shown, and the token without which nothing can be done."""
    places = places_of(request)
    return {
        "version": adaptune.__version__,
        "folder": places.shown(places.runs) or ".",
        "here": str(places.here),
        "token": request.app.state.token,
    }


@router.get("/api/runs")
def runs(request: Request) -> dict[str, Any]:
    """Every run, and what was asked for and has not ended well."""
    places, jobs = places_of(request), jobs_of(request)
    found = [summary_record(places, one) for one in runs_below(places.runs)]
    known = {one["name"] for one in found}
    open_jobs = [job for job in jobs.all() if job.state != "ended" or (job.run not in known and job.code != 0)]
    return {"runs": found, "jobs": [job_record(job) for job in open_jobs]}


@router.get("/api/run")
def run(request: Request, name: str) -> dict[str, Any]:
    """All of one run but its curves; of one that has no folder yet what its process says."""
    places, jobs = places_of(request), jobs_of(request)
    asked = [job_record(job) for job in jobs.of(name)]
    try:
        path = places.run(name)
    except NotThere:
        if not asked:
            raise
        return {"run": None, "jobs": asked, "log": jobs.log(name)}
    return {
        "run": summary_record(places, summary_of(path)),
        "report": read_record(RunDir(path).report),
        "failure": read_record(RunDir(path).failure).get("error"),
        "recipe": places.recipe_of_run(name),
        "planned": planned(recipe_of(path)),
        "html": (path / "report.html").is_file(),
        "bundle": places.shown(RunDir(path).bundle) if RunDir(path).bundle.is_dir() else None,
        "jobs": asked,
        "log": jobs.log(name),
    }


@router.get("/api/live")
def live(request: Request, name: str, steps: str = "", scores: str = "") -> dict[str, Any]:
    """What a run has logged since the cursors that an earlier answer gave."""
    places, jobs = places_of(request), jobs_of(request)
    folder = RunDir(places.run(name))
    return {
        "run": summary_record(places, summary_of(folder.path)),
        "steps": _part_record(steps_in(read_part(folder.steps, steps))),
        "scores": _part_record(read_part(folder.scores, scores)),
        "jobs": [job_record(job) for job in jobs.of(name)],
        "log": jobs.log(name),
    }


@router.get("/api/compare")
def compare(request: Request, run: Annotated[list[str], Query(max_length=MOST_COMPARED)]) -> dict[str, Any]:
    """Chosen runs side by side: summaries, curves, and in which values their recipes differ."""
    places = places_of(request)
    folders = [RunDir(places.run(name)) for name in run]
    rows = differences([recipe_of(folder.path) for folder in folders])
    return {
        "runs": [
            summary_record(places, summary_of(folder.path))
            | {
                "steps": list(steps_in(read_part(folder.steps)).records),
                "scores": list(read_part(folder.scores).records),
            }
            for folder in folders
        ],
        "differences": [{"path": path, "values": values} for path, values in rows],
    }


@router.get("/api/schema")
def recipe_schema() -> dict[str, Any]:
    """What a recipe can say, field by field."""
    return schema()


@router.get("/api/recipes")
def recipes(request: Request) -> dict[str, Any]:
    """The recipe files that can be begun with."""
    places = places_of(request)
    return {"recipes": [places.shown(file) for file in places.recipes()]}


@router.get("/api/recipe")
def recipe(request: Request, file: str | None = None, run: str | None = None) -> dict[str, str]:
    """The text of a recipe file, or of a run's recipe."""
    places = places_of(request)
    return {"text": places.recipe_of_run(run) if run is not None else places.recipe(file or "")}


@router.get("/report")
def report(request: Request, name: str) -> Response:
    """The report that lies in a run's folder, sealed off."""
    file = places_of(request).run(name) / "report.html"
    if not file.is_file() or file.is_symlink():
        raise NotThere(f"the run {name[:100]!r} has no report.html")
    return Response(file.read_bytes(), media_type="text/html; charset=utf-8", headers=SEALED)


def summary_record(places: Places, found: Summary) -> dict[str, Any]:
    """As JSON, with its name in place of its path."""
    record = asdict(found) | {"name": places.name_of(found.path), "begun": found.begun.isoformat(timespec="seconds")}
    del record["path"]
    return record


def job_record(job: Job) -> dict[str, Any]:
    """What the page shows of a job."""
    return {
        "id": job.id,
        "run": job.run,
        "state": job.state,
        "code": job.code,
        "asked": job.asked,
        "resume": job.resume,
    }


def planned(sections: dict[str, Any]) -> dict[str, Any]:
    """What ends a training: for the time that is left."""
    train = sections.get("train")
    return {name: (train or {}).get(name) for name in ("epochs", "max_steps", "max_seconds")}


def _part_record(part: Part) -> dict[str, Any]:
    return {"records": list(part.records), "cursor": part.cursor, "reset": part.reset}
