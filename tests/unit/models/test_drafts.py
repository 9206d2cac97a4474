"""Texts that grow side by side are those that each would be alone, whoever joins or leaves meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from adaptune.core.backbone import Backbone
from adaptune.core.shell import Borrowed
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.heads.generate import GenerateHead
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.drafts import Draft, Lane
from adaptune.models.load import load_backbone
from adaptune.models.places import Places, holds
from adaptune.models.write import generate

PROMPTS = (
    "the late train is quick",
    "a red box",
    "we came back from the old town by the river and never saw the game again",
    "john",
)
METHOD_CASES: list[dict[str, Any]] = [
    {"name": "lora", "rank": 4},
    {"name": "prompt", "length": 5},
    {"name": "prefix", "length": 5},
    {"name": "ladder"},
    {"name": "adapter"},
]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    folder = request.getfixturevalue(f"tiny_{request.param}")
    return load_backbone(ModelConfig(name=str(folder)), words=True)


def writer(backbone: Backbone, method: dict[str, Any], **settings: Any) -> Assembly:
    head = HEADS.make({"name": "generate", "max_new_tokens": 12, **settings})
    assembly = Assembly(backbone, METHODS.make(method), head, Labels(()), seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in assembly.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return assembly.eval()


def prompts(backbone: Backbone) -> list[torch.Tensor]:
    return [torch.tensor(backbone.tokenizer(text)["input_ids"]) for text in PROMPTS]


def draft(assembly: Assembly, prompt: torch.Tensor, *, most: int = 12, **more: Any) -> Draft:
    assert isinstance(assembly.head, GenerateHead)
    head = assembly.head.model_copy(update={"max_new_tokens": most})
    return Draft(prompt.numpy(), head, assembly.backbone.tokenizer, **more)


def lane(assembly: Assembly) -> Lane:
    layer = assembly.layer
    assert isinstance(layer, Borrowed)
    return Lane(lambda _: assembly.trunk, layer, assembly.backbone.tokenizer.pad_token_id)


@torch.inference_mode()
def write(lane: Lane, joining: Sequence[Sequence[Draft]]) -> None:
    """Some join before every step, until all are written."""
    turns = list(joining)
    while turns or lane.drafts:
        if lane.drafts:
            lane.step()
        if turns and (coming := turns.pop(0)):
            lane.join(coming)
        lane.leave()


@pytest.mark.parametrize("method", METHOD_CASES, ids=lambda method: method["name"])
def test_texts_that_join_and_leave_are_those_that_transformers_writes_alone(
    backbone: Backbone, method: dict[str, Any]
) -> None:
    assembly = writer(backbone, method)
    expected = [generate(assembly, [prompt])[0].tolist() for prompt in prompts(backbone)]
    first, second, third, fourth = (
        draft(assembly, prompt, most=most) for prompt, most in zip(prompts(backbone), (12, 3, 12, 7), strict=True)
    )
    write(lane(assembly), [[first, second], [], [third], [], [], [fourth]])
    for one, whole, most in zip((first, second, third, fourth), expected, (12, 3, 12, 7), strict=True):
        assert one.ids == whole[:most]
        assert one.finish == (
            "stop" if len(whole) < most or whole[most - 1] == one.ids[-1] in _ends(backbone) else "length"
        )


def _ends(backbone: Backbone) -> set[int]:
    return {backbone.tokenizer.eos_token_id}


def test_a_draft_that_is_gone_leaves_before_the_next_token_and_changes_no_other(backbone: Backbone) -> None:
    assembly = writer(backbone, {"name": "lora", "rank": 4})
    expected = [generate(assembly, [prompt])[0].tolist() for prompt in prompts(backbone)]
    drafts = [draft(assembly, prompt) for prompt in prompts(backbone)]
    running = lane(assembly)
    with torch.inference_mode():
        running.join(drafts)
        running.step()
        drafts[0].gone = drafts[2].gone = True
        assert set(running.leave()) == {drafts[0], drafts[2]}
    write(running, [])
    assert len(drafts[0].ids) == len(drafts[2].ids) == 2
    assert [drafts[1].ids, drafts[3].ids] == [expected[1], expected[3]]


def test_a_probability_is_that_of_the_answer_offline(backbone: Backbone) -> None:
    assembly = writer(backbone, {"name": "lora", "rank": 4})
    prompt = prompts(backbone)[0]
    found = draft(assembly, prompt, weighed=True)
    write(lane(assembly), [[found]])
    product = 1.0
    for place, token in enumerate(found.ids):
        read = torch.cat([prompt, torch.tensor(found.ids[:place], dtype=torch.int64)])[None]
        with torch.inference_mode():
            states = assembly.trunk(input_ids=read, attention_mask=torch.ones_like(read)).last_hidden_state
            product *= float(assembly.layer(states[0, -1:])[0].softmax(dim=-1)[token])
    assert found.probability == pytest.approx(product ** (1 / len(found.ids)), rel=1e-4)
    with pytest.raises(ValueError, match="not asked"):
        _ = draft(assembly, prompt).probability


@pytest.mark.parametrize(
    "settings",
    [
        {"sample": True, "temperature": 1.5},
        {"sample": True, "temperature": 2.0, "top_k": 20, "top_p": 0.8},
        {"sample": True, "no_repeat_ngram": 2},
    ],
)
def test_what_is_drawn_depends_on_the_seed_and_not_on_the_neighbours(
    backbone: Backbone, settings: dict[str, Any]
) -> None:
    assembly = writer(backbone, {"name": "lora", "rank": 4}, **settings)
    one, *others = prompts(backbone)
    alone, beside, other = (draft(assembly, one, seed=seed) for seed in (7, 7, 8))
    write(lane(assembly), [[alone]])
    write(lane(assembly), [[draft(assembly, prompt, seed=7) for prompt in others], [], [other, beside]])
    assert alone.ids == beside.ids != other.ids


def test_greedy_texts_without_repetitions_are_those_of_transformers(backbone: Backbone) -> None:
    assembly = writer(backbone, {"name": "lora", "rank": 4}, no_repeat_ngram=1)
    drafts = [draft(assembly, prompt) for prompt in prompts(backbone)]
    write(lane(assembly), [drafts[:1], drafts[1:]])
    assert [one.ids for one in drafts] == [generate(assembly, [one])[0].tolist() for one in prompts(backbone)]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_text_ends_before_a_stop_string_wherever_its_tokens_break(backbone: Backbone, size: int) -> None:
    assembly = writer(backbone, {"name": "lora", "rank": 4})
    prompt = prompts(backbone)[1]
    whole = draft(assembly, prompt)
    write(lane(assembly), [[whole]])
    stop = whole.text[len(whole.text) // 2 :][:size]
    shown: list[str] = []
    assembly.head = assembly.head.model_copy(update={"stop": (stop,)})
    cut = draft(assembly, prompt, show=shown.append)
    write(lane(assembly), [[cut]])
    assert cut.text == whole.text.partition(stop)[0].strip()
    assert cut.finish == "stop"
    assert len(shown) == len(cut.ids) <= len(whole.ids)
    offline = generate(assembly, [prompt])[0]
    assert offline.tolist() == cut.ids


def test_places_give_their_tensors_back_when_all_have_left(backbone: Backbone) -> None:
    assembly = writer(backbone, {"name": "lora", "rank": 4})
    running = lane(assembly)
    write(running, [[draft(assembly, prompt) for prompt in prompts(backbone)]])
    places = running._places
    assert isinstance(places, Places)
    assert (places.layers, places.lengths) == ([], [])


def test_models_whose_layers_see_a_window_are_written_batch_by_batch(backbone: Backbone, tmp_path: Path) -> None:
    assert holds(backbone)
    config = MistralConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        sliding_window=16,
    )
    backbone = Backbone(
        **{**{name: getattr(backbone, name) for name in backbone.__slots__}, "whole": MistralForCausalLM(config)}
    )
    assert not holds(backbone)
