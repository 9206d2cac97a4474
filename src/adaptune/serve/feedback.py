"""POST /v1/feedback: what would have been right, kept beside what was said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from adaptune.bundle.inputs import Input
from adaptune.core.errors import DataError, Unsupported
from adaptune.serve.access import Asking, TheService
from adaptune.serve.access_log import note
from adaptune.serve.asked import Asked
from adaptune.serve.corrections import corrected
from adaptune.serve.errors import Unavailable, UnknownPrediction
from adaptune.serve.memory import Memory
from adaptune.serve.pool import Pool, UnknownBundle
from adaptune.serve.registered import ServedTask
from adaptune.serve.store import Correction, Prediction, StoreFault
from adaptune.serve.watch.alerts import moment

T = TypeVar("T")
Line = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$")]
"""A text that every database takes."""

router = APIRouter(tags=["feedback"])


class Feedback(Asked):
    """The right answer to one input of an earlier request."""

    request_id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """As the X-Request-ID of its response has it."""
    row: int = Field(default=0, ge=0, lt=2**31)
    """Which of its inputs, counted from 0."""
    answer: JsonValue
    """What a training row has: a label, several, a tag for each word, a number, a text; or an object by columns."""
    task: str | None = Field(default=None, max_length=300)
    """Of a bundle of several, the one whose answer is corrected."""
    input: str | list[str] | dict[str, JsonValue] | None = None
    """The input itself, where the server keeps no texts."""
    new_label: bool = False
    """Whether the answer may hold labels that the bundle does not know yet."""
    comment: Annotated[Line, Field(max_length=2000)] | None = None
    author: Annotated[Line, Field(max_length=200)] | None = None


class Kept(BaseModel):
    """Feedback that is on the disk."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: int
    time: str
    """UTC, ISO 8601."""
    request_id: str
    row: int
    bundle: str
    version: str
    task: str | None
    given: dict[str, JsonValue]
    """What the bundle had answered; without what quotes the input, where the server keeps no texts."""
    right: dict[str, JsonValue]
    """By the task's columns."""


@router.post("/v1/feedback")
async def feedback(request: Request, asked: Feedback, service: TheService, who: Asking) -> Kept:
    """Keep a correction; what is answered here is on the disk."""
    note(request.scope, corrects=asked.request_id)
    if service.memory is None:
        raise Unsupported("this server remembers no predictions; start it with --store sqlite:///feedback.db")
    memory, seconds = service.memory, service.limits.seconds
    # What others asked, and under which ids, is none of a caller's business.
    key = None if who.admin else who.name
    said = _meant(await _within(memory.find(asked.request_id, asked.row, key), seconds), asked)
    row = corrected(
        _task(service.pool, said), _input(asked, said, memory), asked.answer, row=asked.row, new_label=asked.new_label
    )
    correction = Correction(
        request_id=said.request_id,
        row=said.row,
        bundle=said.bundle,
        version=said.version,
        task=said.task,
        time=time.time(),
        key=who.name,
        author=asked.author,
        comment=asked.comment,
        given=said.answer,
        right=row.right,
        training=row.training,
    )
    number = await _within(memory.correct(correction), seconds)
    service.metrics.feedback.labels(said.bundle).inc()
    return Kept(
        id=number,
        time=moment(correction.time),
        request_id=said.request_id,
        row=said.row,
        bundle=said.bundle,
        version=said.version,
        task=said.task,
        given=said.answer,
        right=row.right,
    )


def _meant(found: Sequence[Prediction], asked: Feedback) -> Prediction:
    """The one prediction that is corrected. Raises UnknownPrediction, DataError."""
    if not found:
        raise UnknownPrediction(
            f"no answer to row {asked.row} of a request {asked.request_id!r} is remembered: it was another server's or "
            "another key's, came too long ago, or could not be written"
        )
    named = [one for one in found if asked.task is None or one.task == asked.task]
    if len(named) == 1:
        return named[0]
    tasks = ", ".join(str(one.task) for one in found if one.task is not None)
    if not tasks:
        raise DataError(f"the bundle has one task, without a name, and not {asked.task!r}; leave `task` out")
    raise DataError(f"the request was answered by several tasks; say in `task` which answer is meant: {tasks}")


def _task(pool: Pool, said: Prediction) -> ServedTask:
    """As the version that answered has it, or the one that its name now means. Raises AdaptuneError."""
    try:
        bundle = pool.find(f"{said.bundle}@{said.version}")
    except UnknownBundle:
        bundle = pool.find(said.bundle)
    return bundle.of(said.task)


def _input(asked: Feedback, said: Prediction, memory: Memory) -> Input:
    """Raises DataError where there is none, or another than was asked."""
    if said.input is None and asked.input is None:
        kept = "this one was asked when the server kept none" if memory.keep_texts else "this server keeps no texts"
        raise DataError(f"`input` is missing, and {kept}; send the input again with the feedback")
    if said.input is not None and asked.input is not None and said.input != asked.input:
        raise DataError("`input` is another than the one that was asked; leave it out: the server has kept it")
    found: Any = said.input if asked.input is None else asked.input
    return found  # type: ignore[no-any-return]


async def _within(work: Awaitable[T], seconds: float) -> T:
    """Raises Unavailable where the database takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise Unavailable("the database of predictions and feedback does not answer; ask again") from None
    except StoreFault as error:
        raise Unavailable(str(error)) from None
