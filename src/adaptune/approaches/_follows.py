"""What approaches share whose answers follow a text. Knows no templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from adaptune.core.backbone import Roles
from adaptune.core.errors import Unsupported

Per = Literal["answer", "token", "byte"]
PER: Mapping[str, Per] = {"none": "answer", "tokens": "token", "bytes": "byte"}
"""What a word's score is a mean over, by what it is divided by."""


def check_decoder(name: str, roles: Roles) -> None:
    """Raises Unsupported for a model that does not go on from a text."""
    if len(roles.stacks) > 1 or not roles.main.causal:
        raise Unsupported(
            f"approach {name!r} reads how a text goes on, and models of the family {roles.family!r} are no decoders of "
            "one stack; use a decoder (llama, qwen3, gpt2), or approach cloze on an encoder"
        )
