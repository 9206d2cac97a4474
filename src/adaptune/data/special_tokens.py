"""Which tokens a tokenizer puts around a text. Knows no examples."""

from __future__ import annotations

from typing import Any

from adaptune.core.errors import Unsupported


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens before and after a single sequence."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return whole[:start], whole[start + len(bare) :]
    raise Unsupported("the tokenizer changes a text when it adds special tokens; words cannot be aligned with it")
