"""What the laws stand on: tiny models of five families, rows with a planted rule, short trainings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, BartConfig, BartModel, BertForMaskedLM, PreTrainedModel, T5Config, T5Model

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch, Encoded
from adaptune.core.types import (
    NO_ANSWER,
    Blank,
    Example,
    Given,
    Labels,
    OfCandidate,
    OfDocument,
    OfHypothesis,
    OfItself,
    OfLabels,
    OfMarked,
    OfNumber,
    OfOption,
    OfPrompt,
    OfRow,
    OfSequence,
    OfSpan,
    OfText,
    OfWords,
    Prompt,
    Row,
    Sequence,
    Soft,
    Target,
)
from adaptune.data.batches import Batches, Budget, collate
from adaptune.data.encode import encode
from adaptune.engine.config import TrainConfig
from adaptune.engine.loop import Step, plan_steps, train
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

FAMILIES = ("bert", "llama", "gpt2", "t5", "bart")
LABELS = {
    "tag": Labels(("O", "B-place", "I-place")),
    "crf": Labels(("O", "B-place", "I-place")),
    "regress": Labels(("number",), (48,), (2.0, 1.5)),
    "generate": Labels(()),
    "words": Labels(()),
    "span": Labels(("answer", NO_ANSWER), (24, 24)),
    "choose": Labels(()),
    "rerank": Labels(()),
    "retrieve": Labels(()),
    "": Labels(("no", "yes"), (24, 24)),
}
"""By head; under no name those of the others."""
SOFT = 2
"""Own tokens of prompts that have some."""
SETTINGS: dict[str, dict[str, Any]] = {
    "generate": {"max_new_tokens": 12},
    "entail": {"classes": ("entailment", "neutral", "contradiction"), "entailment": "entailment"},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "relate-tokens": {"name": "relate", "markers": "tokens"},
    "verbal-soft": {"name": "verbal", "soft": SOFT},
    "entail-each": {"name": "entail", **SETTINGS["entail"], "contradiction": "contradiction", "each": True},
}
"""Heads that with other settings are built otherwise, by names of their own."""
WORDS = "the a is and late game bank street red box never again john will send it to her house by train".split()
PLANTED = "quick"
"""A text with this word is a `yes`; the word itself is a `B-place`. No other word starts with its letter: decoders read
the tag of a word at its first piece, before they have seen the others."""
PLAIN = {"optimizer": "adamw", "schedule": "constant", "warmup": 0.0, "warm_start": False, "device": "cpu"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def backbone_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Backbone]:
    """backbone_of("llama"): a tiny model with random weights; one object a family and type for the whole session."""
    loaded: dict[tuple[str, str, str, bool], Backbone] = {}

    def find(family: str, dtype: str = "float32", weights: str = "float", *, words: bool = False) -> Backbone:
        key = (family, dtype, weights, words)
        if key not in loaded:
            config = ModelConfig.model_validate(
                {"name": str(folder(family, words=words)), "dtype": dtype, "weights": weights}
            )
            loaded[key] = load_backbone(config, words=words)
        return loaded[key]

    def folder(family: str, *, words: bool) -> Path:
        if family == "bert" and words:
            found = tmp_path_factory.getbasetemp() / "bert-with-words"
            return masked_bert(request.getfixturevalue("tiny_bert"), found)
        if family in ("t5", "bart"):
            return _two_stacks(family, request.getfixturevalue("tiny_bert"), tmp_path_factory.getbasetemp() / family)
        return Path(request.getfixturevalue(f"tiny_{family}"))

    return find


@pytest.fixture(scope="session")
def assemble(backbone_of: Callable[..., Backbone]) -> Callable[..., Assembly]:
    """assemble("bert", {"name": "lora", "rank": 4}, "tag", seed=1)"""

    def make(
        family: str,
        method: dict[str, Any],
        head: str = "classify",
        *,
        dtype: str = "float32",
        seed: int = 0,
        **more: Any,
    ) -> Assembly:
        made = HEADS.make(VARIANTS.get(head, {"name": head, **SETTINGS.get(head, {})}))
        labels = LABELS.get(head, LABELS[""])
        backbone = backbone_of(family, dtype, words=made.reads_words)
        return Assembly(backbone, METHODS.make(method), made, labels, seed=seed, **more)

    return make


@pytest.fixture(scope="session")
def encoded_for() -> Callable[..., list[Encoded]]:
    """encoded_for(assembly, rows=24, seed=1): labelled rows that follow the planted rule, as its head reads them."""
    return _encoded_for


@pytest.fixture(scope="session")
def batch_for() -> Callable[..., Batch]:
    """batch_for(assembly, rows=6): the same rows as one batch."""

    def make(assembly: Assembly, rows: int = 6, seed: int = 1) -> Batch:
        return collate(_encoded_for(assembly, rows, seed), assembly.backbone.tokenizer.pad_token_id)

    return make


@pytest.fixture(scope="session")
def train_on() -> Callable[..., Iterator[Step]]:
    """train_on(assembly, encoded, max_steps=3, learning_rate=0.01): trains step by step; constant rate, no warm-up."""

    def run(assembly: Assembly, encoded: list[Encoded], *, seed: int = 0, **settings: Any) -> Iterator[Step]:
        config = TrainConfig.model_validate({**PLAIN, "epochs": 1000, **settings})
        budget = Budget(tokens=config.batch_tokens, rows=config.batch_rows)
        batches = Batches(
            encoded,
            budget,
            pad=assembly.backbone.tokenizer.pad_token_id,
            seed=seed,
            whole_rows=assembly.head.whole_rows,
        )
        assembly.method.prepare(assembly.trunk, batches(0), plan_steps(batches, config))
        return train(assembly, batches, config, seed=seed)

    return run


@pytest.fixture(scope="session")
def scatter() -> Callable[[Assembly], Assembly]:
    """scatter(assembly): everything that learns is moved away from its start, as training would."""

    def move(assembly: Assembly) -> Assembly:
        generator = torch.Generator().manual_seed(7)
        state = {
            name: tensor + 0.05 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in assembly.state().items()
        }
        assembly.load(state)
        return assembly.eval()

    return move


@pytest.fixture(scope="session")
def hidden_of() -> Callable[[Assembly, Batch], torch.Tensor]:
    """hidden_of(assembly, batch): (B, T, D) in evaluation mode, zero where there is padding."""

    def find(assembly: Assembly, batch: Batch) -> torch.Tensor:
        mask = batch.mask if batch.decoder_mask is None else batch.decoder_mask
        with torch.inference_mode():
            return assembly.eval().hidden(batch) * mask.unsqueeze(-1)

    return find


def _encoded_for(assembly: Assembly, rows: int = 48, seed: int = 1) -> list[Encoded]:
    backbone = assembly.backbone
    kinds = {
        OfWords: _tagged,
        OfLabels: _labelled,
        OfNumber: _rated,
        OfRow: _paired,
        OfMarked: _related,
        OfText: _written,
        OfItself: _raw,
        OfSpan: _asked,
        OfOption: _optional,
        OfHypothesis: _hypotheses,
        OfCandidate: _ranked,
        OfDocument: _sought,
        OfPrompt: partial(_prompted, causal=backbone.roles.main.causal, soft=len(assembly.head.own_tokens)),
    }
    return encode(
        kinds.get(assembly.head.target, _classified)(rows, seed),
        backbone.tokenizer,
        assembly.labels,
        max_length=backbone.max_length,
        segments=backbone.roles.segments,
        writing=assembly.writing,
        reading=assembly.reading,
    )


def _written(rows: int, seed: int) -> list[Example]:
    """The planted rule as a text to be written."""
    return [
        Example(example.row, (Sequence(example.sequences[0].first, target=OfText(example.expected)),), example.expected)
        for example in _classified(rows, seed)
    ]


def _raw(rows: int, seed: int) -> list[Example]:
    """The same texts, to be read for their own sake."""
    return [_retargeted(example, OfItself()) for example in _classified(rows, seed)]


def _asked(rows: int, seed: int) -> list[Example]:
    """The planted word as the answer to a question that never changes; no answer where it is missing."""
    examples = []
    for example in _classified(rows, seed):
        text = str(example.sequences[0].first)
        start = text.find(PLANTED)
        target = OfSpan((start, start + len(PLANTED)) if start >= 0 else None)
        sequence = Sequence("who is late", text, target, overflow="window")
        examples.append(replace(example, sequences=(sequence,), expected=(PLANTED,) if start >= 0 else ()))
    return examples


def _classified(rows: int, seed: int) -> list[Example]:
    examples = []
    for example in _tagged(rows, seed):
        label = "yes" if "B-place" in example.expected else "no"
        text = " ".join(example.sequences[0].first)
        examples.append(Example(example.row, (Sequence(text, target=OfSequence(label)),), label))
    return examples


def _prompted(rows: int, seed: int, *, causal: bool, soft: int) -> list[Example]:
    """The same before a blank, or with one, that `late` fills for `no`, and `quick` or `game` for `yes`."""
    examples = []
    for example in _classified(rows, seed):
        text = str(example.sequences[0].first)
        own = (Soft(soft),) if soft else ()
        parts = (Given(text), " ", *own, " is it ", Blank(None if causal else 1))
        prompt = Prompt(parts if causal else (*parts, " ?"), (("late",), ("quick", "game")), before="the game : ")
        target = OfPrompt(("no", "yes").index(example.expected))
        examples.append(replace(example, sequences=(Sequence(text, target=target, prompt=prompt),)))
    return examples


def _labelled(rows: int, seed: int) -> list[Example]:
    """As classified; a row of `no` has no label at all."""
    return [
        _retargeted(example, OfLabels(("yes",) if example.expected == "yes" else ()))
        for example in _classified(rows, seed)
    ]


def _rated(rows: int, seed: int) -> list[Example]:
    """5 for `yes`, 1 for `no`."""
    return [
        _retargeted(example, OfNumber(5.0 if example.expected == "yes" else 1.0)) for example in _classified(rows, seed)
    ]


def _related(rows: int, seed: int) -> list[Example]:
    """The first and the last word of a classified text as its entities."""
    examples = []
    for example in _classified(rows, seed):
        first, *middle, last = str(example.sequences[0].first).split()
        start, end = f"@ {first} @", f"# {last} #"
        text = f"{start} {' '.join(middle)} {end}"
        marks = ((0, len(start)), (len(text) - len(end), len(text)))
        examples.append(replace(example, sequences=(Sequence(text, target=OfMarked(example.expected), marks=marks),)))
    return examples


def _paired(rows: int, seed: int) -> list[Example]:
    """The classified text beside the planted word; both match where the text has it."""
    examples = []
    for example in _classified(rows, seed):
        of_row = OfRow(example.expected)
        first = replace(example.sequences[0], target=of_row)
        examples.append(replace(example, sequences=(first, Sequence(PLANTED, target=of_row))))
    return examples


def _hypotheses(rows: int, seed: int) -> list[Example]:
    """A word for each label beside the text."""
    examples = []
    for example in _classified(rows, seed):
        text = example.sequences[0].first
        said = (("no", "late"), ("yes", PLANTED))
        sequences = tuple(Sequence(text, word, OfHypothesis(label == example.expected)) for label, word in said)
        examples.append(replace(example, sequences=sequences))
    return examples


def _optional(rows: int, seed: int) -> list[Example]:
    """Two or three options, the planted word the right one."""
    examples = []
    for example, (others, place) in zip(_classified(rows, seed), _others(rows, seed), strict=True):
        options = [*others[:place], PLANTED, *others[place:]]
        text = example.sequences[0].first
        sequences = tuple(Sequence(text, one, OfOption(here == place)) for here, one in enumerate(options))
        examples.append(replace(example, sequences=sequences, expected=place))
    return examples


def _ranked(rows: int, seed: int) -> list[Example]:
    """The same as candidates, the planted word of the highest grade, and one of a lower grade."""
    examples = []
    for example, (others, place) in zip(_classified(rows, seed), _others(rows, seed), strict=True):
        graded = [(text, 1.0 if text == others[0] else 0.0) for text in others]
        graded.insert(place, (PLANTED, 3.0))
        text = example.sequences[0].first
        sequences = tuple(Sequence(text, candidate, OfCandidate(grade)) for candidate, grade in graded)
        examples.append(replace(example, sequences=sequences, expected=tuple(graded)))
    return examples


def _sought(rows: int, seed: int) -> list[Example]:
    """The same, each text by itself."""
    examples = []
    for example in _ranked(rows, seed):
        query = Sequence(example.sequences[0].first, target=OfDocument(0.0))
        texts = [Sequence(text, target=OfDocument(grade)) for text, grade in example.expected]
        examples.append(replace(example, sequences=(query, *texts)))
    return examples


def _others(rows: int, seed: int) -> Iterator[tuple[list[str], int]]:
    """One or two texts beside the planted word, and its place among them."""
    choose = random.Random(seed + 1)
    for _ in range(rows):
        others = [" ".join(choose.sample(WORDS, k=choose.randint(1, 6))) for _ in range(choose.randint(1, 2))]
        yield others, choose.randint(0, len(others))


def _retargeted(example: Example, target: Target) -> Example:
    return replace(example, sequences=(replace(example.sequences[0], target=target),))


def _tagged(rows: int, seed: int) -> list[Example]:
    """Every second row holds the planted word."""
    choose = random.Random(seed)
    examples = []
    for number in range(rows):
        words = choose.choices(WORDS, k=choose.randint(3, 9))
        if number % 2:
            words[choose.randrange(len(words))] = PLANTED
        tags = tuple("B-place" if word == PLANTED else "O" for word in words)
        sequence = Sequence(tuple(words), target=OfWords(tags), overflow="window")
        examples.append(Example(Row("rows.csv", number, {}), (sequence,), tags))
    return examples


def masked_bert(tiny_bert: Path, folder: Path) -> Path:
    """The tiny BERT with an output layer over words, which its own files lack."""
    torch.manual_seed(0)
    model = BertForMaskedLM.from_pretrained(tiny_bert)
    model.eval().save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


def _two_stacks(family: str, with_tokenizer: Path, folder: Path) -> Path:
    """A T5 or BART of 2 + 2 layers, hidden size 32, seed 0, with the tokenizer of the tiny BERT."""
    tokenizer = AutoTokenizer.from_pretrained(with_tokenizer)
    size = {"vocab_size": len(tokenizer), "d_model": 32, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model: PreTrainedModel
    if family == "t5":
        model = T5Model(T5Config(d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0, **size))
    else:
        layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
        wide = {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 128}
        model = BartModel(BartConfig(**size, **layers, **wide))
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
