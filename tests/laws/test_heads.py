"""What every head must keep."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby, product

import numpy as np
import pytest
import torch

from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import Unsupported
from adaptune.core.types import Answer, Labels, OfCandidate, OfDocument, OfItself, OfSpan
from adaptune.data.batches import collate
from adaptune.heads import HEADS
from adaptune.heads.tag import best_path
from adaptune.models.assembly import Assembly
from adaptune.models.families import roles_of

Assemble = Callable[..., Assembly]
Rows = Callable[..., list[Encoded]]
FROZEN = {"name": "head_only"}
FAMILIES = ("bert", "llama", "gpt2", "t5", "bart")
WRITERS = [head for head in HEADS.names() if HEADS.get(head).writes]
RANKS = (OfCandidate, OfDocument)
"""Targets whose answers are texts with their scores."""
READERS = [head for head in HEADS.names() if head not in WRITERS]
# The own classifiers of models of two stacks read shifted inputs, and are refused; encoders write nothing.
PAIRS = [
    *((family, head) for head in READERS for family in ("bert", "llama", "bart")),
    *((family, head) for head in WRITERS for family in ("llama", "gpt2", "t5", "bart")),
]
PAIRS += [(family, "relate-tokens") for family in FAMILIES]
PAIRS += [(family, "verbal-soft") for family in ("bert", "llama", "gpt2")]
PAIRS += [(family, "entail-each") for family in ("bert", "llama")]
PAIRS.remove(("bart", "as_transformers"))
PAIRS.remove(("bart", "entail"))
PAIRS.remove(("bart", "words"))  # what two stacks write is a second text
PAIRS.remove(("bart", "verbal"))


@pytest.fixture(params=[name for name in READERS if HEADS.get(name).confident and name != "regress"])
def of_labels(request: pytest.FixtureRequest) -> str:
    """A head that chooses between labels."""
    name: str = request.param
    return name


@pytest.fixture(params=PAIRS, ids="-".join)
def assembly(request: pytest.FixtureRequest, assemble: Assemble) -> Assembly:
    family, head = request.param
    return assemble(family, FROZEN, head).eval()


def _answers(assembly: Assembly, encoded: list[Encoded]) -> dict[int, Answer]:
    return assembly.answers(collate(encoded, assembly.backbone.tokenizer.pad_token_id))


def _label_of(value: object) -> str:
    """The label that a whole answer consists of; an entity must begin before it goes on."""
    if isinstance(value, str):
        return value
    assert isinstance(value, tuple)
    first, *others = value
    return first if set(others) <= {first} else others[-1]


def test_decoding_a_perfect_logit_gives_the_label(assemble: Assemble, of_labels: str, encoded_for: Rows) -> None:
    assembly = assemble("bert", FROZEN, of_labels).eval()
    linear = assembly.head.linear(assembly.layer)
    assert linear is not None
    for index, label in enumerate(assembly.labels.names):
        with torch.no_grad():
            linear.weight.zero_()
            linear.bias.copy_(torch.nn.functional.one_hot(torch.tensor(index), len(assembly.labels)) * 30.0)
        for answer in _answers(assembly, encoded_for(assembly, rows=5)).values():
            assert _label_of(answer.value) == label


def test_padding_and_batch_mates_do_not_change_an_answer(assembly: Assembly, encoded_for: Rows) -> None:
    encoded = encoded_for(assembly, rows=8)
    together = _answers(assembly, encoded)
    assert len({len(sequence.ids) for sequence in encoded}) > 3
    for row, sequences in groupby(encoded, key=lambda sequence: sequence.row):
        alone = _answers(assembly, list(sequences))[row]
        if isinstance(alone.value, float):
            assert alone.value == pytest.approx(together[row].value, abs=1e-5)
        elif assembly.head.target is OfItself:
            assert alone.value == pytest.approx(together[row].value, abs=1e-4)
        elif assembly.head.target in RANKS:
            assert dict(alone.value) == pytest.approx(dict(together[row].value), abs=1e-5)
        else:
            assert alone.value == together[row].value
        assert alone.probability == pytest.approx(together[row].probability, abs=1e-5)
        assert alone.probabilities == pytest.approx(together[row].probabilities, abs=1e-5)


def test_a_loss_is_the_sum_of_its_rows_losses(assembly: Assembly, encoded_for: Rows) -> None:
    if assembly.head.couples_rows:
        pytest.skip("rows of a batch see each other")
    encoded = encoded_for(assembly, rows=8)
    pad = assembly.backbone.tokenizer.pad_token_id
    with torch.inference_mode():
        rows = [list(sequences) for _, sequences in groupby(encoded, key=lambda sequence: sequence.row)]
        parts = [assembly(collate(sequences, pad)) for sequences in rows]
        whole = assembly(collate(encoded, pad))
    assert float(whole.total) == pytest.approx(sum(float(part.total) for part in parts), rel=1e-5)
    assert float(whole.items) == pytest.approx(sum(float(part.items) for part in parts))


def test_a_probability_belongs_to_the_answer(assembly: Assembly, encoded_for: Rows) -> None:
    for answer in _answers(assembly, encoded_for(assembly, rows=6)).values():
        if answer.probability is None:
            assert isinstance(answer.value, float)
            continue
        assert 0.0 < answer.probability <= 1.0
        if assembly.head.learns_texts or assembly.head.target in (OfSpan, *RANKS):
            assert answer.probabilities == ()
        elif isinstance(answer.value, int):
            assert answer.probabilities[answer.value] == answer.probability == max(answer.probabilities)
            assert sum(answer.probabilities) == pytest.approx(1.0)
        elif answer.of_each or answer.value == ():
            assert len(answer.of_each) == len(answer.value)
            assert len(answer.probabilities) == len(assembly.labels)
        elif isinstance(answer.value, str):
            assert answer.probabilities[assembly.labels.index(answer.value)] == answer.probability
            assert sum(answer.probabilities) == pytest.approx(1.0)
        else:
            assert len(answer.probabilities) == len(answer.value)


def test_an_unlabelled_batch_decodes_like_a_labelled_one(assembly: Assembly, batch_for: Callable[..., Batch]) -> None:
    if assembly.head.target is OfItself:
        pytest.skip("a raw text is its own label")
    batch = batch_for(assembly)
    unlabelled = Batch(**{name: getattr(batch, name) for name in batch.__slots__ if name != "labels"})
    assert assembly.answers(unlabelled) == assembly.answers(batch)


@pytest.mark.parametrize("head", WRITERS)
def test_a_head_that_writes_refuses_a_model_that_only_reads(head: str) -> None:
    with pytest.raises(Unsupported, match=f"'{head}' writes texts, and models of the family 'bert' only read"):
        HEADS.make({"name": head}).check(roles_of({"model_type": "bert"}))


@pytest.mark.parametrize("family", FAMILIES[1:])
@pytest.mark.parametrize("head", WRITERS)
def test_a_head_that_writes_has_no_weights_and_moves_with_its_method(
    assemble: Assemble, head: str, family: str
) -> None:
    assembly = assemble(family, {"name": "lora", "rank": 2}, head)
    assert all(name.startswith("method.") for name in assembly.state())
    assert not any(parameter.requires_grad for parameter in assembly.layer.parameters())


def test_old_labels_keep_their_answers_when_new_ones_come(assemble: Assemble, of_labels: str) -> None:
    old = assemble("bert", FROZEN, of_labels)
    labels = old.labels.extended(Labels(("B-new", "I-new")))
    layer = old.head.build(old.backbone, labels)
    fresh = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    old.head.grown(layer, old.layer.state_dict(), old.labels, labels)
    linear, before = old.head.linear(layer), old.head.linear(old.layer)
    assert linear is not None
    assert before is not None
    known = len(old.labels)
    torch.testing.assert_close(linear.weight[:known], before.weight, rtol=0, atol=0)
    torch.testing.assert_close(linear.bias[:known], before.bias, rtol=0, atol=0)
    last = next(name for name, module in layer.named_modules() if module is linear)
    torch.testing.assert_close(linear.weight[known:], fresh[f"{last}.weight".lstrip(".")][known:], rtol=0, atol=0)


@pytest.mark.parametrize("seed", range(20))
def test_the_tags_decoded_are_the_best_of_all_legal_sequences(seed: int) -> None:
    tags = ("O", "B-x", "I-x", "B-y", "I-y")
    emissions = np.random.default_rng(seed).normal(scale=2, size=(seed % 5 + 1, 5)).astype(np.float32)
    best = max(
        (path for path in product(range(5), repeat=len(emissions)) if _legal([tags[tag] for tag in path])),
        key=lambda path: sum(emissions[step, tag] for step, tag in enumerate(path)),
    )
    assert tuple(best_path(emissions, tags)) == best


def _legal(tags: list[str]) -> bool:
    before = ["O", *tags]
    return all(not tag.startswith("I-") or before[step][2:] == tag[2:] for step, tag in enumerate(tags))
