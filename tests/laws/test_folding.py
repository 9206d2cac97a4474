"""What folding keeps: beginnings that are read once give the states, losses and gradients of one pass a sequence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import Unsupported
from adaptune.core.types import Blank, Example, Given, Labels, OfPrompt, Prompt, Row, Sequence, Soft
from adaptune.data.batches import collate
from adaptune.data.encode import encode
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models import assembly as assembly_module
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.folding import fold
from adaptune.models.load import load_backbone

FAMILIES = ("llama", "gpt2", "gemma3")
METHOD_NAMES = [name for name in METHODS.names() if METHODS.get(name).changes_trunk]
SHORT = {"prompt": {"length": 5}, "ptuning": {"length": 5}, "prefix": {"length": 5}, "top_layers": {"layers": 1}}
ANSWERS = (("late again", "late"), ("quick",), ("never by train", "a game"))
TEXTS = ("the train is late", "red box", "the train is never late and john will send it to her house", "red box game")
Find = Callable[[str], Backbone]


@pytest.fixture(scope="session")
def decoder(backbone_of: Callable[..., Backbone], tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Find:
    """decoder("gemma3"): with its words; it reads in every second layer 6 tokens back at most."""
    loaded: dict[str, Backbone] = {}

    def find(family: str) -> Backbone:
        if family != "gemma3":
            return backbone_of(family, words=True)
        if family not in loaded:
            folder, tokenizer = tmp_path_factory.mktemp("folded") / family, AutoTokenizer.from_pretrained(tiny_llama)
            torch.manual_seed(0)
            config = Gemma3TextConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=8,
                intermediate_size=64,
                max_position_embeddings=128,
                sliding_window=6,
                layer_types=["sliding_attention", "full_attention"],
                pad_token_id=0,
            )
            Gemma3ForCausalLM(config).eval().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            loaded[family] = load_backbone(ModelConfig(name=str(folder)), words=True)
        return loaded[family]

    return find


@pytest.fixture
def unfolding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """unfolding(): from now on every sequence is read whole."""
    return lambda: monkeypatch.setattr(assembly_module, "folds", lambda *_: False)


def _encoded(
    backbone: Backbone, soft: int = 0, per: str = "token", answers: tuple[tuple[str, ...], ...] = ANSWERS
) -> list[Encoded]:
    """Four rows behind the same two demonstrations."""
    shots = ("john is late : quick\n", "the bank is late : late\n")
    own = (" ", Soft(soft), " ") if soft else ()
    examples = []
    for number, text in enumerate(TEXTS):
        prompt = Prompt((Given(text), *own, " : ", Blank()), answers, shots, per=per)  # type: ignore[arg-type]
        sequence = Sequence(text, target=OfPrompt(number % 3), prompt=prompt)
        examples.append(Example(Row("rows", number, {}), (sequence,), number % 3))
    return encode(examples, backbone.tokenizer, Labels(("a", "b", "c")), max_length=backbone.max_length, segments=False)


def _assembled(backbone: Backbone, method: str, soft: int = 0) -> Assembly:
    """Without dropout; moved away from its start. Skips what a method refuses."""
    made = METHODS.make({"name": method, **SHORT.get(method, {})})
    try:
        head = HEADS.make({"name": "verbal", "soft": soft})
        assembly = Assembly(backbone, made, head, Labels(("a", "b", "c")), seed=0)
    except Unsupported as refusal:
        pytest.skip(str(refusal))
    generator = torch.Generator().manual_seed(7)
    state = assembly.state()
    assembly.load({name: one + 0.05 * torch.randn(one.shape, generator=generator) for name, one in state.items()})
    return assembly.eval()


def _learned(assembly: Assembly, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    assembly.zero_grad()
    loss = assembly(batch)
    loss.total.backward()
    gradients = {name: one.grad.clone() for name, one in assembly.named_parameters() if one.grad is not None}
    return loss.total.item(), gradients


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folded_batch_gives_the_states_of_one_pass_a_sequence(decoder: Find, family: str) -> None:
    assembly = _assembled(decoder(family), "lora")
    encoded = _encoded(assembly.backbone)
    batch = collate(encoded, 0)
    with torch.inference_mode():
        together = assembly.hidden(batch)
        for place, one in enumerate(encoded):
            alone = assembly.trunk(torch.from_numpy(one.ids.astype(np.int64))[None]).last_hidden_state[0]
            assert torch.allclose(together[place, : len(one.ids)], alone, atol=1e-5)


def test_one_token_alone_goes_on_from_a_beginning(decoder: Find) -> None:
    assembly = _assembled(decoder("llama"), "lora")
    encoded = _encoded(assembly.backbone, answers=(("a",), ("a a",), ("quick",)))[:2]
    folded = fold(collate(encoded, 0)).folded
    assert folded is not None
    assert [branch.stop - branch.start for branch in folded.branches][1:] == [1]
    with torch.inference_mode():
        together = assembly.hidden(collate(encoded, 0))[1]
        alone = assembly.trunk(torch.from_numpy(encoded[1].ids.astype(np.int64))[None]).last_hidden_state[0]
    assert torch.allclose(together, alone, atol=1e-5)


def test_every_beginning_stands_once(decoder: Find) -> None:
    encoded = _encoded(decoder("llama"))
    folded = fold(collate(encoded, 0))
    beginnings = {tuple(one.ids[: end + 1].tolist()) for one in encoded for end in range(len(one.ids))}
    assert folded.tokens == len(beginnings) < sum(len(one.ids) for one in encoded) / 4
    shared = min(one.fresh for one in encoded if one.fresh is not None)
    assert shared < 2
    common = folded.tokens - sum(one.fresh for one in encoded if one.fresh is not None)
    assert 0 < common <= min(len(one.ids) for one in encoded)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("method", "soft"), [*((name, 0) for name in METHOD_NAMES), ("head_only", 2), ("lora", 2)])
def test_folded_losses_and_gradients_are_those_of_whole_sequences(
    decoder: Find, unfolding: Callable[[], None], method: str, soft: int, family: str
) -> None:
    assembly = _assembled(decoder(family), method, soft)
    batch = collate(_encoded(assembly.backbone, soft), 0)
    loss, gradients = _learned(assembly, batch)
    unfolding()
    expected, plain = _learned(assembly, batch)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert gradients.keys() == plain.keys() != set()
    size = sum(float(one.square().sum()) for one in plain.values())
    difference = sum(float((gradients[name] - one).square().sum()) for name, one in plain.items())
    assert (difference / size) ** 0.5 < 1e-5


@pytest.mark.parametrize("per", ["answer", "token", "byte"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_one_plain_forward_an_option(decoder: Find, family: str, per: str) -> None:
    backbone = decoder(family)
    assembly = _assembled(backbone, "none")
    assembly.layer.get_buffer("prior").zero_()
    tokenizer, answers = backbone.tokenizer, assembly.answers(collate(_encoded(backbone, per=per), 0))
    for row, text in enumerate(TEXTS):
        written = f"john is late : quick\nthe bank is late : late\n{text} :"
        scores = [[_plain(backbone, tokenizer, written, f" {word}", per) for word in words] for words in ANSWERS]
        of_answers = torch.tensor([torch.tensor(one).exp().mean().log() for one in scores])
        assert answers[row].probabilities == pytest.approx(of_answers.softmax(0).tolist(), abs=1e-5)


def _plain(backbone: Backbone, tokenizer: object, prompt: str, word: str, per: str) -> float:
    """By transformers alone."""
    before, after = (tokenizer(one, add_special_tokens=False)["input_ids"] for one in (prompt, word))  # type: ignore[operator]
    start = [tokenizer.bos_token_id] if tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id else []  # type: ignore[attr-defined,operator]
    ids = torch.tensor([[*start, *before, *after]])
    with torch.inference_mode():
        logits = backbone.vocabulary(backbone.trunk(ids).last_hidden_state).log_softmax(-1)[0]  # type: ignore[misc]
    first = len(start) + len(before) - 1
    total = sum(float(logits[first + place, token]) for place, token in enumerate(after))
    return total / {"answer": 1, "token": len(after), "byte": len(word.strip().encode())}[per]
