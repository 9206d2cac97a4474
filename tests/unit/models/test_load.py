from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BartConfig,
    BartForConditionalGeneration,
    BertForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from adaptune.core.errors import ModelError
from adaptune.models.config import ModelConfig
from adaptune.models.families import FAMILIES, layers_of, roles_of
from adaptune.models.load import load_backbone, load_config, max_length_of, pooling_of


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAPTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _config(folder: Path, **more: Any) -> ModelConfig:
    return ModelConfig(name=str(folder), **more)


def _copy(source: Path, target: Path, **changes: Any) -> Path:
    """A model's folder with other values in its config.json."""
    shutil.copytree(source, target)
    settings = json.loads((target / "config.json").read_text()) | changes
    (target / "config.json").write_text(json.dumps(settings))
    return target


def test_a_loaded_model_is_frozen_whole_and_ready_to_read(tiny_bert: Path) -> None:
    backbone = load_backbone(_config(tiny_bert))
    assert not backbone.trunk.training
    assert not any(parameter.requires_grad for parameter in backbone.whole.parameters())
    assert backbone.trunk.pooler is None
    assert backbone.vocabulary is None
    assert backbone.hidden_size == 32
    assert (backbone.pooling, backbone.max_length, backbone.revision) == ("mean", 128, None)
    assert backbone.roles == FAMILIES["bert"]


@pytest.mark.parametrize("name", ["minilm", "splade", "e5"])
def test_hidden_states_of_real_models_equal_those_of_plain_transformers(
    name: str, assets: Callable[[str], Path]
) -> None:
    folder = assets(name)
    backbone = load_backbone(_config(folder))
    inputs = backbone.tokenizer(["A film worth every minute.", "昨天下午"], padding=True, return_tensors="pt")
    plain = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        assert torch.equal(backbone.trunk(**inputs).last_hidden_state, plain(**inputs).last_hidden_state)
    expected = {"minilm": (384, 256), "splade": (128, 512), "e5": (384, 512)}
    assert (backbone.hidden_size, backbone.max_length) == expected[name]
    assert backbone.pooling == "mean"
    assert set(backbone.pooler) == ({"dense.weight", "dense.bias"} if name == "minilm" else set())


def test_a_small_real_model_loads_in_a_second(assets: Callable[[str], Path]) -> None:
    folder = assets("minilm")
    load_backbone(_config(folder))
    started = time.perf_counter()
    load_backbone(_config(folder))
    assert time.perf_counter() - started < 1


