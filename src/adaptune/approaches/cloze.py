"""A label is the word that an encoder fills into a blank: pattern-exploiting training, perhaps with demonstrations."""

from __future__ import annotations

from typing import ClassVar

from adaptune.approaches._demonstrated import Demonstrated
from adaptune.approaches._wording import Kind
from adaptune.core.backbone import Roles
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Example, Labels


class Cloze(Demonstrated):
    """Each label's words are read at a masked place of a template, by the model's own output layer over words.

    With method none nothing is trained; any other method learns from the words of the labels alone, by softmax over
    these. With `demonstrations` labelled rows stand in front, their blanks filled in (Gao et al., 2021).
    """

    paper: ClassVar[str] = (
        "Schick and Schütze (2021), Exploiting cloze questions for few shot text classification and natural language "
        "inference, EACL"
    )
    kind: ClassVar[Kind] = "fills"

    separator: str = " "
    """What stands behind each demonstration."""

    def check_family(self, roles: Roles) -> None:
        if len(roles.stacks) > 1 or roles.main.causal:
            raise Unsupported(
                f"approach {self.name!r} fills a blank in a text, and models of the family {roles.family!r} are no "
                "encoders; use an encoder with its output layer over words (bert, roberta), or approach score on a "
                "decoder"
            )

    def put(self, example: Example, labels: Labels, *, mask: str | None) -> Example:
        if mask is None:
            raise DataError(
                f"approach {self.name!r} hides a word, and the tokenizer has no mask token; set mask_token in its "
                "tokenizer_config.json, or use another encoder"
            )
        return super().put(example, labels, mask=mask)
