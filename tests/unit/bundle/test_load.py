"""A saved bundle loads to the same model, or is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

import adaptune
from adaptune.bundle.answers import answer
from adaptune.bundle.check import bundle_name, sha256_of
from adaptune.bundle.config import BundleConfig
from adaptune.bundle.load import load_bundle
from adaptune.bundle.manifest import read_manifest
from adaptune.bundle.merge import merge
from adaptune.core.backbone import Backbone
from adaptune.core.errors import BundleError, DataError, ModelError, Unsupported
from adaptune.core.types import Example, Labels, Row
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks.classify import Classify
from adaptune.tasks.tag import Tag

from .conftest import LABELS, TAGS, Saved, Trained, save

TEXTS = ["The film was great", "a slow and terrible book, never again", "paid"]


def _examples(*texts: str) -> list[Example]:
    return [Classify().example(Row("here", number, {"text": text})) for number, text in enumerate(texts, 1)]


@pytest.mark.parametrize("method", ["lora", "head_only", "bitfit", "full", "top_layers"])
@pytest.mark.parametrize("head", ["classify", "as_transformers"])
def test_a_bundle_answers_as_the_model_that_was_saved(trained: Trained, tmp_path: Path, method: str, head: str) -> None:
    settings = {"layers": 1} if method == "top_layers" else {}
    assembly = trained(method, head, **settings)
    save(tmp_path / "b", assembly)
    before = answer(assembly, _examples(*TEXTS), max_length=64)
    after = load_bundle(tmp_path / "b").answers(_examples(*TEXTS))
    assert [one.value for one in after] == [one.value for one in before]
    torch.testing.assert_close([a.probabilities for a in after], [b.probabilities for b in before], rtol=0, atol=1e-6)


def test_a_bundle_answers_alike_in_another_process(saved: Saved) -> None:
    folder = saved("lora")
    program = "import adaptune, json, sys; print(json.dumps(adaptune.load(sys.argv[1]).predict(sys.argv[2:])))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), *TEXTS], capture_output=True, check=True, text=True
    )
    here = adaptune.load(folder).predict(TEXTS)
    there = json.loads(done.stdout)
    assert [one["label"] for one in there] == [one["label"] for one in here]
    assert [one["probability"] for one in there] == pytest.approx([one["probability"] for one in here], abs=1e-6)


def test_two_bundles_share_one_backbone_and_leave_it_as_it_was(saved: Saved, bert: Backbone) -> None:
    before = {name: tensor.clone() for name, tensor in bert.trunk.state_dict().items()}
    first = load_bundle(saved("full", name="first"), backbone=bert)
    alone = first.predict(TEXTS)
    second = load_bundle(saved("lora", name="second"), backbone=bert)
    assert first.assembly.backbone is second.assembly.backbone is bert
    assert second.predict(TEXTS) != alone == first.predict(TEXTS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in bert.trunk.state_dict().items())


def test_a_moved_base_is_found_where_the_user_says(saved: Saved, tiny_bert: Path) -> None:
    folder = saved("lora")
    expected = load_bundle(folder).predict(TEXTS)
    _edit(folder, lambda manifest: manifest["base"].update(name="/a/folder/that/is/gone"))
    with pytest.raises(ModelError, match=r"was trained on '/a/folder/that/is/gone', which is not here: .*\n.* --model"):
        load_bundle(folder)
    assert load_bundle(folder, model=str(tiny_bert)).predict(TEXTS) == expected


def test_another_base_is_refused_by_both_names(saved: Saved, tiny_bert: Path, other_bert: Path) -> None:
    folder = saved("lora", name="reviews")
    pattern = (
        rf"bundle 'reviews' was trained on '.*{tiny_bert.name}' \(weights .*, this is '.*other-bert' .*--model NAME"
    )
    with pytest.raises(BundleError, match=pattern):
        load_bundle(folder, model=str(other_bert))
    with pytest.raises(BundleError, match=pattern):
        load_bundle(folder, backbone=load_backbone(ModelConfig(name=str(other_bert))))


@pytest.fixture
def other_bert(tiny_bert: Path, tmp_path: Path) -> Path:
    """The same shapes and words, other weights."""
    folder = tmp_path / "other-bert"
    torch.manual_seed(1)
    BertModel(BertConfig.from_pretrained(tiny_bert)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_bert / name).read_bytes())
    return folder


def test_truncated_weights_are_refused(saved: Saved) -> None:
    file = saved("lora") / "weights.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BundleError, match=r"weights\.safetensors is damaged"):
        load_bundle(file.parent)


def test_missing_weights_are_named(saved: Saved) -> None:
    file = saved("lora") / "weights.safetensors"
    file.unlink()
    with pytest.raises(BundleError, match=r"weights\.safetensors is missing; copy the whole bundle folder again"):
        load_bundle(file.parent)


def test_damage_and_another_base_are_found_without_torch(saved: Saved, other_bert: Path) -> None:
    folder = saved("lora", name="reviews")
    program = f"""
import sys
from adaptune.bundle.check import check_bundle
from adaptune.core.errors import BundleError
check_bundle({str(folder)!r})
try:
    check_bundle({str(folder)!r}, model={str(other_bert)!r})
