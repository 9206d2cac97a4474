"""/health, /ready, /metrics: for those who watch the server; no key is asked for."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from adaptune.serve.access import TheService
from adaptune.serve.batcher import Closing

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """That the process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """That requests are taken."""

    status: Literal["ready"] = "ready"
    bundles: int


@router.get("/health")
async def health() -> Health:
    """Whether the process lives."""
    return Health()


@router.get("/ready")
async def ready(service: TheService) -> Ready:
    """Whether it takes requests; 503 while it shuts down."""
    if service.stopping or service.batcher.is_closing:
        raise Closing("this server is shutting down; ask another")
    return Ready(bundles=len(service.pool.names()))


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)
