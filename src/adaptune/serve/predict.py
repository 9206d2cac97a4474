"""POST /v1/predict and /v1/embeddings."""

from __future__ import annotations

import base64
import struct
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, JsonValue, field_validator

from adaptune.serve.access import Asking, TheService
from adaptune.serve.access_log import note
from adaptune.serve.answers import SEVERAL, AnyPredictions
from adaptune.serve.asked import Asked, BundleName, Seconds, Text
from adaptune.serve.disconnect import while_connected
from adaptune.serve.registered import BASE
from adaptune.serve.remembered import remember

router = APIRouter(tags=["answers"])


class Predict(Asked):
    """Inputs for one bundle."""

    bundle: BundleName
    """Its name, or `name@version`."""
    task: str | None = Field(default=None, max_length=300)
    """Of a bundle of several, the one that is asked; none: all of them."""
    inputs: list[str | list[str] | dict[str, JsonValue]] = Field(min_length=1)
    """Each a text, the words of a text, or a row: an object with the columns that the bundle was trained on."""
    corpus: None = None
    """Not read here: queries are ranked among the candidates that each brings."""
    probabilities: bool = False
    """Whether the probability of every label is wanted, too."""
    timeout: Seconds | None = None
    """Seconds after which the answer is of no use; the earliest comes first."""

    @field_validator("corpus", mode="before")
    @classmethod
    def _no_corpus(cls, value: object) -> object:
        if value is not None:
            raise ValueError("this server searches no corpus; send each query with its `candidates`")
        return value


class Embed(Asked):
    """Texts to be turned into vectors; as OpenAI's API has it."""

    model: str = Field(default=BASE, max_length=300)
    """A bundle, whose trunk reads the texts, or `base`."""
    input: Text | Annotated[list[Text], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] = "float"
    """base64: of 32-bit floats, little-endian."""
    user: str | None = None
    """Kept for compatibility; nothing is done with it."""


class Embedding(BaseModel):
    """One vector, of length 1."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """One vector a text, in order."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


@router.post("/v1/predict")
async def predict(request: Request, asked: Predict, service: TheService, who: Asking) -> AnyPredictions:
    """What a bundle says of each input."""
    note(request.scope, bundle=asked.bundle, rows=len(asked.inputs))
    if request.app.state.config.log_texts:
        note(request.scope, inputs=asked.inputs)
    work = service.predict(
        asked.bundle, asked.inputs, task=asked.task, probabilities=asked.probabilities, seconds=asked.timeout
    )
    found = await while_connected(request, work)
    note(request.scope, version=found.bundle.version, tokens=found.tokens)
    said = [(one.name, answers) for one, answers in found.answers]
    remember(request, who, service, found.bundle, asked.inputs, answers=said)
    told = {"bundle": found.bundle.name, "version": found.bundle.version}
    if len(found.answers) == 1:
        [(one, answers)] = found.answers
        return told | {"task": one.task.name, "answers": answers}
    tasks = {one.name: {"task": one.task.name, "answers": answers} for one, answers in found.answers}
    return told | {"task": SEVERAL, "tasks": tasks}


@router.post("/v1/embeddings")
async def embed(request: Request, asked: Embed, service: TheService, _: Asking) -> Embeddings:
    """Vectors of texts, whose products are their cosines."""
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    note(request.scope, bundle=asked.model, rows=len(texts))
    if request.app.state.config.log_texts:
        note(request.scope, inputs=texts)
    found = await while_connected(request, service.embed(asked.model, texts))
    vectors: list[Any] = [list(vector) for vector in found.vectors]
    if asked.encoding_format == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(one)}f", *one)).decode() for one in vectors]
    return Embeddings(
        data=[Embedding(index=index, embedding=vector) for index, vector in enumerate(vectors)],
        model=asked.model,
        usage=Usage(prompt_tokens=found.tokens, total_tokens=found.tokens),
    )
