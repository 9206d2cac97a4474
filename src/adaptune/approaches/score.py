"""How probable a decoder finds each label's words behind a row: answers without training, and with any method."""

from __future__ import annotations

from typing import ClassVar, Literal

from adaptune.approaches._follows import PER, Per, check_decoder
from adaptune.approaches._prompted import Prompted
from adaptune.approaches._wording import Kind
from adaptune.core.backbone import Roles


class Score(Prompted):
    """Each label's words are scored as what follows the row in a template; the likeliest are the answer.

    Labels of a row share one reading of it. With method none nothing is trained; any other method learns through the
    model's output layer, from the probabilities of the labels' words alone.
    """

    paper: ClassVar[str] = "Brown et al. (2020), Language models are few-shot learners"
    kind: ClassVar[Kind] = "follows"

    normalise: Literal["none", "tokens", "bytes"] = "tokens"
    """What a word's log-probability is divided by, so that long ones stand a chance: nothing, its tokens, its bytes."""

    @property
    def per(self) -> Per:
        return PER[self.normalise]

    def check_family(self, roles: Roles) -> None:
        check_decoder(self.name, roles)
