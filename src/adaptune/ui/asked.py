"""What every route of the page has at hand."""

from __future__ import annotations

from fastapi import Request

from adaptune.ui.jobs import Jobs
from adaptune.ui.places import Places


def places_of(request: Request) -> Places:
    """Where the runs are."""
    places: Places = request.app.state.places
    return places


def jobs_of(request: Request) -> Jobs:
    """What the page started."""
    jobs: Jobs = request.app.state.jobs
    return jobs
