from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adaptune.core.batch import Batch
from adaptune.core.errors import Unsupported
from adaptune.core.types import Labels
from adaptune.heads.relate import RelateHead
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks.relate import Relate

LABELS = Labels(("a", "b"))
HIDDEN = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
BATCH = Batch(
    torch.arange(2),
    torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]),
    sequence_of=torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]),
    token_of=torch.tensor([3, 5, 0, 1, 0, 1, 2, 3]),
    labels=torch.tensor([0, 1]),
)


def _backbone(*, causal: bool) -> Any:
    return SimpleNamespace(pooling="mean", hidden_size=4, roles=SimpleNamespace(main=SimpleNamespace(causal=causal)))


def _features(*, causal: bool = False, **settings: Any) -> torch.Tensor:
    head = RelateHead(**settings).settled(_backbone(causal=causal), LABELS)
    layer = head.build(_backbone(causal=causal), LABELS)
    features = head.features(layer, HIDDEN, BATCH)
    assert layer(features).shape == (2, 2)
    return features


def test_an_encoder_is_read_at_opening_markers_the_first_entity_before_the_second() -> None:
    expected = [torch.cat([HIDDEN[0, 3], HIDDEN[0, 0]]), torch.cat([HIDDEN[1, 0], HIDDEN[1, 2]])]
    torch.testing.assert_close(_features(context=False), torch.stack(expected))


@pytest.mark.parametrize("settings", [{"causal": True}, {"reads": "closing"}])
def test_a_decoder_is_read_at_closing_markers_which_have_seen_the_entity(settings: Any) -> None:
    expected = [torch.cat([HIDDEN[0, 5], HIDDEN[0, 1]]), torch.cat([HIDDEN[1, 1], HIDDEN[1, 3]])]
    torch.testing.assert_close(_features(context=False, **settings), torch.stack(expected))


def test_the_whole_texts_vector_stands_behind_them() -> None:
    features = _features()
    torch.testing.assert_close(features[:, :8], _features(context=False))
    torch.testing.assert_close(features[:, 8:], torch.stack([HIDDEN[0].mean(dim=0), HIDDEN[1, :4].mean(dim=0)]))


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_llama"])
def test_tokens_of_its_own_start_from_the_embeddings_of_the_signs(model: str, request: pytest.FixtureRequest) -> None:
    backbone = load_backbone(ModelConfig(name=str(request.getfixturevalue(model))))
    head = RelateHead(markers="tokens").for_task(Relate(markers=("$", "%")))
    own = head.own_embeddings(head.build(backbone, LABELS))
    table: Any = backbone.trunk.get_input_embeddings()  # type: ignore[operator]
    dollar, percent = backbone.tokenizer.convert_tokens_to_ids(["$", "%"])
    assert own is not None
    assert own.requires_grad
    assert torch.equal(own, table.weight[[dollar, dollar, percent, percent]])
    assert head.own_tokens == ("[E1]", "[/E1]", "[E2]", "[/E2]")


def test_signs_are_no_tokens_of_its_own() -> None:
    head = RelateHead()
    layer = head.build(_backbone(causal=False), LABELS)
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert head.own_tokens == ()
    assert head.own_embeddings(layer) is None


def test_a_sign_of_several_tokens_has_no_one_place_and_is_refused(tiny_bert: Path) -> None:
    backbone = load_backbone(ModelConfig(name=str(tiny_bert)))
    head = RelateHead(markers="tokens").for_task(Relate(markers=("@", "##")))
    with pytest.raises(Unsupported, match=r"has 2 for the sign '##'; set task\.markers to signs of one token"):
        head.build(backbone, LABELS)
