"""POST /v1/completions and /v1/chat/completions, as OpenAI's API has them: `model` names a bundle that writes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field, model_validator

from adaptune.bundle.inputs import Input
from adaptune.core.errors import DataError
from adaptune.serve.access import Asking, TheService
from adaptune.serve.access_log import note
from adaptune.serve.asked import Asked, BundleName, Text
from adaptune.serve.disconnect import while_connected
from adaptune.serve.keys import Caller
from adaptune.serve.registered import Registered
from adaptune.serve.remembered import remember
from adaptune.serve.service import Completed, Service
from adaptune.serve.streaming import RESPONSES, stream
from adaptune.serve.texts import (
    ChatChoice,
    ChatCompletion,
    Completions,
    OfChat,
    OfText,
    Reply,
    TextChoice,
    usage_of,
)
from adaptune.serve.writing import Wish

Stop = Annotated[list[Text], Field(max_length=4)]

router = APIRouter(tags=["texts"])


class StreamOptions(Asked):
    """What a stream holds beside the texts."""

    include_usage: bool = False
    """Whether a last chunk says how many tokens were read and written."""
    include_obfuscation: bool = False
    """Kept for compatibility; nothing is done with it."""


class Writing(Asked):
    """How a text is to be written; what is not said is as the bundle was trained."""

    model: BundleName
    """The bundle, or `name@version`."""
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0: the most probable token each time."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of drawn tokens: the same request is answered alike, whatever others ask meanwhile."""
    stop: Text | Stop | None = None
    n: Literal[1] = 1
    stream: bool = False
    """Whether the text comes in parts, while it is written."""
    stream_options: StreamOptions | None = None
    user: str | None = None
    """Kept for compatibility; nothing is done with it."""

    @model_validator(mode="after")
    def _streams(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options say how a stream reads; ask for one with `stream`, or leave them out")
        return self

    @property
    def usage(self) -> bool:
        """Whether a stream tells its usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def wish(self, most: int | None) -> Wish:
        """What is said of the text, `most` tokens long."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Wish(most, stop, self.temperature, self.top_p, self.seed)


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
    def as_learned(self) -> str:
        """The role as data names it: `developer` is OpenAI's newer name of `system`."""
        return "system" if self.role == "developer" else self.role

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


@router.post("/v1/completions", response_model=Completions, responses=RESPONSES)
async def complete(request: Request, asked: Complete, service: TheService, who: Asking) -> Completions | Response:
    """A text after each prompt."""
    prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
    wish, id_ = asked.wish(asked.max_tokens), f"cmpl-{uuid.uuid4().hex}"
    _note(request, asked, prompts)
    keep = partial(_keep, request, who, service, prompts)
    if asked.stream:
        pieces = service.stream(asked.model, prompts, wish)
        return await stream(request, pieces, OfText(id_, asked.model), keep, usage=asked.usage)
    found = await _written(request, service.complete(asked.model, prompts, wish))
    keep(found)
    return Completions(
        id=id_,
        created=int(time.time()),
        model=asked.model,
        choices=[
            TextChoice(index=index, text=one.text, finish_reason=one.finish)
            for index, one in enumerate(found.completions)
        ],
        usage=usage_of(found),
    )


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses=RESPONSES)
async def chat(request: Request, asked: Chat, service: TheService, who: Asking) -> ChatCompletion | Response:
    """The reply to a conversation; of a bundle that reads one text, to the user's one turn."""
    if asked.max_tokens is not None and asked.max_completion_tokens is not None:
        raise DataError("max_tokens and max_completion_tokens say the same; give one of them")
    inputs = [_input(service.pool.find(asked.model), asked.messages)]
    wish, id_ = asked.wish(asked.max_completion_tokens or asked.max_tokens), f"chatcmpl-{uuid.uuid4().hex}"
    _note(request, asked, inputs)
    keep = partial(_keep, request, who, service, inputs)
    if asked.stream:
        pieces = service.stream(asked.model, inputs, wish)
        return await stream(request, pieces, OfChat(id_, asked.model), keep, usage=asked.usage)
    found = await _written(request, service.complete(asked.model, inputs, wish))
    keep(found)
    first = found.completions[0]
    return ChatCompletion(
        id=id_,
        created=int(time.time()),
        model=asked.model,
        choices=[ChatChoice(index=0, message=Reply(content=first.text), finish_reason=first.finish)],
        usage=usage_of(found),
    )


def _note(request: Request, asked: Writing, inputs: Sequence[Input]) -> None:
    note(request.scope, bundle=asked.model, rows=len(inputs))
    if request.app.state.config.log_texts:
        note(request.scope, inputs=inputs)


def _keep(request: Request, who: Caller, service: Service, inputs: Sequence[Input], found: Completed) -> None:
    """Whole texts can be corrected like other answers."""
    answers = [{"text": one.text, "finish_reason": one.finish} for one in found.completions]
    remember(request, who, service, found.bundle, inputs, answers=[(found.bundle.writer().name, answers)])


async def _written(request: Request, work: Coroutine[Any, Any, Completed]) -> Completed:
    found = await while_connected(request, work)
    note(request.scope, version=found.bundle.version, tokens=found.tokens)
    return found


def _input(bundle: Registered, messages: Sequence[Message]) -> Input:
    """A conversation, for bundles that read one; else its one turn. Raises DataError, Unsupported."""
    task = bundle.writer().task
    if messages[-1].role != "user":
        raise DataError(f"the last message is the {messages[-1].role}'s; end with the user's, which is replied to")
    if any(column.name == "messages" for column in task.columns):
        return {"messages": [{"role": message.as_learned, "content": message.text} for message in messages]}
    if len(messages) != 1:
        raise DataError(
            f"bundle {bundle.name!r} of the task {task.name!r} reads one text and no conversation; send one message, "
            "the user's"
        )
    return messages[0].text
