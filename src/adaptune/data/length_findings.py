"""What the lengths of examples mean for a model, as sentences, whatever is made of them. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adaptune.core.types import Example, Writing
from adaptune.data.encode import written
from adaptune.data.encode_prompt import prompt_findings
from adaptune.data.encode_spans import encode_spans
from adaptune.data.findings import Finding
from adaptune.data.lengths import lengths


def length_findings(
    examples: Sequence[Example], tokenizer: Any, max_length: int, *, writing: Writing | None, spans: bool
) -> Sequence[Finding]:
    """`writing`: how texts become tokens, where the head writes; `spans`: whether it answers with parts of a text."""
    if not examples:
        return ()
    if writing is not None:
        return written(examples, tokenizer, writing, max_length).findings()
    if any(sequence.prompt is not None for example in examples for sequence in example.sequences):
        return prompt_findings(examples, tokenizer, max_length)
    found = lengths(examples, tokenizer, max_length).findings()
    if spans:
        found += tuple(encode_spans(examples, tokenizer, max_length, segments=False).findings())
    return found
