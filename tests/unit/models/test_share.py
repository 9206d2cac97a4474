from __future__ import annotations

import torch
from transformers import BertConfig, BertModel, T5Config, T5Model

from adaptune.models.share import share


def _bert() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    return BertModel(config, add_pooling_layer=False).eval()


IDS = torch.tensor([[3, 7, 11, 2]])


def test_tensors_are_the_same_memory_and_modules_are_not() -> None:
    trunk = _bert()
    copy = share(trunk)
    theirs, ours = dict(trunk.named_parameters()), dict(copy.named_parameters())
    assert list(theirs) == list(ours)
    assert all(theirs[name].data_ptr() == ours[name].data_ptr() for name in theirs)
    assert all(a.data_ptr() == b.data_ptr() for a, b in zip(trunk.buffers(), copy.buffers(), strict=True))
    assert not {id(module) for module in trunk.modules()} & {id(module) for module in copy.modules()}


def test_a_shared_trunk_gives_equal_hidden_states() -> None:
    trunk = _bert()
    with torch.no_grad():
        assert torch.equal(trunk(IDS).last_hidden_state, share(trunk)(IDS).last_hidden_state)


def test_parameters_of_a_copy_are_frozen_and_thaw_alone() -> None:
    trunk = _bert()
    copy = share(trunk)
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    next(copy.parameters()).requires_grad_(True)
    trunk.requires_grad_(False)
    assert next(copy.parameters()).requires_grad
    assert not any(parameter.requires_grad for parameter in share(trunk).parameters())


def test_tied_weights_stay_tied() -> None:
    torch.manual_seed(0)
    trunk = T5Model(T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2))
    assert trunk.shared.weight is trunk.encoder.embed_tokens.weight
    copy = share(trunk)
    assert copy.shared.weight is copy.encoder.embed_tokens.weight
    assert copy.shared.weight is not trunk.shared.weight


def test_hooks_stay_with_the_module_they_were_put_on() -> None:
    trunk = _bert()
    called: list[str] = []
    trunk.encoder.layer[0].register_forward_hook(lambda *_: called.append("original"))
    trunk.encoder.layer[0].register_forward_pre_hook(lambda *_: called.append("original"))
    copy = share(trunk)
    copy.encoder.layer[1].register_forward_hook(lambda *_: called.append("copy"))
    with torch.no_grad():
        copy(IDS)
    assert called == ["copy"]


def test_a_copy_still_collects_hidden_states_after_the_original_did() -> None:
    trunk = _bert()
    with torch.no_grad():
        theirs = trunk(IDS, output_hidden_states=True).hidden_states
        ours = share(trunk)(IDS, output_hidden_states=True).hidden_states
    assert len(ours) == 3
    assert all(torch.equal(a, b) for a, b in zip(theirs, ours, strict=True))


def test_replacing_a_layer_of_a_copy_leaves_the_original_whole() -> None:
    trunk = _bert()
    copy = share(trunk)
    copy.encoder.layer[0].attention.output.dense = torch.nn.Identity()
    assert isinstance(trunk.encoder.layer[0].attention.output.dense, torch.nn.Linear)
