"""How a task is put to the model: the abstract Approach."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, TypeAlias

from adaptune.core.backbone import Roles
from adaptune.core.config import Part
from adaptune.core.head import Head, LossSum
from adaptune.core.lazy import torch
from adaptune.core.method import Method
from adaptune.core.task import Task
from adaptune.core.types import Array, Example, Labels


@dataclass(frozen=True, slots=True)
class Taken:
    """One optimizer step that was taken before training proper."""

    number: int
    """Counted from 1."""
    total: int
    """Steps planned; an approach may stop before."""
    loss: float
    """Mean over labelled items."""
    tokens: int
    """Real tokens read in it."""


LossOfFeatures: TypeAlias = "Callable[[torch.Tensor, torch.Tensor, torch.Tensor], LossSum]"
"""(N, F) what a head's last linear layer reads, the targets, as in a Batch, and (N,) which sequences these are, as in a
plan -> their loss."""


class Start(Protocol):
    """What an approach works with before the first step: the run's rows through the assembly as it stands."""

    @property
    def labels(self) -> Labels: ...

    @property
    def head(self) -> Head: ...

    @property
    def layer(self) -> torch.nn.Module:
        """The head's."""

    @property
    def seed(self) -> int:
        """The recipe's."""

    def rows(self, part: Literal["train", "valid"]) -> int:
        """How many examples there are."""

    def targets(self) -> Array:
        """(N,) or (N, C) the targets of the training sequences in their order, as in a Batch."""

    def features(self, part: Literal["train", "valid"]) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, F) what the head's last linear layer reads of each labelled item of a part, and the targets.

        Of labelled sequences they are in order, those of texts that were added last.
        """

    def features_of(self, texts: Several[str]) -> torch.Tensor:
        """(M, F) the same of texts of any kind, such as the names of labels."""

    def score(self) -> float:
        """The assembly's metric on the validation rows, as it stands."""

    def choose(self, ways: Several[Callable[[], None]]) -> int:
        """Set the head's layer the way that is best on the validation rows, and say which; of one none is looked at."""

    def fit(self, strength: float) -> None:
        """Put the head's last linear layer at its optimum on the training rows, by this L2 strength."""

    def add(self, texts: Several[tuple[str, str]]) -> None:
        """Texts with their labels that from here on follow the training rows."""

    def learn(self, loss: LossOfFeatures, plan: Several[Array], *, learning_rate: float | None) -> Iterator[Taken]:
        """Train the trunk by a loss over features, one step a batch; who iterates may stop early.

        `plan`: for each batch the indices of its training sequences. `learning_rate`: the peak; None: the recipe's,
        else the method's own.
        """

    def keep(self, share: float) -> None:
        """Put the method's weights between where they were before `learn` and where they are: 1 leaves them there."""


class Trial(Protocol):
    """What an approach chooses by, before rows are read: the model as it comes, the run's rows put in other ways."""

    @property
    def labels(self) -> Labels: ...

    @property
    def layer(self) -> torch.nn.Module:
        """The head's, which what is chosen may change."""

    @property
    def seed(self) -> int:
        """The recipe's."""

    def examples(self, part: Literal["train", "valid"]) -> Several[Example]:
        """As they are, not yet put."""

    def score(self, approach: Approach) -> float:
        """The task's metric on the validation rows, put as another approach says."""

    def logits(self, approach: Approach, examples: Several[Example]) -> torch.Tensor:
        """(R, C) of the head."""

    def next_words(self, approach: Approach, examples: Several[Example]) -> torch.Tensor:
        """(R, V) log-probabilities of the first token of an answer."""

    def vocabulary(self) -> Several[str | None]:
        """(V) the words that are one token where a word begins, None for other tokens."""

    def vectors(self, examples: Several[Example]) -> torch.Tensor:
        """(R, D) the mean of the model's last states over each example's texts."""


class Approach(Part, ABC):
    """How rows and labels are put to the model, in training and ever after; its manifest keeps it.

    It decides what a row's sequences say (`put`), which heads answer, and what happens before the first step. It sees
    examples and labels, never token ids.
    """

    paper: ClassVar[str] = ""
    """Where it comes from, or an empty string."""
    default_method: ClassVar[str | None] = None
    """The method of a recipe of one task that names none; None: lora."""
    default_epochs: ClassVar[float | None] = None
    """Passes over the training rows where a recipe says nothing of them; None: as of every training."""
    rewrites: ClassVar[bool] = False
    """Whether `put` changes rows: such bundles are not written as models that read plain text."""
    needs_rows: ClassVar[bool] = True
    """Whether it learns from labelled rows; where not, a recipe needs no data.train."""
    fits_head: ClassVar[bool] = False
    """Whether `before` puts the head where it begins, so that it is not warm-started."""
    moves_trunk: ClassVar[bool] = False
    """Whether `before` trains the method's weights, which tasks with shared adapters cannot have."""

    def reads(self) -> tuple[Path, ...]:
        """Files that its settings name: what stands in them is part of a recipe."""
        return ()

    def heads(self, task: Task) -> tuple[str, ...]:
        """The heads that it answers with, the default first; empty: whatever learns the task's targets."""
        return ()

    def for_head(self, head: Head, task: Task) -> Head:
        """The head with what it takes over from this approach's settings. Raises Unsupported."""
        return head

    def check(self, task: Task, method: Method, head: Head) -> None:
        """Refuse parts that do not fit it, before data are read. Raises Unsupported."""

    def check_family(self, roles: Roles) -> None:
        """Refuse a model family before its weights are loaded. Raises Unsupported."""

    @property
    def known_labels(self) -> tuple[str, ...]:
        """The label inventory where its settings name it; empty: that of the training rows."""
        return ()

    def labels(self, task: Task, examples: Several[Example]) -> Labels:
        """The label inventory of training examples. Raises DataError."""
        return task.labels(examples)

    def settled(self, examples: Several[Example], labels: Labels, *, seed: int) -> Self:
        """This approach with what it takes from the training examples; a bundle's manifest keeps it. Pure."""
        return self

    def put(self, example: Example, labels: Labels, *, mask: str | None) -> Example:
        """The example as the model reads it; pure, and the same for training and for prediction.

        `mask`: the tokenizer's token that hides a word, None where it has none. Sequences may have no target.
        """
        return example

    def chosen(self, trial: Trial) -> Self:
        """This approach with what it takes from the model and from validation rows, once settled. Default: itself.

        It is called once a run, before rows become tokens; a run that is resumed chooses the same again.
        """
        return self

    def said(self) -> Mapping[str, Any]:
        """What a report tells of it beside its name."""
        return {}

    def before(self, start: Start) -> Iterator[Taken]:
        """What is done once everything is set up, before the warm start and the first step. Default: nothing.

        It is not resumed: a run that was stopped within begins anew.
        """
        return iter(())


def as_put(approach: Approach, examples: Several[Example], labels: Labels, tokenizer: Any) -> Several[Example]:
    """Examples as the model reads them."""
    if not approach.rewrites:
        return examples
    return [approach.put(example, labels, mask=tokenizer.mask_token) for example in examples]
