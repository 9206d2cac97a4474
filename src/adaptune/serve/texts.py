"""Texts as OpenAI's API gives them, whole and in chunks. Knows no bundles."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import BaseModel, Field

from adaptune.serve.service import Completed, Piece

Finish = Literal["stop", "length"]


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


class TextChoiceChunk(BaseModel):
    """The next part of a text."""

    index: int
    text: str
    finish_reason: Finish | None = None
    logprobs: None = None


class CompletionChunk(BaseModel):
    """A part of the answer to a request for texts; without choices, its usage."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoiceChunk]
    usage: TextUsage | None = None


class Delta(BaseModel):
    """What is added to the reply."""

    role: Literal["assistant"] | None = Field(default=None, exclude_if=lambda role: role is None)
    content: str | None = Field(default=None, exclude_if=lambda content: content is None)


class ChatChoiceChunk(BaseModel):
    """The next part of a reply."""

    index: int
    delta: Delta
    finish_reason: Finish | None = None
    logprobs: None = None


class ChatChunk(BaseModel):
    """A part of the reply to a conversation; without choices, its usage."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChoiceChunk]
    usage: TextUsage | None = None


class OfText:
    """The chunks of texts after prompts."""

    def __init__(self, id_: str, model: str) -> None:
        self._said = {"id": id_, "created": int(time.time()), "model": model}

    def first(self) -> BaseModel | None:
        """What comes before all pieces."""
        return None

    def piece(self, piece: Piece) -> BaseModel:
        """A part of one text."""
        choice = TextChoiceChunk(index=piece.index, text=piece.text, finish_reason=piece.finish)
        return CompletionChunk.model_validate({**self._said, "choices": [choice]})

    def usage(self, found: Completed) -> BaseModel:
        """What comes after all pieces."""
        return CompletionChunk.model_validate({**self._said, "choices": [], "usage": usage_of(found)})


class OfChat:
    """The chunks of a reply."""

    def __init__(self, id_: str, model: str) -> None:
        self._said = {"id": id_, "created": int(time.time()), "model": model}

    def first(self) -> BaseModel | None:
        """Who speaks."""
        return self._chunk(Delta(role="assistant", content=""), None)

    def piece(self, piece: Piece) -> BaseModel:
        """A part of the reply."""
        return self._chunk(Delta(content=piece.text), piece.finish)

    def usage(self, found: Completed) -> BaseModel:
        """What comes after all pieces."""
        return ChatChunk.model_validate({**self._said, "choices": [], "usage": usage_of(found)})

    def _chunk(self, delta: Delta, finish: Finish | None) -> ChatChunk:
        choice = ChatChoiceChunk(index=0, delta=delta, finish_reason=finish)
        return ChatChunk.model_validate({**self._said, "choices": [choice]})


def usage_of(found: Completed) -> TextUsage:
    """Of all texts of a request."""
    written = sum(one.tokens for one in found.completions)
    return TextUsage(prompt_tokens=found.tokens, completion_tokens=written, total_tokens=found.tokens + written)
