"""Examples in, answers out: how a bundle reads text, at saving and at loading alike. Knows no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adaptune.core.batch import Encoded
from adaptune.core.types import Answer, Example
from adaptune.data.tokens import Encoder
from adaptune.evaluate.predict import predict
from adaptune.models.assembly import Assembly


def answer(
    assembly: Assembly, examples: Sequence[Example], *, max_length: int, batch_tokens: int | None = None
) -> list[Answer]:
    """One Answer an example, in their order; what the examples expect is not looked at."""
    encoded = encoded_for(assembly, examples, max_length=max_length)
    return predict(assembly, encoded, batch_tokens=batch_tokens, rows=len(examples))


def said_beside(found: Answer) -> dict[str, Any]:
    """What JSON holds of an answer beside what its task describes."""
    said = {
        "probability": found.probability,
        "abstained": found.abstained,
        "out_of_scope": found.out_of_scope,
        "out_of_scope_score": found.scope,
    }
    return {name: value for name, value in said.items() if value is not None}


def encoded_for(
    assembly: Assembly, examples: Sequence[Example], *, max_length: int, labelled: bool = False
) -> list[Encoded]:
    """Token sequences; without labels, of which one that the bundle never saw has no place in the output layer."""
    return encoder_of(assembly, max_length)(examples if labelled else [unlabelled(example) for example in examples])


def encoder_of(assembly: Assembly, max_length: int | None = None) -> Encoder:
    """How rows become tokens, put as the assembly's approach says; at most as many as it reads, or the number given."""
    return Encoder(
        assembly.backbone.tokenizer,
        assembly.labels,
        max_length=assembly.max_length if max_length is None else max_length,
        segments=assembly.backbone.roles.segments,
        writing=assembly.writing,
        reading=assembly.reading,
        approach=assembly.approach,
    )


def unlabelled(example: Example) -> Example:
    """Without its targets."""
    return replace(example, sequences=tuple(replace(sequence, target=None) for sequence in example.sequences))
