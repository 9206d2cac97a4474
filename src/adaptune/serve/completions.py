"""POST /v1/completions and /v1/chat/completions, as OpenAI's API has them: `model` names a bundle that writes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, field_validator

from adaptune.bundle.inputs import Input
from adaptune.core.errors import DataError
from adaptune.serve.access import Asking, TheService
from adaptune.serve.access_log import note
from adaptune.serve.asked import Asked, BundleName, Text
from adaptune.serve.disconnect import while_connected
from adaptune.serve.registered import Registered
from adaptune.serve.service import Completed, Service

Stop = Annotated[list[Text], Field(max_length=4)]
Finish = Literal["stop", "length"]

router = APIRouter(tags=["texts"])


class Writing(Asked):
    """How a text is to be written; what is not said is as the bundle was trained."""

    model: BundleName
    """The bundle, or `name@version`."""
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0: the most probable token each time."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: Text | Stop | None = None
    n: Literal[1] = 1
    stream: Literal[False] = False
    user: str | None = None
    """Kept for compatibility; nothing is done with it."""

    @field_validator("stream", mode="before")
    @classmethod
    def _whole(cls, value: object) -> object:
        if value is True:
            raise ValueError("this server gives texts whole; leave `stream` out")
        return value


class Complete(Writing):
    """Prompts for one bundle."""

    prompt: Text | Annotated[list[Text], Field(min_length=1)]


class TextPart(Asked):
    """A part of a message."""

    type: Literal["text"]
    text: str


class Message(Asked):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None
    """Kept for compatibility; nothing is done with it."""

    @property
    def text(self) -> str:
        """Of all its parts."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class Chat(Writing):
    """Turns that wait for a reply."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    """As max_tokens, by its newer name."""


class TextUsage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TextChoice(BaseModel):
    """A text for one prompt."""

    index: int
    text: str
    finish_reason: Finish
    logprobs: None = None


class Completions(BaseModel):
    """One text a prompt, in order."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: TextUsage


class Reply(BaseModel):
    """What the assistant says."""

    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(BaseModel):
    """The reply, and how it ended."""

    index: int
    message: Reply
    finish_reason: Finish
    logprobs: None = None


class ChatCompletion(BaseModel):
    """The reply to a conversation."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TextUsage


@router.post("/v1/completions")
async def complete(request: Request, asked: Complete, service: TheService, _: Asking) -> Completions:
    """A text after each prompt."""
    prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
    found = await _written(request, service, asked, prompts, asked.max_tokens)
    return Completions(
        id=f"cmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=asked.model,
        choices=[
            TextChoice(index=index, text=one.text, finish_reason=one.finish)
            for index, one in enumerate(found.completions)
        ],
        usage=_usage(found),
    )


@router.post("/v1/chat/completions")
async def chat(request: Request, asked: Chat, service: TheService, _: Asking) -> ChatCompletion:
    """The reply to a conversation; of a bundle that reads one text, to the user's one turn."""
    if asked.max_tokens is not None and asked.max_completion_tokens is not None:
        raise DataError("max_tokens and max_completion_tokens say the same; give one of them")
    inputs = [_input(service.pool.find(asked.model), asked.messages)]
    found = await _written(request, service, asked, inputs, asked.max_completion_tokens or asked.max_tokens)
    first = found.completions[0]
    return ChatCompletion(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=asked.model,
        choices=[ChatChoice(index=0, message=Reply(content=first.text), finish_reason=first.finish)],
        usage=_usage(found),
    )


async def _written(
    request: Request, service: Service, asked: Writing, inputs: Sequence[Input], most: int | None
) -> Completed:
    note(request.scope, bundle=asked.model, rows=len(inputs))
    if request.app.state.config.log_texts:
        note(request.scope, inputs=inputs)
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    work = service.complete(asked.model, inputs, most=most, stop=stop, temperature=asked.temperature, top_p=asked.top_p)
    found = await while_connected(request, work)
    note(request.scope, version=found.bundle.version, tokens=found.tokens)
    return found


def _input(bundle: Registered, messages: Sequence[Message]) -> Input:
    """A conversation, for bundles that read one; else its one turn. Raises DataError."""
    if any(column.name == "messages" for column in bundle.task.columns):
        return {"messages": [{"role": message.role, "content": message.text} for message in messages]}
    if len(messages) != 1 or messages[0].role != "user":
        raise DataError(
            f"bundle {bundle.name!r} of the task {bundle.task.name!r} reads one text and no conversation; send one "
            "message, the user's"
        )
    return messages[0].text


def _usage(found: Completed) -> TextUsage:
    written = sum(one.tokens for one in found.completions)
    return TextUsage(prompt_tokens=found.tokens, completion_tokens=written, total_tokens=found.tokens + written)
