"""Members that come and go leave the others as they were, and the memory as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.unit.serve.conftest import LABELS, move
from torch import Tensor

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch
from adaptune.core.method import Member
from adaptune.core.types import Example, Labels, Row, Sequence
from adaptune.data.batches import collate
from adaptune.data.encode import encode
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.serve.mixture import Mixture

KINDS: dict[str, list[dict[str, Any]]] = {
    "low rank": [{"name": "lora", "rank": 2}, {"name": "ia3"}, {"name": "lora", "rank": 8, "targets": "all"}],
    "adapters": [{"name": "adapter", "reduction_factor": 8}, {"name": "adapter", "reduction_factor": 2}],
    "norms": [{"name": "norms"}, {"name": "norms"}],
    "biases": [{"name": "bitfit"}, {"name": "bitfit"}],
}


def batch_of(bert: Backbone, rows: int) -> Batch:
    examples = [Example(Row("here", row, {}), (Sequence("the late red train"),)) for row in range(rows)]
    encoded = encode(examples, bert.tokenizer, Labels(()), max_length=16, segments=bert.roles.segments)
    return collate(encoded, bert.tokenizer.pad_token_id)


def learned(bert: Backbone, settings: dict[str, Any], seed: int) -> tuple[Member, Assembly]:
    """A member away from its start, and the assembly that it comes from."""
    assembly = Assembly(bert, METHODS.make(settings), HEADS.make({"name": "classify"}), LABELS["classify"], seed=seed)
    move(assembly, seed)
    state = {name: tensor.detach().clone() for name, tensor in assembly.method.state(assembly.trunk).items()}
    return Member(assembly.method, state), assembly.eval()


@torch.inference_mode()
def alone(assembly: Assembly, batch: Batch) -> Tensor:
    return assembly.hidden(batch)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_come_and_go_leave_the_others_as_they_were(bert: Backbone, kind: str) -> None:
    made = [learned(bert, settings, seed) for seed, settings in enumerate(KINDS[kind] + KINDS[kind][:1], start=1)]
    batch, mixture = batch_of(bert, 1), Mixture(bert)
    wanted = [alone(assembly, batch) for _, assembly in made]

    def same(*there: int) -> None:
        found = mixture.hidden(batch_of(bert, len(there)), list(there))
        for place, number in enumerate(there):
            torch.testing.assert_close(found[place], wanted[number], atol=1e-5, rtol=1e-5)

    mixture.put(0, made[0][0])
    same(0)
    mixture.put(1, made[1][0])
    same(1, 0)
    mixture.drop(0)
    same(1)
    for number in range(2, len(made)):
        mixture.put(number, made[number][0])
    same(*range(1, len(made)))
    mixture.put(0, made[0][0])
    same(*range(len(made)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_that_goes_takes_its_memory_with_it(bert: Backbone, kind: str) -> None:
    small, large = (learned(bert, settings, seed)[0] for seed, settings in ((1, KINDS[kind][0]), (2, KINDS[kind][-1])))
    mixture = Mixture(bert)
    mixture.put("small", small)
    mixture.hidden(batch_of(bert, 1), ["small"])
    before = mixture.bytes
    mixture.put("large", large)
    mixture.hidden(batch_of(bert, 1), ["large"])
    assert mixture.bytes > before
    mixture.drop("large")
    mixture.hidden(batch_of(bert, 1), ["small"])
    assert mixture.bytes == before


def test_a_stacked_member_is_held_once(bert: Backbone) -> None:
    mixture = Mixture(bert)
    for number in range(10):
        mixture.put(number, learned(bert, {"name": "lora", "rank": 4}, number)[0])
    own = sum(4 * tensor.numel() for tensor in learned(bert, {"name": "lora", "rank": 4}, 0)[0].state.values())
    mixture.hidden(batch_of(bert, 1), [3])
    assert mixture.bytes == 11 * own  # the first place is of rows without a member


def test_an_empty_mixture_is_the_base(bert: Backbone) -> None:
    member, _ = learned(bert, {"name": "lora"}, 1)
    mixture = Mixture(bert)
    plain = mixture.hidden(batch_of(bert, 1), [None])
    mixture.put("one", member)
    mixture.hidden(batch_of(bert, 1), ["one"])
    mixture.drop("one")
    torch.testing.assert_close(mixture.hidden(batch_of(bert, 1), [None]), plain)
    assert mixture.bytes == 0
