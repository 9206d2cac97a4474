"""The `model` section of a recipe: which pretrained model, and how it is loaded."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from adaptune.core.config import Config

Weights: TypeAlias = Literal["float", "int8", "nf4"]


class ModelConfig(Config):
    """Which pretrained model to start from."""

    name: str = Field(min_length=1)
    """A hub id (`sentence-transformers/all-MiniLM-L6-v2`), a folder, a GGUF file, or `modelscope:NAME`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; the hub's default where none is given."""
    max_length: int | None = Field(default=None, ge=8)
    """Tokens a sequence may have; as many as the model was made for where none is given."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Of the frozen weights in memory; auto: as stored."""
    weights: Weights = "float"
    """How the matrices of the frozen layers are held: float, in `dtype`; int8 (LLM.int8's, a quarter of float32) or nf4
    (QLoRA's 4 bits, an eighth), quantised at loading with bitsandbytes and multiplied in `dtype`."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """How attention is computed; auto: the fastest that the family has without further libraries."""
    gguf_file: str | None = None
    """Which GGUF file of the folder or hub repository to load."""
    trust_remote_code: bool = False
    """Whether Python code that comes with the model may run."""
