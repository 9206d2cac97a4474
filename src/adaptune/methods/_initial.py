"""First values for low-rank changes, taken from the weights or from the data. Knows no one method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.lazy import peft, torch

SIMILAR = 0.99
"""EVA's tau: directions whose cosine with those before the last batch reaches this are taken as settled."""
EXACT = 1024
"""Of inputs that are wider, the directions are found by a randomised decomposition."""


def principal(weight: torch.Tensor, rank: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """PiSSA: (out, in) -> A (rank, in), B (out, rank) with scale B A = the `rank` largest singular components.

    Meng, Wang and Zhang (2024), equations 2 and 3: A = U S^1/2, B = S^1/2 V^T (their A is our B).
    """
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    root = (s[:rank] / scale).sqrt()
    return root[:, None] * vh[:rank], u[:, :rank] * root


def orthonormal(weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """OLoRA: (out, in) -> A (rank, in), B (out, rank) from W = Q R: A the first rows of R, B the first columns of Q.

    Büyükakyüz (2024), OLoRA, algorithm 1.
    """
    q, r = torch.linalg.qr(weight)
    return r[:rank], q[:, :rank]


def explained(
    trunk: torch.nn.Module, layers: Mapping[str, torch.nn.Module], batches: Iterable[Batch], rank: int
) -> dict[str, torch.Tensor]:
    """EVA: for each layer, (rank, in) the directions in which its inputs vary most, over batches until they settle.

    Paischer et al. (2024), One initialization to rule them all, algorithm 1, with one rank for all layers (rho = 1).
    Layers that read one input share its directions.
    """
    inputs = _Inputs(rank)
    handles = [layer.register_forward_pre_hook(inputs.watch(path)) for path, layer in layers.items()]
    device = next(trunk.parameters()).device
    trunk.eval()
    try:
        for batch in batches:
            if inputs.settled:
                break
            inputs.mask = batch.mask.bool().to(device)
            _pass(trunk, batch.to(device))
            inputs.grouped = True
    finally:
        for handle in handles:
            handle.remove()
    return {path: inputs.directions(path) for path in layers}


class _Inputs:
    """Principal directions of the inputs that layers see, batch after batch."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.mask: Any = None
        self.grouped = False
        """Whether one pass has shown which layers read the same input."""
        self._leaders: dict[str, str] = {}
        """Of each layer the first one that reads the same input."""
        self._last: tuple[str, Any] = ("", None)
        self._found: dict[str, Any] = {}
        self._settled: dict[str, bool] = {}

    @property
    def settled(self) -> bool:
        return bool(self._settled) and all(self._settled.values())

    def watch(self, path: str) -> Callable[[torch.nn.Module, tuple[Any, ...]], None]:
        """A hook for the layer of this path."""

        def see(_layer: torch.nn.Module, given: tuple[Any, ...]) -> None:
            x = given[0]
            if not self.grouped:
                leader, last = self._last
                self._leaders[path] = leader if x is last else path
                self._last = (self._leaders[path], x)
            if self._leaders[path] == path and not self._settled.get(path, False):
                self._settled[path] = self._fit(path, x)

        return see

    def directions(self, path: str) -> torch.Tensor:
        """(rank, in), of unit length."""
        fitted = self._found.get(self._leaders.get(path, path))
        if fitted is None:
            raise Unsupported(
                f"method.initialisation 'eva' needs batches of at least {2 * self.rank} tokens for rank {self.rank}, "
                "and none has so many; raise evaluate.batch_tokens, lower method.rank, or use another initialisation"
            )
        found: torch.Tensor = fitted.components_
        return found

    def _fit(self, path: str, x: torch.Tensor) -> bool:
        """Take up one batch of inputs; whether the directions have settled."""
        seen = x[self.mask] if x.shape[:-1] == self.mask.shape else x.reshape(-1, x.shape[-1])
        if len(seen) < 2 * self.rank:
            return False
        fitted = self._found.get(path)
        if fitted is None:
            approximate = x.shape[-1] > EXACT
            fitted = peft.utils.incremental_pca.IncrementalPCA(self.rank, lowrank=approximate, lowrank_seed=0)
            self._found[path] = fitted
            fitted.partial_fit(seen.float())
            return False
        before = fitted.components_
        fitted.partial_fit(seen.float())
        cosines = torch.nn.functional.cosine_similarity(before, fitted.components_)
        return bool((cosines >= SIMILAR).all())


def _pass(trunk: torch.nn.Module, batch: Batch) -> None:
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
    if batch.segments is not None:
        inputs["token_type_ids"] = batch.segments
    config: Any = trunk.config
    if config.is_encoder_decoder:
        own = batch.decoder_ids is not None
        inputs |= {
            "decoder_input_ids": batch.decoder_ids if own else batch.ids,
            "decoder_attention_mask": batch.decoder_mask if own else batch.mask,
        }
    trunk(**inputs)
