"""GET, PUT and DELETE /v1/bundles, and /v1/models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from adaptune.bundle.inputs import text_columns
from adaptune.serve.access import Admin, Asking, TheService
from adaptune.serve.access_log import note
from adaptune.serve.answers import SEVERAL
from adaptune.serve.asked import Asked
from adaptune.serve.paths import below
from adaptune.serve.registered import BASE, NAME, VERSION, Registered, ServedTask
from adaptune.serve.service import Service

Name = Annotated[str, Path(pattern=f"^{NAME}$")]
NameOrVersion = Annotated[str, Path(pattern=f"^{NAME}(@{VERSION})?$")]

router = APIRouter(tags=["bundles"])


class Load(Asked):
    """Where a bundle lies."""

    folder: str = Field(min_length=1, max_length=1000)
    """Below the server's folder of bundles."""


class ColumnShown(BaseModel):
    """One column of an input."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    help: str
    needed: bool
    """Whether every input fills it: a bare text stands for the one that is needed where there is no other."""
    several: bool
    """Whether it holds a list of texts."""


class TaskShown(BaseModel):
    """One of several tasks of a bundle."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    task: str
    labels: list[str]
    columns: list[ColumnShown]
    """What an input may hold."""
    scores: dict[str, dict[str, float]]
    """By split, as measured after training."""


class BundleShown(BaseModel):
    """One version of a bundle."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    version: str
    task: str
    """`several` where there is more than one."""
    method: str
    labels: list[str]
    columns: list[ColumnShown]
    """What an input may hold."""
    created: str
    hot: bool
    """Whether it is in memory now; it is read from disk when it is asked for."""
    scores: dict[str, dict[str, float]]
    """By split, as measured after training."""
    tasks: dict[str, TaskShown]
    """Where there is more than one: each by its name. Labels, columns and scores above are then empty."""
    other_versions: list[str]
    """Still to be had as `name@version`, the oldest first."""


class BundleList(BaseModel):
    """All bundles, by name."""

    bundles: list[BundleShown]


class Removed(BaseModel):
    """What is no longer served."""

    removed: list[str]


class Model(BaseModel):
    """A bundle, or the base, as OpenAI's API lists models."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "adaptune"


class ModelList(BaseModel):
    """The base, then every bundle."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/v1/models")
async def models(service: TheService, _: Asking) -> ModelList:
    """Everything that can be asked."""
    found = [service.pool.find(name) for name in service.pool.names()]
    listed = [Model(id=one.name, created=int(datetime.fromisoformat(one.created).timestamp())) for one in found]
    return ModelList(data=[Model(id=BASE, created=0, owned_by=service.pool.backbone.name), *listed])


@router.get("/v1/bundles")
async def bundles(service: TheService, _: Asking) -> BundleList:
    """Every bundle in the version that its name now means."""
    return BundleList(bundles=[_shown(service, service.pool.find(name)) for name in service.pool.names()])


@router.get("/v1/bundles/{name}")
async def bundle(name: NameOrVersion, service: TheService, _: Asking) -> BundleShown:
    """One bundle."""
    return _shown(service, service.pool.find(name))


@router.put("/v1/bundles/{name}")
async def load(request: Request, name: Name, asked: Load, service: TheService, _: Admin) -> BundleShown:
    """Load a bundle, or a new version of one: checked first, then the name is its own from one request to the next."""
    found = await service.load(below(request.app.state.config.root, asked.folder), name)
    note(request.scope, bundle=found.name, version=found.version)
    return _shown(service, found)


@router.delete("/v1/bundles/{name}")
async def remove(request: Request, name: NameOrVersion, service: TheService, _: Admin) -> Removed:
    """Serve a bundle, or one version of it, no longer; its folder stays."""
    gone = await service.remove(name)
    note(request.scope, bundle=name)
    return Removed(removed=[one.full_name for one in gone])


def _shown(service: Service, found: Registered) -> BundleShown:
    versions = service.pool.versions_of(found.name)
    shown = {
        one.name: TaskShown(
            task=one.task.name, labels=list(one.labels.names), columns=_columns(one), scores=_plain(one)
        )
        for one in found.tasks
        if one.name is not None
    }
    only = None if shown else found.of(None)
    return BundleShown(
        name=found.name,
        version=found.version,
        task=SEVERAL if only is None else only.task.name,
        method=found.method.name,
        labels=[] if only is None else list(only.labels.names),
        columns=[] if only is None else _columns(only),
        created=found.created,
        hot=service.pool.is_hot(found),
        scores={} if only is None else _plain(only),
        tasks=shown,
        other_versions=[one.version for one in versions if one is not found],
    )


def _columns(task: ServedTask) -> list[ColumnShown]:
    needed = text_columns(task.task, task.columns)
    return [
        ColumnShown(name=one.name, help=one.help, needed=one.name in needed, several=one.several)
        for one in task.task.columns
        if not one.label
    ]


def _plain(task: ServedTask) -> dict[str, dict[str, float]]:
    return {split: dict(values) for split, values in task.scores.items()}