except BundleError as error:
    print(error)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bundle 'reviews' was trained on" in done.stdout


def test_weights_of_another_bundle_are_refused(saved: Saved) -> None:
    one, other = saved("lora", name="one"), saved("lora", name="other", rank=4)
    (one / "weights.safetensors").write_bytes((other / "weights.safetensors").read_bytes())
    with pytest.raises(BundleError, match="is damaged: its SHA-256 is"):
        load_bundle(one)


def test_weights_that_do_not_fit_the_manifest_are_refused(saved: Saved) -> None:
    folder = saved("lora")
    _edit(folder, lambda manifest: manifest["method"].update(rank=4))
    with pytest.raises(BundleError, match="do not fit its manifest"):
        load_bundle(folder)
    _edit(folder, lambda manifest: manifest.update(method={"name": "head_only"}))
    with pytest.raises(BundleError, match="has an unknown tensor 'method"):
        load_bundle(folder)


def test_a_missing_tensor_is_named(saved: Saved) -> None:
    folder = saved("lora")
    file = folder / "weights.safetensors"
    state = load_file(file)
    del state["head.bias"]
    save_file(state, file)
    _edit(folder, lambda manifest: manifest.update(weights=sha256_of(file)))
    with pytest.raises(BundleError, match=r"lacks tensor 'head\.bias'"):
        load_bundle(folder)


def test_weights_that_answer_otherwise_are_refused_by_the_golden_examples(saved: Saved) -> None:
    folder = saved("lora")
    file = folder / "weights.safetensors"
    state = load_file(file)
    state["head.bias"] = state["head.bias"] + torch.tensor([0.01, 0.0, 0.0])
    save_file(state, file)
    _edit(folder, lambda manifest: manifest.update(weights=sha256_of(file)))
    with pytest.raises(BundleError, match=r"golden example \d .* gave the probability .* expected .* within 0\.0001"):
        load_bundle(folder)


