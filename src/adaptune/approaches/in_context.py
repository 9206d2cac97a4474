"""Few rows with their labels stand before every row, and a decoder goes on as they do: nothing need be trained."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from adaptune.approaches._demonstrated import Demonstrated
from adaptune.approaches._follows import PER, Per, check_decoder
from adaptune.approaches._wording import Kind
from adaptune.core.backbone import Roles


class InContext(Demonstrated):
    """As score, behind demonstrations that the bundle keeps. What all rows of a pass begin with is read once."""

    paper: ClassVar[str] = "Brown et al. (2020), Language models are few-shot learners"
    kind: ClassVar[Kind] = "follows"

    demonstrations: int = Field(default=4, ge=1)
    """How many rows are shown; those that leave a row no room are left out, the first of them first."""
    normalise: Literal["none", "tokens", "bytes"] = "tokens"
    """What a word's log-probability is divided by, so that long ones stand a chance: nothing, its tokens, its bytes."""

    @property
    def per(self) -> Per:
        return PER[self.normalise]

    def check_family(self, roles: Roles) -> None:
        check_decoder(self.name, roles)
