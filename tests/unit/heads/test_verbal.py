"""Answers by the probabilities of their words, against plain arithmetic on transformers' own model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

from adaptune.core.backbone import Backbone
from adaptune.core.errors import Unsupported
from adaptune.core.types import Answer, Blank, Example, Given, Labels, OfPrompt, Prompt, Row, Sequence
from adaptune.data.batches import collate
from adaptune.data.encode import encode
from adaptune.heads.verbal import VerbalHead
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

TEXTS = ("the red box", "it was a terrible night at the station")


@pytest.fixture(scope="module")
def masked(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tmp_path_factory.mktemp("models") / "masked"
    torch.manual_seed(0)
    BertForMaskedLM.from_pretrained(tiny_bert).eval().save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return load_backbone(ModelConfig(name=str(folder)), words=True)


def assembled(backbone: Backbone, labels: tuple[str, ...] = ("no", "yes"), method: str = "none") -> Assembly:
    return Assembly(backbone, METHODS.make({"name": method}), VerbalHead(), Labels(labels), seed=0).eval()


def answered(assembly: Assembly, answers: tuple[tuple[str, ...], ...], right: int | None = 0) -> dict[int, Answer]:
    return assembly.answers(batch_of(assembly, answers, right))


def batch_of(assembly: Assembly, answers: tuple[tuple[str, ...], ...], right: int | None = 0):  # type: ignore[no-untyped-def]
    target = None if right is None else OfPrompt(right)
    examples = [
        Example(
            Row("rows", number, {}),
            (Sequence(text, target=target, prompt=Prompt((Given(text), " is ", Blank(1)), answers)),),
        )
        for number, text in enumerate(TEXTS)
    ]
    tokenizer = assembly.backbone.tokenizer
    return collate(encode(examples, tokenizer, assembly.labels, max_length=64, segments=True), tokenizer.pad_token_id)


def plain(backbone: Backbone, text: str) -> dict[str, float]:
    """Probabilities of the words at the blank."""
    model = AutoModelForMaskedLM.from_pretrained(backbone.name).eval()
    found = backbone.tokenizer(f"{text} is [MASK]", return_tensors="pt")
    with torch.inference_mode():
        logits = model(**found).logits[0, -2].softmax(0)
    return {word: float(logits[backbone.tokenizer.convert_tokens_to_ids(word)]) for word in ("no", "never", "yes")}


def test_an_answer_is_as_probable_as_its_words_are_on_average(masked: Backbone) -> None:
    found = answered(assembled(masked), (("no", "never"), ("yes",)))
    for row, text in enumerate(TEXTS):
        words = plain(masked, text)
        no, yes = (words["no"] + words["never"]) / 2, words["yes"]
        assert found[row].probabilities == pytest.approx((no / (no + yes), yes / (no + yes)), rel=1e-4)
        assert found[row].value == ("no" if no > yes else "yes")


def test_a_prior_is_taken_off(masked: Backbone) -> None:
    assembly = assembled(masked)
    assembly.layer.get_buffer("prior").copy_(torch.tensor([0.9, 0.1]).log())
    found = answered(assembly, (("no",), ("yes",)))[0].probabilities
    words = plain(masked, TEXTS[0])
    no, yes = words["no"] / 0.9, words["yes"] / 0.1
    assert found == pytest.approx((no / (no + yes), yes / (no + yes)), rel=1e-4)


def test_rows_with_options_of_their_own_are_answered_by_place(masked: Backbone) -> None:
    found = answered(assembled(masked, ()), (("no",), ("never",), ("yes",)), right=None)
    words = plain(masked, TEXTS[1])
    best = max(range(3), key=lambda place: words[("no", "never", "yes")[place]])
    assert found[1].value == best
    assert len(found[1].probabilities) == 3


def test_the_loss_is_that_of_the_words_alone(masked: Backbone) -> None:
    loss = assembled(masked)(batch_of(assembled(masked), (("no",), ("yes",)), right=1))
    expected = 0.0
    for text in TEXTS:
        words = plain(masked, text)
        expected -= math.log(words["yes"] / (words["no"] + words["yes"]))
    assert float(loss.total) == pytest.approx(expected, rel=1e-4)
    assert float(loss.items) == 2


def test_its_prior_is_kept_and_nothing_of_the_base(masked: Backbone) -> None:
    assembly = assembled(masked)
    assert {name: tuple(one.shape) for name, one in assembly.state().items()} == {"head.prior": (2,)}
    assembly.load({"head.prior": torch.tensor([1.0, 2.0])})
    assert assembly.layer.get_buffer("prior").tolist() == [1.0, 2.0]
    with pytest.raises(KeyError, match="soft: expected prior"):
        assembly.load({"head.prior": torch.zeros(2), "head.soft": torch.zeros(1, 2)})
    with pytest.raises(RuntimeError, match="prior has another shape"):
        assembly.load({"head.prior": torch.zeros(3)})


def test_a_model_without_its_words_is_refused(tiny_bert: Path) -> None:
    with pytest.raises(Unsupported, match=r"'verbal' reads the model's own output layer .* load it with its words"):
        assembled(load_backbone(ModelConfig(name=str(tiny_bert))))


def test_few_logits_at_a_time_give_the_same(masked: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = answered(assembled(masked), (("no",), ("yes",)))
    monkeypatch.setattr("adaptune.heads.verbal.CELLS", 1)
    assert answered(assembled(masked), (("no",), ("yes",))) == whole
