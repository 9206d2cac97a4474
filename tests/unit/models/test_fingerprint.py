from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertForMaskedLM, BertForSequenceClassification, BertModel

from adaptune.core.errors import ModelError
from adaptune.models import fingerprint as module
from adaptune.models.families import roles_of
from adaptune.models.fingerprint import fingerprint
from adaptune.models.layout import Located


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADAPTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fingerprints.json"


def of(folder: Path) -> str:
    settings: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return fingerprint(Located(folder, None, None, "folder"), roles_of(settings))


def _changed(source: Path, target: Path, change: Any) -> Path:
    """The model of `source` with its tensors changed by a function from dict to dict."""
    target.mkdir()
    shutil.copy(source / "config.json", target)
    save_file(change(load_file(source / "model.safetensors")), target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_a_copy_elsewhere_has_the_same_fingerprint(tiny_bert: Path, tmp_path: Path) -> None:
    copy = _changed(tiny_bert, tmp_path / "copy", lambda tensors: dict(reversed(tensors.items())))
    assert of(copy) == of(tiny_bert)
    assert len(of(copy)) == 64


def test_one_changed_number_changes_the_fingerprint(tiny_bert: Path, tmp_path: Path) -> None:
    def nudge(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tensors["encoder.layer.1.output.dense.bias"][0] += 1e-3
        return tensors

    assert of(_changed(tiny_bert, tmp_path / "nudged", nudge)) != of(tiny_bert)


def test_another_type_of_the_same_numbers_is_another_model(tiny_bert: Path, tmp_path: Path) -> None:
    half = _changed(tiny_bert, tmp_path / "half", lambda tensors: {n: t.bfloat16() for n, t in tensors.items()})
    assert of(half) != of(tiny_bert)


def test_a_missing_tensor_changes_the_fingerprint(tiny_bert: Path, tmp_path: Path) -> None:
    def less(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor for name, tensor in tensors.items() if name != "embeddings.LayerNorm.bias"}

    assert of(_changed(tiny_bert, tmp_path / "less", less)) != of(tiny_bert)


@pytest.mark.parametrize("kind", [BertForSequenceClassification, BertForMaskedLM])
def test_the_head_stored_beside_it_and_its_prefix_do_not_count(kind: Any, tiny_bert: Path, tmp_path: Path) -> None:
    model = kind.from_pretrained(tiny_bert)
    model.save_pretrained(tmp_path / "headed")
    assert any(name.startswith("bert.") for name in load_file(tmp_path / "headed" / "model.safetensors"))
    assert of(tmp_path / "headed") == of(tiny_bert)


def test_the_pooler_does_not_count(tiny_bert: Path, tmp_path: Path) -> None:
    BertModel.from_pretrained(tiny_bert, add_pooling_layer=False).save_pretrained(tmp_path / "bare")
    assert "pooler.dense.weight" not in load_file(tmp_path / "bare" / "model.safetensors")
    assert of(tmp_path / "bare") == of(tiny_bert)


def test_the_cut_into_shards_does_not_count(tiny_bert: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(tiny_bert).save_pretrained(tmp_path / "shards", max_shard_size="20kB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    assert of(tmp_path / "shards") == of(tiny_bert)


def test_buffers_and_names_of_older_versions_do_not_count(tiny_bert: Path, tmp_path: Path) -> None:
    def old(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for new, before in names.items():
            tensors = {name.replace(new, before): tensor for name, tensor in tensors.items()}
        return tensors | {"embeddings.position_ids": torch.arange(128)[None]}

    assert of(_changed(tiny_bert, tmp_path / "old", old)) == of(tiny_bert)


def test_words_and_trunk_of_a_decoder_agree(tiny_llama: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(tiny_llama).save_pretrained(tmp_path / "trunk")
    assert any(name.startswith("model.") for name in load_file(tiny_llama / "model.safetensors"))
    assert of(tmp_path / "trunk") == of(tiny_llama)


def test_a_fingerprint_is_remembered_until_its_file_changes(
    tiny_bert: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = _changed(tiny_bert, tmp_path / "copy", lambda tensors: tensors)
    first = of(copy)
    read: list[Path] = []
    real = module._read
    monkeypatch.setattr(module, "_read", lambda file: read.append(file) or real(file))
    assert of(copy) == first
    assert read == []
    os.utime(copy / "model.safetensors", ns=(1, 1))
    assert of(copy) == first
    assert read == [copy / "model.safetensors"]


@pytest.mark.parametrize("text", ["", "[]", "{not json", '{"a": 1}'])
def test_a_damaged_cache_is_written_anew(text: str, tiny_bert: Path, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text(text)
    first = of(tiny_bert)
    assert json.loads(cache.read_text())[str(tiny_bert / "model.safetensors")]["sha256"] == first


def test_a_cache_that_cannot_be_written_only_costs_time(tiny_bert: Path, cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert of(tiny_bert) == of(tiny_bert)


@pytest.mark.parametrize(
    "content",
    [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", b"", b"\x08\0\0\0\0\0\0\0{}      tail"],
    ids=["a pointer of git lfs", "an empty file", "bytes after the end"],
)
def test_a_file_that_is_no_whole_safetensors_file_is_refused(content: bytes, tiny_bert: Path, tmp_path: Path) -> None:
    broken = _changed(tiny_bert, tmp_path / "broken", lambda tensors: tensors)
    (broken / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors' is no whole safetensors file .* git lfs pull"):
        of(broken)


def test_a_file_cut_short_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    broken = _changed(tiny_bert, tmp_path / "broken", lambda tensors: tensors)
    whole = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="its size differs"):
        of(broken)


def test_weights_of_another_family_are_refused(tiny_bert: Path, tiny_gpt2: Path, tmp_path: Path) -> None:
    mixed = _changed(tiny_gpt2, tmp_path / "mixed", lambda tensors: tensors)
    shutil.copy(tiny_bert / "config.json", mixed)
    with pytest.raises(ModelError, match=r"layers of a bert model are named encoder\.layer\.0.*hold them nowhere"):
        of(mixed)
