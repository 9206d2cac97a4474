"""A backbone, a method and a head put together: the only place that freezes. Knows no task, no data files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from adaptune.approaches.finetune import Finetune
from adaptune.core.approach import Approach
from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch, Index
from adaptune.core.calibration import Calibrated, Seen, answers_of
from adaptune.core.chosen import chosen, states_of, units_of
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head, LogitHead, LossSum
from adaptune.core.method import Method, learning
from adaptune.core.types import Answer, Labels, Reading, Writing
from adaptune.models.below import Below, frozen_layers, without_gradients
from adaptune.models.dropout import quicken
from adaptune.models.folding import as_folded, fold, folds, unfolded
from adaptune.models.own_tokens import with_own_tokens
from adaptune.models.quantise import numbers
from adaptune.models.ragged import is_ragged, ragged
from adaptune.models.recompute import recomputing
from adaptune.models.remembered import Remembered
from adaptune.models.share import share
from adaptune.models.write import write, writer

FEWEST_TOKENS = 8
"""As few as model.max_length may ask for."""


class Assembly(nn.Module):
    """One adapter on a shared, frozen base: the trunk as a method changed it, and a head's layer on top.

    The backbone's own modules and tensors are never changed: any number of assemblies may stand on one backbone.
    """

    tells_rows_apart: bool = False
    """Whether its trunk reads each row of tensors in its own way, so that no two may share any."""

    def __init__(
        self,
        backbone: Backbone,
        method: Method,
        head: Head,
        labels: Labels,
        *,
        seed: int,
        dropout: bool = False,
        approach: Approach | None = None,
        beside: Assembly | None = None,
    ) -> None:
        """`seed` decides every initial weight; `dropout` keeps the dropout of frozen layers. Raises Unsupported.

        `approach`: how rows are put to it, in training and ever after; None: as they are. `beside`: an assembly of the
        same backbone and method whose trunk is this one's, too.
        """
        super().__init__()
        method.check_weights(backbone.weights)
        self.backbone = backbone
        self.method = method
        self.labels = labels
        self.head = head.settled(backbone, labels)
        self.approach = approach or Finetune()
        self.dropout = dropout
        self.calibrated: Calibrated | None = None
        """How its answers are calibrated; None: as the head gives them."""
        self._remembered: Remembered | None = None
        self._seen: list[Seen] | None = None
        self.below: Below | None = None
        """The first layers, where what they give for some sequences is known."""
        self.still = 0
        """How many of the first layers learn no more, though a method changed them: no gradient, no dropout."""
        self.recomputes = False
        """Whether training keeps the inputs of layers alone, and computes the layers anew for their gradients."""
        self._check_room()
        trunk = share(backbone.trunk).requires_grad_(False) if beside is None else beside.trunk
        self._of_base: set[nn.Module] = set(trunk.modules()) if beside is None else beside._of_base
        device = next(trunk.parameters()).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            self.trunk: nn.Module = method.apply(trunk, backbone.roles) if beside is None else trunk
            self.layer = self.head.build(_with_own_words(backbone, self.head), labels)
        self._complete()
        self.to(device)

    def _complete(self) -> None:
        quicken(self.trunk)
        if self.head.writes:
            writer(self)  # refused now, not after training

    def _check_room(self) -> None:
        if self.method.positions and self.max_length < FEWEST_TOKENS:
            raise Unsupported(
                f"method {self.method.name!r} adds {self.method.positions} positions, and the model reads "
                f"{self.backbone.max_length} tokens; leave room for at least {FEWEST_TOKENS}"
            )

    @property
    def couples_rows(self) -> bool:
        """Whether its loss compares the rows of a batch with each other."""
        return self.head.couples_rows

    @property
    def parts(self) -> tuple[Assembly, ...]:
        """What has a head of its own: this, as the only one."""
        return (self,)

    @property
    def max_length(self) -> int:
        """Tokens of a text that fit beside the positions that the method adds."""
        return self.backbone.max_length - self.method.positions

    @property
    def writing(self) -> Writing | None:
        """How texts become tokens, where the head writes some."""
        return self.head.writing(self.backbone)

    @property
    def reading(self) -> Reading | None:
        """How the tokens of raw texts are predicted, where the head does that."""
        return self.head.reading(self.backbone)

    def forward(self, batch: Batch) -> LossSum:
        """The loss over a batch, as sum and count."""
        if batch.weights is not None:
            return self._weighed(self.hidden(batch), batch)
        batch, hidden = self._read(batch)
        return self.head.loss(self.layer, hidden, batch)

    def _weighed(self, hidden: Tensor, batch: Batch) -> LossSum:
        """The sum over weight times loss of what stands together, beside the loss of each sequence."""
        assert batch.weights is not None
        found, weights, each = [], [], hidden.new_zeros(len(batch.rows), 2, dtype=torch.float32)
        for places in units_of(batch, whole_rows=self.head.whole_rows):
            some = chosen(batch, places, of_items=self.head.labels_items)
            one = self.head.loss(self.layer, states_of(hidden, batch, places), some)
            found.append(one)
            weights.append(batch.weights[places[0]])
            each[places[0]] = torch.stack([one.total.detach().float(), one.items.float()])
        total = (torch.stack([one.total for one in found]) * torch.stack(weights)).sum()
        return LossSum(total, torch.stack([one.items for one in found]).sum(), each)

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Let sequences that come again pass the trunk once; within, no weight below the head's layer may change."""
        self._remembered = Remembered(own_tokens=bool(self.head.own_tokens))
        try:
            yield
        finally:
            self._remembered = None

    @contextmanager
    def recording(self) -> Iterator[list[Seen]]:
        """Keep, of every labelled batch that is answered within, the logits and which of them are right."""
        self._seen = []
        try:
            yield self._seen
        finally:
            self._seen = None

    @property
    def frozen_layers(self) -> int:
        """How many of the first layers give the same for a sequence in every pass. Raises Unsupported for none."""
        return self.frozen_with(self.still)

    def frozen_with(self, still: int) -> int:
        """How many would, if the first `still` layers learned no more. Raises Unsupported for none."""
        return frozen_layers(
            self.trunk,
            self.backbone.roles,
            self.method,
            self.head,
            dropout=self.dropout,
            reading=self.reading,
            still=still,
        )

    def keep_below(self, batch: Batch) -> None:
        """Keep what the first layers give for a batch, as far as `below` has room: later passes begin above them."""
        assert self.below is not None
        self.eval()
        if self.below.store.get(batch) is None:
            self.below.keep(batch, self._hidden)

    def hidden(self, batch: Batch) -> Tensor:
        """(B, T, D) the trunk's last hidden states; without a graph where nothing learns in the trunk or before it."""
        if self._remembered is None or self.training:
            return self._hidden(batch)
        found = self._remembered.get(batch)
        if found is None:
            found = self._hidden(batch)
            self._remembered.put(batch, found)
        return found

    @property
    def folds(self) -> bool:
        """Whether what sequences of a row begin with alike is read once."""
        return self.head.folds and folds(self.trunk, self.backbone.roles, self.method)

    def _read(self, batch: Batch) -> tuple[Batch, Tensor]:
        """A batch as its head reads it, and its states: folded, where sequences begin alike and that is exact."""
        if self._remembered is not None or not self._folds(batch):
            return batch, self.hidden(batch)
        batch = fold(batch, len(self.head.own_tokens))
        return batch, self._hidden(batch)

    def _folds(self, batch: Batch) -> bool:
        if batch.lengths is not None or batch.embeddings is not None or batch.folded is not None:
            return False
        again = self.recomputes and torch.is_grad_enabled()
        prompts = batch.asked is not None and self.below is None and not again and not self.tells_rows_apart
        return prompts and folds(self.trunk, self.backbone.roles, self.method)

    def _hidden(self, batch: Batch) -> Tensor:
        if self._folds(batch):
            once = fold(batch, len(self.head.own_tokens))
            if once.folded is not None:
                return unfolded(self._hidden(once), once.folded)
        graph = torch.is_grad_enabled() and self._needs_graph(batch)
        again = graph and self.recomputes
        recompute = recomputing(self.trunk, self.backbone.roles) if again else nullcontext()
        own = self.head.own_embeddings(self.layer)
        if own is not None:
            with torch.set_grad_enabled(graph):
                batch = with_own_tokens(batch, self.trunk, own)
        inputs = self._inputs(batch)
        attention: AbstractContextManager[None] = nullcontext()
        if batch.lengths is not None and not again and is_ragged(self.trunk):
            inputs["lengths"], attention = batch.lengths, ragged(self.trunk)
        if batch.folded is not None:
            attention = as_folded(self.trunk)
        with torch.set_grad_enabled(graph), self._lower(batch), recompute, attention:
            states: Tensor = self.trunk(**inputs).last_hidden_state
        return states

    def _lower(self, batch: Batch) -> AbstractContextManager[None]:
        """The first layers give what is kept of a batch, or what they compute without a graph where they are still."""
        kept = None if self.below is None else self.below.store.get(batch)
        if self.below is not None and kept is not None:
            return self.below.standing(kept)
        return without_gradients(self._still_layers()) if self.still else nullcontext()

    def _still_layers(self) -> list[nn.Module]:
        return list(self.trunk.get_submodule(self.backbone.roles.main.layers).children())[: self.still]

    @torch.inference_mode()
    def answers(self, batch: Batch) -> dict[int, Answer]:
        """One Answer for every row of the batch, by row index."""
        if self.head.writes:
            return write(self, batch)
        calibrated, seen = self.calibrated, self._seen
        batch, hidden = self._read(batch)
        return answers_of(self.head, self.layer, hidden, batch, self.labels, calibrated=calibrated, seen=seen)

    @torch.inference_mode()
    def logits(self, batch: Batch) -> Tensor:
        """(N, C) of each labelled item, before any temperature."""
        assert isinstance(self.head, LogitHead), "logits are those of a head that has some"
        batch, hidden = self._read(batch)
        return self.head.logits(self.layer, hidden, batch)

    @torch.inference_mode()
    def features(self, batch: Batch) -> Tensor | None:
        """(N, F) what the head's last linear layer reads of each labelled item."""
        return self.head.features(self.layer, self.hidden(batch), batch)

    @torch.inference_mode()
    def vectors(self, batch: Batch) -> Tensor:
        """(B, V) what each sequence is found by. Raises Unsupported."""
        return self.head.vectors(self.layer, self.hidden(batch), batch)

    @torch.inference_mode()
    def search(self, batch: Batch, index: Index) -> dict[int, Answer]:
        """What each row of the batch finds in the index, by row index. Raises Unsupported."""
        return self.head.search(self.layer, self.hidden(batch), batch, index)

    def state(self) -> dict[str, Tensor]:
        """Everything that was learned: `method.` and `head.` tensors by name."""
        learned = {f"method.{name}": tensor for name, tensor in self.method.state(self.trunk).items()}
        return learned | {f"head.{name}": tensor.detach() for name, tensor in self.layer.state_dict().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put a state back; raises KeyError or ValueError for tensors that do not fit."""
        self.method.load(self.trunk, _below("method.", state))
        self.layer.load_state_dict(_below("head.", state))

    def count_parameters(self) -> tuple[int, int]:
        """How many numbers learn, and how many there are."""
        own = {parameter.data_ptr() for parameter in self.trunk.parameters()}
        tied = sum(p.numel() for p in self.layer.parameters() if p.data_ptr() in own)
        return learning(self.parameters()), numbers(self) - tied

    def train(self, mode: bool = True) -> Assembly:
        """Training mode for what learns; dropout in frozen layers stays off unless asked for (1.3 to 1.65x faster)."""
        super().train(mode)
        if mode and not self.dropout:
            self._settle(self.trunk, learns=False)
        for layer in self._still_layers() if self.still else ():
            layer.eval()
        return self

    def _settle(self, module: nn.Module, *, learns: bool) -> None:
        """A part of the base trains where all its weights learn; one without weights (dropout) goes with its parent."""
        if module in self._of_base:
            parameters = list(module.parameters())
            learns = all(p.requires_grad for p in parameters) if parameters else learns
            module.training = learns
        for child in module.children():
            self._settle(child, learns=learns)

    def _needs_graph(self, batch: Batch) -> bool:
        read = (batch.embeddings, self.head.own_embeddings(self.layer))
        asked = any(tensor is not None and tensor.requires_grad for tensor in read)
        return asked or any(p.requires_grad for p in self.trunk.parameters())

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        roles = self.backbone.roles
        name, given = ("input_ids", batch.ids) if batch.embeddings is None else ("inputs_embeds", batch.embeddings)
        inputs: dict[str, Any] = {name: given, "attention_mask": batch.mask}
        if roles.segments and batch.segments is not None:
            inputs["token_type_ids"] = batch.segments
        if len(roles.stacks) == 2:
            inputs |= {f"decoder_{name}": given, "decoder_attention_mask": batch.mask}
            if batch.decoder_ids is not None:
                inputs |= {"decoder_input_ids": batch.decoder_ids, "decoder_attention_mask": batch.decoder_mask}
        if roles.main.causal:
            inputs["use_cache"] = False
        if batch.folded is not None:
            positions = batch.folded.positions
            inputs |= {"attention_mask": None, "position_ids": positions}
            inputs |= {"branches": batch.folded.branches, "positions": positions}
        if batch.lengths is not None:
            # Without a mask, transformers keeps apart what positions that start again set apart.
            places = [torch.arange(length, device=batch.mask.device) for length in batch.lengths]
            inputs |= {"attention_mask": None, "position_ids": torch.cat(places)[None]}
        return inputs


def _with_own_words(backbone: Backbone, head: Head) -> Backbone:
    """The backbone for a head to build on: one that keeps the output layer over words gets modules of its own."""
    if not head.reads_words or backbone.vocabulary is None:
        return backbone
    return replace(backbone, vocabulary=share(backbone.vocabulary).requires_grad_(False))


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
