"""The output layer, its loss and its decoding: the abstract Head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple, Self

from adaptune.core.backbone import Backbone, Roles
from adaptune.core.batch import Batch, Index
from adaptune.core.config import Part
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import torch
from adaptune.core.task import Task
from adaptune.core.types import Answer, Labels, OfItself, OfSequence, OfText, OfWords, Reading, Target, Writing

LOG_LIKELIHOOD = "log_likelihood"
"""What training watches for heads that read words: larger is better, and no text need be generated to know it."""


class LossSum(NamedTuple):
    """A loss as sum and count, so that the engine can divide across micro-batches and processes."""

    total: torch.Tensor
    """() sum over labelled items, differentiable."""
    items: torch.Tensor
    """() number of labelled items (or the sum of their class weights)."""
    each: torch.Tensor | None = None
    """(B, 2) of a batch with weights: the loss, without its weight, and the items of each sequence."""


class Whole(NamedTuple):
    """A model as transformers itself builds it."""

    model: torch.nn.Module
    auto: str
    """The class that loads it, `AutoModelForTokenClassification`."""


class Head(Part, ABC):
    """Owns the output layer, the loss, the decoding; reads hidden states, never token ids."""

    couples_rows: ClassVar[bool] = False
    """Whether rows of one batch see each other (in-batch negatives)."""
    whole_rows: ClassVar[bool] = False
    """Whether all sequences of a row must stand in one batch, beside each other and in order, in training too."""
    reads_words: ClassVar[bool] = False
    """Whether it needs the model's own output layer over words."""
    target: ClassVar[type[Target]] = OfSequence
    """The targets that it learns: one of a whole sequence, one of every word, or a text."""
    confident: ClassVar[bool] = True
    """Whether a warm-started linear layer is scaled down before the first step."""
    learns_shares: ClassVar[bool] = False
    """Whether it learns from rows that have a probability of every label in the place of one label, too; all rows of a
    batch are then such."""
    plain: ClassVar[bool] = False
    """Whether its layer is one linear layer over the vector that its field `pooling` names, or over every token."""
    folds: ClassVar[bool] = False
    """Whether it reads labelled items alone, and sequences of a row begin alike: that is then computed once."""
    owns_weights: ClassVar[bool] = True
    """Whether its layer has weights of its own."""
    writes: ClassVar[bool] = False
    """Whether its answers are texts that the whole model generates; its metric in training is the log-likelihood."""

    @property
    def labels_items(self) -> bool:
        """Whether labels in a batch are one an item, not one a sequence."""
        return self.target in (OfWords, OfText, OfItself)

    @property
    def learns_texts(self) -> bool:
        """Whether what it learns is texts, token by token: their log-likelihood then tells how well."""
        return self.target in (OfText, OfItself)

    @property
    def own_tokens(self) -> tuple[str, ...]:
        """Names of its own tokens that the trunk reads, the i-th in the place of a sequence's labelled item i.

        Items beyond them are labelled ones of the vocabulary.
        """
        return ()

    def own_embeddings(self, layer: torch.nn.Module) -> torch.Tensor | None:
        """(K, E) what stands for its own tokens among the trunk's input embeddings; None where it has none."""
        return None

    def for_task(self, task: Task) -> Self:
        """This head with what it takes over from its task's settings. Raises Unsupported where they contradict it."""
        return self

    def check(self, roles: Roles) -> None:
        """Refuse a model family before its weights are loaded. Raises Unsupported."""

    def writing(self, backbone: Backbone) -> Writing | None:
        """How the texts that it learns and writes become tokens; None for a head that writes none."""
        return None

    def reading(self, backbone: Backbone) -> Reading | None:
        """How the tokens of raw texts are predicted; None for a head whose targets are others."""
        return None

    def settled(self, backbone: Backbone, labels: Labels) -> Self:
        """This head with every `auto` replaced by what model and labels call for; a bundle's manifest keeps it."""
        return self

    @abstractmethod
    def build(self, backbone: Backbone, labels: Labels) -> torch.nn.Module:
        """A fresh output layer, initialised from torch's generator."""

    @abstractmethod
    def loss(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> LossSum:
        """(B, T, D) -> sum and count over the labelled items of the batch."""

    @abstractmethod
    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        """(B, T, D) -> one Answer a row of the batch, by row index. All windows of a row stand in one batch."""

    def vectors(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (B, V) of length 1, what a sequence is found by. Raises Unsupported."""
        raise Unsupported(f"head {self.name!r} reads no text by itself, so that no corpus can be searched with it")

    def search(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, index: Index) -> dict[int, Answer]:
        """(B, T, D) -> what each of the sequences finds in the index, by row index. Raises Unsupported."""
        raise Unsupported(f"head {self.name!r} searches no corpus")

    def features(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        """(B, T, D) -> (N, F) what the last linear layer reads of each labelled item, for the warm start."""
        return None

    def linear(self, layer: torch.nn.Module) -> torch.nn.Linear | None:
        """The last linear layer, (C, F): its optimum on `features` under `convex_loss` warm-starts the head."""
        return None

    def convex_loss(self, layer: torch.nn.Module, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(N, C) outputs of `linear`, targets as in a Batch -> () their mean loss, convex in the outputs."""
        return torch.nn.functional.cross_entropy(outputs, targets, weight=getattr(layer, "class_weights", None))

    def whole(self, layer: torch.nn.Module, trunk: torch.nn.Module, labels: Labels) -> Whole | None:
        """A trunk and this head's layer as one transformers model with its logits; None: no class has such a layer.

        It may share the modules of both, and changes neither.
        """
        return None

    def grown(self, layer: torch.nn.Module, old: dict[str, torch.Tensor], old_labels: Labels, labels: Labels) -> None:
        """Load the state of a layer with fewer labels: old labels keep their rows, new ones their fresh initialisation.

        `labels` are the old ones in their order, then new ones. Raises KeyError or RuntimeError for another layer.
        """
        own = layer.state_dict()
        kept = [labels.index(name) for name in old_labels.names]
        for name, tensor in old.items():
            if own[name].shape == tensor.shape:
                own[name] = tensor
            else:
                own[name] = own[name].clone()
                own[name][kept] = tensor
        layer.load_state_dict(own)


class LogitHead(Head, ABC):
    """A head whose probabilities are made of logits, and so can be calibrated by a temperature."""

    link: ClassVar[Literal["softmax", "sigmoid"]] = "softmax"
    """softmax: one of an item's logits is right. sigmoid: each is by itself."""
    tells_scope: ClassVar[bool] = False
    """Whether a row is one item with a logit a label, so that one can be told that belongs to no label."""

    def gives_labels(self, labels: Labels) -> bool:
        """Whether its answers are made of logits at all: with these labels they may be numbers."""
        return True

    @abstractmethod
    def logits(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, T, D) -> (N, C) of each labelled item; minus infinity where an item has no such option."""

    @abstractmethod
    def read(self, logits: torch.Tensor, batch: Batch, labels: Labels, temperature: float = 1.0) -> dict[int, Answer]:
        """(N, C) -> one Answer a row of the batch: its probabilities at the temperature, its value whatever that is."""

    def targets(self, batch: Batch) -> torch.Tensor:
        """(N,) which of each item's logits is right; where each is by itself, (N, C) 0 and 1."""
        assert batch.labels is not None, "targets are those of labelled rows"
        return batch.labels

    def divide(self, layer: torch.nn.Module, temperature: float) -> None:
        """Change the layer so that its logits are as if divided by a temperature."""
        linear = self.linear(layer)
        assert linear is not None, "logits come from a linear layer"
        divide(linear, temperature)

    def decode(self, layer: torch.nn.Module, hidden: torch.Tensor, batch: Batch, labels: Labels) -> dict[int, Answer]:
        return self.read(self.logits(layer, hidden, batch), batch, labels)


def divide(module: torch.nn.Module, number: float) -> None:
    """Every weight by a number, in place."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.div_(number)
