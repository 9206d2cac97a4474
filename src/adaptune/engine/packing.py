"""Whether training packs: the sequences of a batch in one row, without padding. Knows no tensors, needs no torch."""

from __future__ import annotations

from adaptune.core.backbone import Roles
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head
from adaptune.core.method import Method
from adaptune.engine.config import TrainConfig


def packs(config: TrainConfig, method: Method, head: Head, roles: Roles, *, ragged: bool = True) -> bool:
    """Whether batches are packed; `ragged`: attention can leave out what lies between two sequences.

    Where it cannot, a mask keeps them apart, which is as right and computes more: auto then does not pack.
    Raises Unsupported where train.packing asks for what cannot be.
    """
    if config.packing is False:
        return False
    against = _against(method, head, roles)
    if config.packing is True and against is not None:
        raise Unsupported(f"train.packing is true, and {against}; set train.packing=auto")
    return against is None and (config.packing is True or (ragged and not config.gradient_checkpointing))


def _against(method: Method, head: Head, roles: Roles) -> str | None:
    """Why not, as words."""
    if len(roles.stacks) > 1 or not roles.main.causal:
        return f"models of the family {roles.family!r} are no decoders of one stack, which alone read packed rows"
    if not head.learns_texts:
        return f"head {head.name!r} does not learn the tokens of texts, which alone can be packed"
    if method.adds_positions:
        return f"method {method.name!r} puts positions in front of every sequence, for which a packed row has no place"
    return None
