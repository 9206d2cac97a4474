"""Which weights were best, and whether training still gains. Knows no metric by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(slots=True)
class Best:
    """The best weights so far by a validation score, larger is better, and how long there was no gain."""

    patience: int | None
    """Evaluations without a gain before training is exhausted; None: never."""
    min_gain: float = 0.0
    score: float | None = None
    step: int = 0
    waited: int = 0
    """Evaluations since the last gain."""
    state: dict[str, Tensor] = field(default_factory=dict)

    def observe(self, score: float, step: int, state: dict[str, Tensor]) -> bool:
        """Take note of an evaluation; whether it is a gain. The state is copied if so."""
        gained = self.score is None or score > self.score + self.min_gain
        if gained:
            self.score, self.step, self.waited = score, step, 0
            self.state = {name: tensor.detach().clone() for name, tensor in state.items()}
        else:
            self.waited += 1
        return gained

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience
