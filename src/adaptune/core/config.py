"""Frozen, strict configuration values; the string under a field is its help."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen value that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class Part(Config):
    """One entry of a catalogue: hyperparameters as fields, behaviour as methods, no other state."""

    name: ClassVar[str]
    """The name in a recipe: the name of the file that defines the part. Set by the catalogue."""
