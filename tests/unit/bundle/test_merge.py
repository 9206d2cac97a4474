"""A merged bundle is a plain transformers model with the same answers."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
import transformers
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    ModernBertConfig,
    ModernBertModel,
)

from adaptune.bundle.load import Bundle, load_bundle
from adaptune.bundle.merge import merge
from adaptune.core.backbone import Backbone
from adaptune.core.errors import BundleError, Unsupported
from adaptune.core.types import Row
from adaptune.methods.bitfit import Bitfit
from adaptune.methods.head_only import HeadOnly
from adaptune.methods.lora import Lora
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.models.share import share

from .conftest import LABELS, TAGS, Saved, Trained, save

TEXTS = ["The film was great", "a slow and terrible book, never again"]
METHODS = ["lora", "bitfit", "full", "head_only"]


def _probabilities(model: torch.nn.Module, folder: Path) -> list[list[float]]:
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        found: list[list[float]] = model.eval()(**inputs).logits.softmax(-1).tolist()
    return found


def _own(bundle: Bundle) -> list[tuple[float, ...]]:
    rows = [Row("here", number, {"text": text}) for number, text in enumerate(TEXTS, 1)]
    return [answer.probabilities for answer in bundle.answers([bundle.task.example(row) for row in rows])]


@pytest.mark.parametrize("method", METHODS)
def test_the_familys_own_classifier_loads_with_equal_logits(saved: Saved, tmp_path: Path, method: str) -> None:
    bundle = load_bundle(saved(method, "as_transformers"))
    merged = merge(bundle, tmp_path / "merged")
    assert (
        str(merged)
        == f"{tmp_path / 'merged'} loads with transformers.AutoModelForSequenceClassification, head included"
    )
    model = AutoModelForSequenceClassification.from_pretrained(merged.folder)
    assert model.config.id2label == {0: "bad", 1: "good", 2: "neither"}
    found = _probabilities(model, merged.folder)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(_own(bundle)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_tagger_loads_with_equal_logits(saved: Saved, tmp_path: Path, method: str) -> None:
    bundle = load_bundle(saved(method, "tag", TAGS))
    merged = merge(bundle, tmp_path / "merged")
    assert (merged.auto, merged.loader) == ("AutoModelForTokenClassification", None)
    model = AutoModelForTokenClassification.from_pretrained(merged.folder).eval()
    assert model.config.label2id == {"O": 0, "B-place": 1, "I-place": 2}
    inputs = AutoTokenizer.from_pretrained(merged.folder)(TEXTS, padding=True, return_tensors="pt")
    assembly = bundle.assembly
    with torch.no_grad():
        own = assembly.layer(assembly.trunk(**inputs).last_hidden_state)
        torch.testing.assert_close(model(**inputs).logits, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_a_head_that_no_class_has_comes_with_a_program_that_loads_it(
    saved: Saved, tmp_path: Path, pooling: str
) -> None:
    bundle = load_bundle(saved("lora", pooling=pooling))
    merged = merge(bundle, tmp_path / "merged")
    assert (merged.auto, merged.loader) == ("AutoModel", tmp_path / "merged" / "load.py")
    assert "no class there has this head" in str(merged)
    assert "adaptune" not in (tmp_path / "merged" / "load.py").read_text(encoding="utf-8")
    program = runpy.run_path(str(merged.loader))
    found = program["logits"](TEXTS).softmax(-1)
    torch.testing.assert_close(found, torch.tensor(_own(bundle)), rtol=0, atol=1e-5)
    assert program["labels"] == {0: "bad", 1: "good", 2: "neither"}


def test_a_tagger_of_a_family_whose_class_has_more_layers_comes_with_a_program(
    trained: Trained, tiny_bert: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    ModernBertModel(ModernBertConfig(**small, vocab_size=400, pad_token_id=0)).save_pretrained(tmp_path / "modern")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "modern")
    modern = load_backbone(ModelConfig(name=str(tmp_path / "modern")))
    save(tmp_path / "b", trained("lora", "tag", TAGS, backbone=modern))
    bundle = load_bundle(tmp_path / "b")
    merged = merge(bundle, tmp_path / "merged")
    assert merged.auto == "AutoModel"
    logits = runpy.run_path(str(merged.loader))["logits"](TEXTS)
    inputs = modern.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = bundle.assembly.trunk(inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
        own = bundle.assembly.layer(hidden)
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(logits[real], own[real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_gpt2"])
@pytest.mark.parametrize("head", ["classify", "as_transformers", "tag"])
def test_decoders_merge_as_encoders_do(
    trained: Trained, request: pytest.FixtureRequest, tmp_path: Path, name: str, head: str
) -> None:
    decoder = load_backbone(ModelConfig(name=str(request.getfixturevalue(name))))
    save(tmp_path / "b", trained("lora", head, TAGS if head == "tag" else LABELS, backbone=decoder))
    bundle = load_bundle(tmp_path / "b")
    merged = merge(bundle, tmp_path / "merged")
    model = getattr(transformers, merged.auto).from_pretrained(merged.folder)
    if head == "as_transformers":
        found = _probabilities(model, merged.folder)
        torch.testing.assert_close(torch.tensor(found), torch.tensor(_own(bundle)), rtol=0, atol=1e-5)
    else:
        inputs = AutoTokenizer.from_pretrained(merged.folder)(TEXTS[0], return_tensors="pt")
        with torch.no_grad():
            hidden = bundle.assembly.trunk(**inputs).last_hidden_state
            found_hidden = model.eval().base_model(**inputs).last_hidden_state
        torch.testing.assert_close(found_hidden, hidden, rtol=1e-4, atol=1e-5)


def test_merging_leaves_base_and_bundle_as_they_were(saved: Saved, bert: Backbone, tmp_path: Path) -> None:
    bundle = load_bundle(saved("lora"), backbone=bert)
    base = {name: tensor.clone() for name, tensor in bert.trunk.state_dict().items()}
    own = {name: tensor.clone() for name, tensor in bundle.assembly.state_dict().items()}
    before, labels = bundle.predict(TEXTS), dict(bert.trunk.config.id2label)
    merge(bundle, tmp_path / "merged")
    assert bundle.predict(TEXTS) == before
    assert all(torch.equal(tensor, base[name]) for name, tensor in bert.trunk.state_dict().items())
    assert all(torch.equal(tensor, own[name]) for name, tensor in bundle.assembly.state_dict().items())
    assert bert.trunk.config.id2label == labels


def test_a_model_with_stored_pooling_weights_keeps_them(saved: Saved, tiny_bert: Path, tmp_path: Path) -> None:
    merged = merge(load_bundle(saved("lora")), tmp_path / "merged")
    pooler = transformers.AutoModel.from_pretrained(tiny_bert).pooler.dense.weight
    assert torch.equal(transformers.AutoModel.from_pretrained(merged.folder).pooler.dense.weight, pooler)


def test_a_method_that_cannot_be_merged_is_refused_and_nothing_written(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(saved("bitfit"))
    monkeypatch.delattr(Bitfit, "merged")
    with pytest.raises(
        Unsupported, match="method 'bitfit' cannot be merged into the base model; serve its bundle as it is"
    ):
        merge(bundle, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_merge_that_answers_otherwise_is_refused_and_nothing_written(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(saved("lora"))
    monkeypatch.setattr(Lora, "merged", lambda _, trunk: HeadOnly().merged(share(bundle.assembly.backbone.trunk)))
    with pytest.raises(BundleError, match="the merged model computes something else than bundle"):
        merge(bundle, tmp_path / "merged")
    assert [folder.name for folder in tmp_path.iterdir()] == ["bundle-under-test"]


def test_a_folder_with_files_is_never_written_to(saved: Saved, tmp_path: Path) -> None:
    folder = saved("head_only")
    with pytest.raises(BundleError, match="holds other files, which would be lost"):
        merge(load_bundle(folder), folder)
