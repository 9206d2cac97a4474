"""IA3 on peft: keys, values and the inside of the feed-forward part are rescaled."""

from __future__ import annotations

from typing import Any, ClassVar

from adaptune.core.backbone import Roles
from adaptune.core.lazy import peft, torch
from adaptune.core.method import State
from adaptune.methods._peft import OnPeft, by_layer, inject, is_transposed, matrices
from adaptune.methods._stacked import Change


class Ia3(OnPeft):
    """Vectors l multiply keys and values, l_k (W_k x) and l_v (W_v x), and the feed-forward part: W_2 (l_ff f(W_1 x)).

    Section 3.3; all start at one. Where one matrix gives query, key and value, its whole output is multiplied.
    """

    paper: ClassVar[str] = "Liu et al. (2022), Few-shot parameter-efficient fine-tuning is better and cheaper, NeurIPS"
    learning_rate: ClassVar[float] = 1e-2
    peft_type: ClassVar[str | None] = "IA3"
    peft_silent: ClassVar[frozenset[str]] = frozenset({"feedforward_modules"})

    def apply(self, trunk: torch.nn.Module, roles: Roles) -> torch.nn.Module:
        self.check_stacks(trunk, roles)
        skip = self.skip_layers
        outputs = matrices(trunk, roles, lambda stack, _inside: (stack.key, stack.value, *stack.cross[1:3]), skip)
        inputs = matrices(trunk, roles, lambda stack, _inside: stack.feed_forward[-1:], skip)
        config = peft.IA3Config(
            target_modules=[".".join(path) for path in outputs + inputs],
            feedforward_modules=[".".join(path) for path in inputs],
            fan_in_fan_out=is_transposed(trunk, roles),
        )
        return inject(trunk, config)

    def groups(self, trunk: torch.nn.Module, learning_rate: float) -> list[dict[str, Any]]:
        """Without decay, which would draw the vectors from one, where they change nothing, to zero."""
        return [group | {"weight_decay": 0.0} for group in super().groups(trunk, learning_rate)]

    def changes(self, trunk: torch.nn.Module, state: State) -> dict[str, Change]:
        vectors = {path: tensors["ia3_l"] for path, tensors in by_layer(state).items()}
        # peft keeps a vector on outputs as (out, 1), one on inputs as (1, in).
        return {
            path: Change(gain=vector.flatten()) if vector.shape[1] == 1 else Change(scale=vector.flatten())
            for path, vector in vectors.items()
        }
