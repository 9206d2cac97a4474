"""What writing keeps: cache, left padding and batches change no text, whatever the method; all as transformers does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from adaptune.core.batch import Batch, Encoded
from adaptune.core.types import Conversation, Example, OfText, Row, Sequence, Turn
from adaptune.data.batches import collate
from adaptune.data.encode import encode
from adaptune.engine.loop import Step
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.share import share
from adaptune.models.write import generate
from adaptune.tasks import TASKS

Assemble = Callable[..., Assembly]
DECODERS, TWO_STACKS = ("llama", "gpt2"), ("t5", "bart")
REFUSED = {("bitfit", "llama"), ("bitfit", "t5"), ("loha", "gpt2"), ("lokr", "gpt2"), ("ladder", "t5")}
"""Pairs of which tests/laws/test_methods.py holds the refusals."""
SHORT = {"prompt": {"length": 5}, "ptuning": {"length": 5}, "prefix": {"length": 5}, "top_layers": {"layers": 1}}
QUICK = {("lora", "llama"), ("prompt", "gpt2"), ("prompt", "t5"), ("ptuning", "bart"), ("prefix", "llama")}
"""The other pairs belong to `make test-all`."""
TEXTS = (
    "the quick game of the street",
    "a bank",
    "john will send it to her house by train again and again",
    "red box late game never",
)
PAIRS = [
    pytest.param(method, family, marks=() if (method, family) in QUICK else pytest.mark.slow)
    for method in METHODS.names()
    if METHODS.get(method).changes_trunk
    for family in (*DECODERS, *TWO_STACKS)
    if (method, family) not in REFUSED
]


def _moved(assemble: Assemble, scatter: Callable[[Assembly], Assembly], method: str, family: str) -> Assembly:
    return scatter(assemble(family, {"name": method, **SHORT.get(method, {})}, "generate"))


def _encoded(assembly: Assembly, target: str | None = None) -> list[Encoded]:
    written = None if target is None else OfText(target)
    examples = [Example(Row("rows", n, {}), (Sequence(text, target=written),)) for n, text in enumerate(TEXTS)]
    return encode(
        examples,
        assembly.backbone.tokenizer,
        assembly.labels,
        max_length=assembly.max_length,
        segments=False,
        writing=assembly.writing,
    )


def _batch(assembly: Assembly, encoded: list[Encoded]) -> Batch:
    return collate(encoded, assembly.backbone.tokenizer.pad_token_id)


def _with(assembly: Assembly, **changes: Any) -> Assembly:
    assembly.head = assembly.head.model_copy(update=changes)
    return assembly


@pytest.mark.parametrize(("method", "family"), PAIRS)
def test_a_text_written_with_cache_in_a_batch_is_that_of_whole_passes_alone(
    assemble: Assemble, scatter: Callable[[Assembly], Assembly], method: str, family: str
) -> None:
    assembly = _moved(assemble, scatter, method, family)
    encoded = _encoded(assembly)
    prompts = [torch.from_numpy(one.ids).long() for one in encoded]
    with torch.inference_mode():
        together = generate(assembly, prompts)
        for prompt, found in zip(prompts, together, strict=True):
            assert found.tolist() == _greedily(assembly, prompt, len(found))


def _greedily(assembly: Assembly, prompt: torch.Tensor, count: int) -> list[int]:
    """The most probable next token, again and again, by whole passes."""
    written: list[int] = []
    start = None if assembly.writing is None else assembly.writing.start
    for _ in range(count):
        read = prompt.tolist() if start is not None else [*prompt.tolist(), *written]
        batch = Batch(torch.tensor([0]), torch.ones(1, len(read), dtype=torch.long), torch.tensor([read]))
        if start is not None:
            decoder = torch.tensor([[start, *written]])
            batch = replace(batch, decoder_ids=decoder, decoder_mask=torch.ones_like(decoder))
        written.append(int(assembly.layer(assembly.hidden(batch)[0, -1:]).argmax()))
    return written


@pytest.mark.parametrize("family", [*DECODERS, *TWO_STACKS])
def test_texts_are_those_that_transformers_writes_with_the_merged_model(
    assemble: Assemble, scatter: Callable[[Assembly], Assembly], family: str
) -> None:
    assembly = _moved(assemble, scatter, "lora", family)
    tokenizer = assembly.backbone.tokenizer
    kind: Any = AutoModelForSeq2SeqLM if family in TWO_STACKS else AutoModelForCausalLM
    plain = kind.from_pretrained(assembly.backbone.name).eval()
    merged = assembly.method.merged(share(assembly.trunk))
    (plain if family == "t5" else plain.base_model).load_state_dict(merged.state_dict(), strict=False)
    answers = assembly.answers(_batch(assembly, _encoded(assembly)))
    for row, one in enumerate(_encoded(assembly)):
        ids = torch.from_numpy(one.ids).long()[None]
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
        found = plain.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=tokenizer.pad_token_id,
            forced_eos_token_id=None,
        )[0]
        new = found[1 if family in TWO_STACKS else ids.shape[1] :]
        assert answers[row].value == tokenizer.decode(new, skip_special_tokens=True).strip()


SEARCHES: list[dict[str, Any]] = [{}, {"beams": 3}, {"sample": True, "temperature": 2.0}]


@pytest.mark.parametrize("search", SEARCHES, ids=["greedy", "beams", "sampled"])
@pytest.mark.parametrize("family", DECODERS)
def test_replies_are_those_that_transformers_writes_up_to_the_end_of_a_turn(
    assemble: Assemble, scatter: Callable[[Assembly], Assembly], family: str, search: dict[str, Any]
) -> None:
    assembly = _moved(assemble, scatter, "lora", family)
    tokenizer = assembly.backbone.tokenizer
    encoded = _conversations(assembly)
    prompts = [torch.from_numpy(one.ids).long() for one in encoded]
    # A token that is written before long stands for the end of a turn, which need not be that of a text.
    end = int(generate(assembly, prompts)[0][2])
    _with(assembly, **search)
    answers = assembly.answers(_batch(assembly, [replace(one, end=end) for one in encoded]))

    plain: Any = AutoModelForCausalLM.from_pretrained(assembly.backbone.name).eval()
    plain.base_model.load_state_dict(assembly.method.merged(share(assembly.trunk)).state_dict(), strict=False)
    ids = pad_sequence(prompts, batch_first=True, padding_value=tokenizer.pad_token_id, padding_side="left")
    mask = pad_sequence([torch.ones_like(one) for one in prompts], batch_first=True, padding_side="left")
    torch.manual_seed(0)
    found = plain.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=12,
        num_beams=search.get("beams", 1),
        do_sample=search.get("sample", False),
        eos_token_id=[end, tokenizer.eos_token_id],
        pad_token_id=tokenizer.pad_token_id,
        **({"temperature": 2.0, "top_k": 0, "top_p": 1.0} if "sample" in search else {}),
    )[:, ids.shape[1] :].tolist()
    until = [row[: row.index(end) + 1] if end in row else row for row in found]
    assert [answers[row].value for row in range(len(prompts))] == [
        tokenizer.decode(row, skip_special_tokens=True).strip() for row in until
    ]
    assert search or any(len(row) < 12 for row in until)


def _conversations(assembly: Assembly) -> list[Encoded]:
    """Questions behind an earlier exchange, by a template of words."""
    before = (Turn("user", "a bank"), Turn("assistant", "the house"))
    examples = [
        Example(
            Row("rows", number, {}),
            (Sequence(text, conversation=Conversation((*before, Turn("user", text)), template="plain")),),
        )
        for number, text in enumerate(TEXTS)
    ]
    return encode(
        examples,
        assembly.backbone.tokenizer,
        assembly.labels,
        max_length=assembly.max_length,
        segments=False,
        writing=assembly.writing,
    )


@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_beams_and_samples_are_written_again_alike(
    assemble: Assemble, scatter: Callable[[Assembly], Assembly], family: str
) -> None:
    assembly = _moved(assemble, scatter, "lora", family)
    batch = _batch(assembly, _encoded(assembly))
    greedy, before = assembly.answers(batch), torch.get_rng_state()
    _with(assembly, sample=True, temperature=3.0)
    drawn = assembly.answers(batch)
    assert drawn == assembly.answers(batch) != greedy
    assert torch.equal(before, torch.get_rng_state()), "sampling moved the generator of the process"
    _with(assembly, sample=False, beams=3)
    searched = assembly.answers(batch)
    # A search over several beams finds no less probable text than the greedy one, up to where they end.
    assert sum(searched[row].probability for row in searched) >= sum(greedy[row].probability for row in greedy) - 1e-6


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_text_ends_before_a_stop_string(
    assemble: Assemble, scatter: Callable[[Assembly], Assembly], family: str
) -> None:
    assembly = _moved(assemble, scatter, "lora", family)
    batch = _batch(assembly, _encoded(assembly))
    whole = {row: answer.value for row, answer in assembly.answers(batch).items()}
    longest = max(whole.values(), key=len)
    stop = longest[len(longest) // 2 :][:2]
    _with(assembly, stop=(stop,))
    for row, answer in assembly.answers(batch).items():
        assert answer.value == whole[row].partition(stop)[0].strip()


@pytest.mark.parametrize("family", [*DECODERS, *TWO_STACKS])
def test_a_probability_is_the_geometric_mean_over_the_tokens(
    assemble: Assemble, scatter: Callable[[Assembly], Assembly], family: str
) -> None:
    assembly = _moved(assemble, scatter, "lora", family)
    encoded = _encoded(assembly)[:1]
    answer = assembly.answers(_batch(assembly, encoded))[0]
    prompt = torch.from_numpy(encoded[0].ids).long()
    with torch.inference_mode():
        written = generate(assembly, [prompt])[0].tolist()
        product = 1.0
        for place, token in enumerate(written):
            product *= float(_next(assembly, prompt, written[:place])[token])
    assert answer.probability == pytest.approx(product ** (1 / len(written)), rel=1e-4)


def _next(assembly: Assembly, prompt: torch.Tensor, written: list[int]) -> torch.Tensor:
    """(V,) probabilities of the next token."""
    start = None if assembly.writing is None else assembly.writing.start
    read = prompt if start is not None else torch.cat([prompt, prompt.new_tensor(written)])
    batch = Batch(torch.tensor([0]), torch.ones_like(read)[None], read[None])
    if start is not None:
        decoder = torch.tensor([[start, *written]])
        batch = replace(batch, decoder_ids=decoder, decoder_mask=torch.ones_like(decoder))
    return assembly.layer(assembly.hidden(batch)[0, -1:])[0].softmax(dim=-1)  # type: ignore[no-any-return]


def test_a_small_t5_learns_sentences_by_heart(assemble: Assemble, train_on: Callable[..., Iterator[Step]]) -> None:
    names, places = ("john", "mary", "london", "paris"), ("street", "school", "river", "house", "bank")
    pairs = [(f"{one} {two}", f"{one} will never see the {two} again") for one in names for two in places]
    random.Random(0).shuffle(pairs)
    examples = [
        Example(Row("rows", number, {}), (Sequence(source, target=OfText(target)),), target)
        for number, (source, target) in enumerate(pairs)
    ]
    assembly = assemble("t5", {"name": "full"}, "generate")
    encoded = encode(
        examples, assembly.backbone.tokenizer, assembly.labels, max_length=64, segments=False, writing=assembly.writing
    )
    list(train_on(assembly, encoded, max_steps=250, learning_rate=0.01, batch_tokens=512, schedule="linear"))
    answers = assembly.eval().answers(_batch(assembly, encoded))
    written = [answers[row].value for row in range(len(pairs))]
    scores = TASKS.make({"name": "write"}).score(written, [target for _, target in pairs])
    assert scores.values["bleu"] > 0.95
