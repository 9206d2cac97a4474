"""The `bundle` section of a recipe."""

from __future__ import annotations

from pydantic import Field

from adaptune.core.config import Config


class BundleConfig(Config):
    """What a bundle tells others beside its weights."""

    examples: tuple[str, ...] = ()
    """Texts whose answers the bundle keeps and checks at loading; none: made-up sentences, never training texts."""
    name: str | None = Field(default=None, min_length=1)
    """The model's name on its card; none: the base and the task."""
    dataset: str | None = Field(default=None, min_length=1)
    """The data set's name on the model card; none: not told."""
    language: tuple[str, ...] = ()
    """ISO 639-1 codes for the model card, `en`; none: not told."""
    license: str | None = Field(default=None, min_length=1)
    """For the model card, as the hub names it, `apache-2.0`; none: not told."""