def test_a_changed_tokenizer_is_refused_by_the_golden_examples(saved: Saved, tiny_bert: Path, tmp_path: Path) -> None:
    folder = saved("lora")
    base = tmp_path / "base"
    base.mkdir()
    for file in tiny_bert.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"]["lowercase"] = False
    (base / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(BundleError, match="the base model, its tokenizer or the libraries differ"):
        load_bundle(folder, model=str(base))


def test_a_base_in_lower_precision_answers_within_its_tolerance(saved: Saved, tiny_bert: Path) -> None:
    folder = saved("lora")
    half = load_backbone(ModelConfig(name=str(tiny_bert), dtype="bfloat16"))
    found = load_bundle(folder, backbone=half)
    assert not found.exact
    expected = [answer["probability"] for answer in load_bundle(folder).predict(TEXTS)]
    assert [answer["probability"] for answer in found.predict(TEXTS)] == pytest.approx(expected, abs=5e-2)


def test_a_base_is_loaded_in_the_precision_it_was_trained_in(trained: Trained, tiny_bert: Path, tmp_path: Path) -> None:
    half = load_backbone(ModelConfig(name=str(tiny_bert), dtype="bfloat16"))
    save(tmp_path / "half", trained("lora", backbone=half))
    assert next(load_bundle(tmp_path / "half").assembly.backbone.trunk.parameters()).dtype == torch.bfloat16


def test_a_folder_with_other_files_is_never_written_to(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(BundleError, match="holds other files, which would be lost"):
        save(tmp_path, trained("head_only"))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_earlier_bundle_is_replaced_whole(trained: Trained, tmp_path: Path) -> None:
    save(tmp_path / "b", trained("lora"))
    assert (tmp_path / "b" / "adapter_config.json").is_file()
    save(tmp_path / "b", trained("head_only"))
    assert sorted(file.name for file in (tmp_path / "b").iterdir()) == [
        "README.md",
        "manifest.json",
        "weights.safetensors",
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["b"]


def test_a_save_that_fails_leaves_the_earlier_bundle(
    saved: Saved, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved("head_only")
    before = read_manifest(folder)

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("adaptune.bundle.save.write_manifest", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save(folder, trained("lora"))
    assert read_manifest(folder) == before
    assert [file.name for file in folder.parent.iterdir()] == [folder.name]


def test_golden_examples_are_the_users_or_made_up(trained: Trained, tmp_path: Path) -> None:
    own = save(tmp_path / "own", trained("head_only"), config=BundleConfig(examples=("Mine.", "Also mine.")))
    assert [record.values for record in own.golden] == [{"text": "Mine."}, {"text": "Also mine."}]
    assert len(save(tmp_path / "made-up", trained("head_only")).golden) == 5


def test_a_pair_bundle_has_pairs_as_golden_examples_and_asks_for_pairs(trained: Trained, tmp_path: Path) -> None:
    manifest = save(tmp_path / "pairs", trained("lora"), columns={"text": "premise", "pair": "hypothesis"})
    assert all(set(record.values) == {"text", "pair"} for record in manifest.golden)
    bundle = load_bundle(tmp_path / "pairs")
    by_files = bundle.predict([{"premise": "a good book", "hypothesis": "a book", "label": "ignored"}])
    assert by_files == bundle.predict([{"text": "a good book", "pair": "a book"}])
    with pytest.raises(
        DataError, match=r"input 1 is the bare text 'a good book', .* \{'text': \.\.\., 'pair': \.\.\.\}"
    ):
        bundle.predict(["a good book"])


def test_inputs_that_the_task_cannot_read_are_named(saved: Saved) -> None:
    bundle = load_bundle(saved("head_only"))
    with pytest.raises(DataError, match="input 2 is 3, which the task 'classify' cannot read; expected a text"):
        bundle.predict(["fine", 3])  # type: ignore[list-item]  # what this test is about
    with pytest.raises(DataError, match="input, row 1, column 'text': the text is missing"):
        bundle.predict([{"titel": "a"}])


def test_one_text_alone_is_one_answer_and_none_are_none(saved: Saved) -> None:
    bundle = load_bundle(saved("head_only"))
    assert bundle.predict("good film") == bundle.predict(["good film"])
    assert bundle.predict([]) == []


def test_batch_mates_do_not_change_an_answer(saved: Saved) -> None:
    bundle = load_bundle(saved("lora"))
    together = [answer["probability"] for answer in bundle.predict(TEXTS, batch_tokens=4096)]
    apart = [answer["probability"] for answer in bundle.predict(TEXTS, batch_tokens=1)]
    assert together == pytest.approx(apart, abs=1e-6)


def test_evaluation_scores_labelled_examples_also_with_labels_never_seen(saved: Saved) -> None:
    bundle = load_bundle(saved("lora"))
    said = [answer["label"] for answer in bundle.predict(TEXTS)]
    rows = [
        Row("here", number, {"text": text, "label": label})
        for number, (text, label) in enumerate(zip(TEXTS, said, strict=True))
    ]
    assert bundle.evaluate([bundle.task.example(row) for row in rows]).values["accuracy"] == 1.0
    odd = Row("here", 9, {"text": "a", "label": "unheard of"})
    scores = bundle.evaluate([bundle.task.example(row) for row in [*rows, odd]])
    assert scores.values["accuracy"] == 0.75
    with pytest.raises(BundleError, match="here, row 1 has no label"):
        bundle.evaluate(_examples("unlabelled"))


def test_a_tagger_reads_texts_words_and_rows(saved: Saved) -> None:
    bundle = load_bundle(saved("lora", "tag", TAGS))
    assert isinstance(bundle.task, Tag)
    by_text, by_words, by_row = bundle.predict(
        ["john saw paris", ["john", "saw", "paris"], {"tokens": "john saw paris"}]
    )
    spans = [
        [(one["type"], one["start_word"], one["end_word"]) for one in found["entities"]]
        for found in (by_text, by_words, by_row)
    ]
    assert spans[0] == spans[1] == spans[2]
    assert by_text["probability"] == pytest.approx(by_words["probability"])


def test_a_crf_is_saved_with_its_scores_between_tags_and_cannot_be_merged(
    saved: Saved, trained: Trained, tmp_path: Path
) -> None:
    bundle, before = load_bundle(saved("lora", "crf", TAGS)), trained("lora", "crf", TAGS)
    assert before.layer.get_parameter("chain.follow").abs().min() > 0
    for name, tensor in before.layer.state_dict().items():
        assert torch.equal(bundle.assembly.layer.state_dict()[name], tensor), name
    [found] = bundle.predict(["john saw paris"])
    assert 0 < found["probability"] <= 1
    with pytest.raises(Unsupported, match="head 'crf' is more than one linear layer, which a merged model cannot"):
        merge(bundle, tmp_path / "merged")


def test_a_relation_that_the_bundle_does_not_know_is_refused_by_file_and_row(saved: Saved) -> None:
    bundle = load_bundle(saved("lora", "relate", Labels(("Cause(e1,e2)", "Other"))))
    text = "the <e1>rain</e1> brought the <e2>flood</e2>"
    rows = [Row("test.txt", 1, {"text": text, "relation": "Other"})]
    assert 0 <= bundle.evaluate([bundle.task.example(row) for row in rows]).values["accuracy"] <= 1
    rows.append(Row("test.txt", 5, {"text": text, "relation": "Cuase(e1,e2)"}))
    message = r"test.txt, row 5: bundle '.*' knows no relation 'Cuase\(e1,e2\)'; did you mean 'Cause\(e1,e2\)'\?"
    with pytest.raises(BundleError, match=message):
        bundle.evaluate([bundle.task.example(row) for row in rows])


def test_a_bundle_is_named_by_its_folder_or_its_run() -> None:
    assert bundle_name(Path("runs/banking77/bundle")) == "banking77"
    assert bundle_name(Path("adapters/rte")) == "rte"


def test_the_manifest_keeps_what_the_head_settled_on(saved: Saved) -> None:
    manifest = read_manifest(saved("head_only"))
    assert manifest.part.head["pooling"] == "mean"
    assert manifest.labels == LABELS


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    change(manifest)
    file.write_text(json.dumps(manifest), encoding="utf-8")