def test_loading_prints_nothing(tiny_bert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_backbone(_config(tiny_bert))
    assert capfd.readouterr() == ("", "")


def test_the_config_is_read_without_torch(tiny_bert: Path) -> None:
    code = f"""
import sys
from adaptune.models.config import ModelConfig
from adaptune.models.families import layers_of, roles_of
from adaptune.models.load import load_config
found = load_config(ModelConfig(name={str(tiny_bert)!r}))
print(roles_of(found).family, layers_of(found), "torch" in sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.split() == ["bert", "2", "False"], done.stderr


def test_an_unknown_family_is_refused_before_its_weights_are_read(tiny_bert: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_bert, tmp_path / "strange", model_type="mamba")
    (folder / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(ModelError, match="'mamba' is not in the table"):
        load_backbone(_config(folder))


def test_weights_that_lack_a_tensor_of_the_trunk_are_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_bert, tmp_path / "less")
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 of its tensors \(encoder\.layer\.1\.output\.dense\.weight"):
        load_backbone(_config(folder))


def test_weights_of_another_shape_are_refused(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="transformers cannot load the model"):
        load_backbone(_config(_copy(tiny_bert, tmp_path / "wide", intermediate_size=96)))


def test_a_damaged_config_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_bert, tmp_path / "damaged")
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json' cannot be read"):
        load_config(_config(folder))


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("auto", torch.float32)]
)
def test_weights_are_cast_as_asked_and_the_fingerprint_is_of_the_stored_ones(
    dtype: Any, expected: torch.dtype, tiny_bert: Path
) -> None:
    backbone = load_backbone(_config(tiny_bert, dtype=dtype))
    assert {parameter.dtype for parameter in backbone.trunk.parameters()} == {expected}
    assert backbone.fingerprint == load_backbone(_config(tiny_bert)).fingerprint


def test_attention_is_computed_as_asked(tiny_bert: Path) -> None:
    assert load_backbone(_config(tiny_bert, attention="eager")).whole.config._attn_implementation == "eager"
    assert load_backbone(_config(tiny_bert)).whole.config._attn_implementation == "sdpa"


def test_a_decoder_without_padding_takes_its_end_token_and_keeps_its_size(tiny_llama: Path) -> None:
    backbone = load_backbone(_config(tiny_llama))
    assert json.loads((tiny_llama / "config.json").read_text())["pad_token_id"] is None
    assert backbone.tokenizer.pad_token_id == backbone.tokenizer.eos_token_id == backbone.whole.config.pad_token_id
    assert (
        backbone.trunk.embed_tokens.weight.shape
        == load_file(tiny_llama / "model.safetensors")["model.embed_tokens.weight"].shape
    )
    assert backbone.pooling == "last"


def test_a_model_with_neither_padding_nor_end_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_llama, tmp_path / "endless", eos_token_id=None)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": None}))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(ModelError, match="neither a padding nor an end token"):
        load_backbone(_config(folder))


def test_segments_are_used_where_the_tokenizer_makes_them(tiny_bert: Path, tmp_path: Path) -> None:
    assert load_backbone(_config(tiny_bert)).roles.segments
    folder = _copy(tiny_bert, tmp_path / "plain")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert not load_backbone(_config(folder)).roles.segments


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_gpt2"])
def test_words_of_a_decoder_are_those_of_the_whole_model(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    backbone = load_backbone(_config(folder), words=True)
    inputs = backbone.tokenizer("the train was late", return_tensors="pt")
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = backbone.trunk(input_ids=inputs["input_ids"]).last_hidden_state
        assert backbone.vocabulary is not None
        torch.testing.assert_close(backbone.vocabulary(hidden), plain(input_ids=inputs["input_ids"]).logits)
    assert backbone.trunk is backbone.whole.base_model
    assert backbone.fingerprint == load_backbone(_config(folder)).fingerprint


def test_words_of_an_encoder_pass_its_whole_output_layer(tiny_bert: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_bert, tmp_path / "masked")
    torch.manual_seed(0)
    BertForMaskedLM.from_pretrained(tiny_bert).save_pretrained(folder)
    backbone = load_backbone(_config(folder), words=True)
    inputs = backbone.tokenizer("the train was [MASK]", return_tensors="pt")
    plain = BertForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        assert backbone.vocabulary is not None
        ours = backbone.vocabulary(backbone.trunk(**inputs).last_hidden_state)
        torch.testing.assert_close(ours, plain(**inputs).logits)


def test_words_of_two_stacks_are_read_from_the_decoder(tiny_bert: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_bert, tmp_path / "bart")
    torch.manual_seed(0)
    sizes = {"encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    words = len(json.loads((tiny_bert / "tokenizer.json").read_text())["model"]["vocab"])
    config = BartConfig(vocab_size=words, d_model=16, encoder_ffn_dim=24, decoder_ffn_dim=24, **sizes)
    plain = BartForConditionalGeneration(config).eval()
    plain.save_pretrained(folder)
    backbone = load_backbone(_config(folder), words=True)
    ids = torch.tensor([[5, 8, 13]])
    with torch.no_grad():
        assert backbone.vocabulary is not None
        hidden = backbone.trunk(input_ids=ids, decoder_input_ids=ids).last_hidden_state
        theirs = plain(input_ids=ids, decoder_input_ids=ids).logits
        torch.testing.assert_close(backbone.vocabulary(hidden), theirs)
    assert (backbone.pooling, len(backbone.roles.stacks)) == ("last", 2)


def test_a_model_without_stored_words_is_refused_where_words_are_needed(tiny_bert: Path) -> None:
    with pytest.raises(ModelError, match="its output layer over words would be random"):
        load_backbone(_config(tiny_bert), words=True)


@pytest.mark.parametrize("tied", [True, False])
def test_words_of_a_t5_stand_beside_its_stacks(tiny_bert: Path, tmp_path: Path, tied: bool) -> None:
    folder = _copy(tiny_bert, tmp_path / "t5")
    torch.manual_seed(0)
    words = len(json.loads((tiny_bert / "tokenizer.json").read_text())["model"]["vocab"])
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    plain = T5ForConditionalGeneration(T5Config(vocab_size=words, tie_word_embeddings=tied, **sizes)).eval()
    plain.save_pretrained(folder)
    backbone = load_backbone(_config(folder), words=True)
    ids = torch.tensor([[5, 8, 13]])
    with torch.no_grad():
        assert backbone.vocabulary is not None
        hidden = backbone.trunk(input_ids=ids, decoder_input_ids=ids).last_hidden_state
        theirs = plain(input_ids=ids, decoder_input_ids=ids).logits
        torch.testing.assert_close(backbone.vocabulary(hidden), theirs)
    own = dict(backbone.whole.named_parameters(remove_duplicate=False))
    for name, parameter in backbone.trunk.named_parameters():
        assert parameter is own[name]
    assert type(backbone.trunk).__name__ == "T5Model"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "cls"}, "first"),
        ({}, "mean"),
    ],
)
def test_pooling_follows_the_settings_beside_the_model(settings: dict[str, Any], expected: str, tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    assert pooling_of(tmp_path, FAMILIES["bert"]) == expected


def test_a_pooling_that_is_not_built_is_said_and_the_usual_one_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    assert pooling_of(tmp_path, FAMILIES["bert"]) == "mean"
    assert "pooling_mode_max_tokens, which is not built; 'mean' is used" in capsys.readouterr().err.replace("\n", " ")


def _length(folder: Path, family: str, asked: int | None, positions: int | None, tokens: float) -> int:
    settings = SimpleNamespace(pad_token_id=1, **({} if positions is None else {"max_position_embeddings": positions}))
    tokenizer = SimpleNamespace(model_max_length=int(tokens))
    return max_length_of(ModelConfig(name="m", max_length=asked), folder, FAMILIES[family], settings, tokenizer)


@pytest.mark.parametrize(
    ("family", "positions", "tokens", "expected"),
    [
        ("bert", 512, 512, 512),
        ("bert", 512, 1e30, 512),
        ("bert", 512, 256, 256),
        ("roberta", 514, 1e30, 512),
        ("mpnet", 514, 512, 512),
        ("llama", 8192, 1e30, 8192),
        ("t5", None, 1e30, 512),
        ("t5", None, 1024, 1024),
    ],
)
def test_the_length_is_the_smallest_limit_that_is_known(
    family: str, positions: int | None, tokens: float, expected: int, tmp_path: Path
) -> None:
    assert _length(tmp_path, family, None, positions, tokens) == expected


def test_the_length_of_sentence_transformers_counts_unless_another_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 256, "do_lower_case": false}')
    assert _length(tmp_path, "bert", None, 512, 512) == 256
    assert _length(tmp_path, "bert", 400, 512, 512) == 400


def test_a_length_beyond_the_positions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="max_length is 513, the model 'm' has 512 positions; use at most 512"):
        _length(tmp_path, "roberta", 513, 514, 512)


def test_a_gguf_file_loads_with_words_and_tokenizer(tmp_path: Path) -> None:
    config = ModelConfig(name=str(_tiny_gguf(tmp_path / "tiny.gguf")))
    settings = load_config(config)
    assert (roles_of(settings).family, layers_of(settings)) == ("llama", 2)
    backbone = load_backbone(config, words=True)
    inputs = backbone.tokenizer("the hat", return_tensors="pt")
    with torch.no_grad():
        hidden = backbone.trunk(**inputs).last_hidden_state
    assert hidden.shape == (1, inputs["input_ids"].shape[1], 32)
    assert backbone.tokenizer.decode(inputs["input_ids"][0]) == "the hat"
    assert (backbone.max_length, backbone.pooling) == (64, "last")
    assert backbone.fingerprint == load_backbone(config).fingerprint


def test_the_fingerprint_of_a_gguf_file_is_of_its_blocks_without_the_words(tmp_path: Path) -> None:
    def of(name: str, **changes: Any) -> str:
        return load_backbone(ModelConfig(name=str(_tiny_gguf(tmp_path / name, **changes)))).fingerprint

    first = of("a.gguf")
    assert of("b.gguf") == first
    assert of("c.gguf", words_seed=5) == first
    assert of("d.gguf", seed=5) != first


def _tiny_gguf(path: Path, *, seed: int = 0, words_seed: int = 1) -> Path:
    """A Llama of 2 layers and hidden size 32, with a byte-level BPE of single letters."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    size, inner, heads, keys, layers = 32, 64, 4, 2, 2
    words = ["<|endoftext|>", "<pad>", *map(chr, range(33, 127)), "Ġ", "he", "Ġt"]
    writer.add_context_length(64)
    writer.add_embedding_length(size)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(keys)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(size // heads)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words)
    writer.add_token_merges(["h e", "Ġ t"])
    writer.add_token_types([3, 3] + [1] * (len(words) - 2))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_vocab_size(len(words))
    random = np.random.default_rng(seed)
    narrow = size // heads * keys
    matrices = {"attn_q": (size, size), "attn_k": (narrow, size), "attn_v": (narrow, size), "attn_output": (size, size)}
    matrices |= {"ffn_gate": (inner, size), "ffn_up": (inner, size), "ffn_down": (size, inner)}
    tensors = {"token_embd": (len(words), size)}
    tensors |= {f"blk.{depth}.{name}": shape for depth in range(layers) for name, shape in matrices.items()}
    for name, shape in tensors.items():
        writer.add_tensor(f"{name}.weight", (random.standard_normal(shape) * 0.1).astype(np.float32))
    for name in [
        "output_norm",
        *(f"blk.{depth}.{norm}" for depth in range(layers) for norm in ("attn_norm", "ffn_norm")),
    ]:
        writer.add_tensor(f"{name}.weight", np.ones(size, np.float32))
    output = np.random.default_rng(words_seed).standard_normal((len(words), size)).astype(np.float32)
    writer.add_tensor("output.weight", output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
