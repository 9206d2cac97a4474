"""An exported graph gives the bundle's own outputs, and its program the bundle's own answers without torch."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptune.bundle import onnx_folder
from adaptune.bundle.load import Bundle, load_bundle
from adaptune.bundle.manifest import read_manifest
from adaptune.bundle.onnx_folder import export_onnx
from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.calibration import Abstention, Calibrated, Calibration
from adaptune.core.errors import BundleError, MissingExtra, Unsupported
from adaptune.core.types import NO_ANSWER, Labels, Scores
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks import TASKS

from .conftest import LABELS, TAGS, moved

pytest.importorskip("onnxruntime", reason="graphs need onnxruntime")
pytest.importorskip("onnxscript", reason="graphs need onnxscript")

TEXTS = ["The film was great", "a slow and terrible book, never again!", "no"]
PAIRS = [("the film was great", "it was a good film"), ("a slow book", "never go to york"), ("no", "yes")]
ABOUT = [("Where is the book?", "The book is in the old house."), ("Who?", "Mary and John, in the end.")]
Made = Callable[..., Path]


@pytest.fixture
def made(bert: Backbone, tmp_path: Path) -> Made:
    """made({"name": "match", "encoder": "bi"}, {"name": "similarity"}, labels): the folder of a bundle."""

    def make(
        task: Any, head: Any, labels: Labels = LABELS, *, method: str = "lora", on: Backbone = bert, size: float = 1.0
    ) -> Path:
        assembly = moved(Assembly(on, METHODS.make({"name": method}), HEADS.make(head), labels, seed=1))
        with torch.no_grad():
            for parameter in assembly.trunk.parameters():
                if parameter.requires_grad:
                    parameter.mul_(size)
        given = TASKS.make(task)
        columns = {name: name for name in ("query", "candidates")} if given.name == "rank" else {}
        save_bundle(tmp_path / "made", assembly, given, columns=columns, max_length=40, scores={"test": Scores({})})
        return tmp_path / "made"

    return make


def exported(folder: Path) -> tuple[Bundle, Any]:
    """A bundle, and the model of the program that stands in its exported folder."""
    bundle = load_bundle(folder)
    done = export_onnx(bundle, folder.parent / "graph")
    assert done.worst <= 1e-4
    program = runpy.run_path(str(done.folder / "answer.py"))
    return bundle, program["Model"](done.folder)


def same(found: Any, wanted: Any) -> None:
    """Numbers within 1e-4, all else alike."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for name in wanted:
            same(found[name], wanted[name])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    else:
        assert found == (pytest.approx(wanted, abs=1e-4) if isinstance(wanted, float) else wanted)


def test_a_classifier_answers_without_torch_what_its_bundle_answers(made: Made, tmp_path: Path) -> None:
    bundle, model = exported(made({"name": "classify"}, {"name": "classify"}))
    wanted = bundle.predict([*TEXTS, "the film " * 60])
    same(model([*TEXTS, "the film " * 60]), wanted)
    code = (
        "import runpy, sys\n"
        "runpy.run_path('answer.py', run_name='__main__')\n"
        "assert not {'torch', 'transformers', 'adaptune'} & sys.modules.keys()\n"
    )
    lines = "".join(json.dumps(text) + "\n" for text in TEXTS)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "graph", input=lines, capture_output=True, text=True, check=True
    )
    same([json.loads(line) for line in done.stdout.splitlines()], wanted[:3])
    about = json.loads((tmp_path / "graph" / "about.json").read_text(encoding="utf-8"))
    assert (about["labels"], about["max_length"], about["output"]) == (["bad", "good", "neither"], 40, "logits")
    assert "softmax gives the probability" in (tmp_path / "graph" / "README.md").read_text(encoding="utf-8")
    assert sorted(file.name for file in (tmp_path / "graph").iterdir()) == [
        "README.md",
        "about.json",
        "answer.py",
        "model.onnx",
        "tokenizer.json",
    ]


def test_a_tagger_finds_the_entities_that_its_bundle_finds(made: Made) -> None:
    bundle, model = exported(made({"name": "tag"}, {"name": "tag"}, TAGS))
    words = ["Mary went from york to paris".split(), ["no"], "thinking , walking slowly".split()]
    wanted = bundle.predict(words)
    assert any(answer["entities"] for answer in wanted)
    found = model([*words[:2], " ".join(words[2])])
    for one, other in zip(found, wanted, strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-4)
        names = ("type", "words", "start_word", "end_word")
        assert [[e[name] for name in names] for e in one["entities"]] == [
            [e[name] for name in names] for e in other["entities"]
        ]
    with pytest.raises(ValueError, match="a row has 62 tokens, and the model reads 40; shorten it"):
        model([["film"] * 60])


OTHERS = {
    "multilabel": ({"name": "multilabel"}, {"name": "multilabel", "pooling": "first"}, LABELS, TEXTS),
    "regress": ({"name": "regress"}, {"name": "regress"}, Labels(("number",), (9,), (2.0, 1.5)), TEXTS),
    "as_transformers": ({"name": "classify"}, {"name": "as_transformers"}, LABELS, TEXTS),
    "match": ({"name": "match"}, {"name": "classify", "pooling": "last"}, Labels(("no", "yes")), PAIRS),
    "similarity": ({"name": "match", "encoder": "bi"}, {"name": "similarity"}, Labels(("no", "yes")), PAIRS),
    "span": ({"name": "answer"}, {"name": "span"}, Labels((NO_ANSWER,)), ABOUT),
    "relate": (
        {"name": "relate"},
        {"name": "relate"},
        LABELS,
        [
            {"text": "mary went to york", "head": [0, 4], "tail": [13, 17]},
            {"text": "in york , mary was sad again", "head": [10, 14], "tail": [3, 7]},
        ],
    ),
}
COLUMNS = {"match": ("text", "pair"), "similarity": ("text", "pair"), "span": ("question", "context")}


@pytest.mark.parametrize("task", ["classify", "multilabel"])
def test_a_calibrated_bundle_is_exported_with_its_probabilities(made: Made, tmp_path: Path, task: str) -> None:
    plain = load_bundle(made({"name": task}, {"name": task}))
    by = Calibration(temperature=3.0, abstain=Abstention(accuracy=0.9, below=0.99))
    plain.assembly.calibrated = Calibrated(by)
    save_bundle(tmp_path / "hot", plain.assembly, plain.task, columns={}, max_length=40, scores={})
    bundle, model = exported(tmp_path / "hot")
    wanted = bundle.predict(TEXTS)
    assert all(answer.pop("abstained") for answer in wanted)
    same(model(TEXTS), wanted)
    sure = load_bundle(tmp_path / "made").predict(TEXTS)
    assert all(one["probability"] < before["probability"] for one, before in zip(wanted, sure, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_the_program_answers_what_the_bundle_answers(made: Made, name: str) -> None:
    task, head, labels, rows = OTHERS[name]
    bundle, model = exported(made(task, head, labels))
    wanted = bundle.predict([dict(zip(COLUMNS[name], row, strict=True)) if name in COLUMNS else row for row in rows])
    same(model(rows), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["bi", "cross"])
def test_texts_are_ranked_as_the_bundle_ranks_them(made: Made, encoder: str) -> None:
    head = {"bi": "retrieve", "cross": "rerank"}[encoder]
    bundle, model = exported(made({"name": "rank", "encoder": encoder}, {"name": head}, Labels(())))
    [wanted] = bundle.predict([{"query": "a good film", "candidates": TEXTS}])
    if encoder == "cross":
        scores = {
            text: one["score"] for text, one in zip(TEXTS, model([("a good film", t) for t in TEXTS]), strict=True)
        }
    else:
        query, *vectors = (np.array(one["embedding"]) for one in model(["a good film", *TEXTS]))
        scores = {text: float(vector @ query) for text, vector in zip(TEXTS, vectors, strict=True)}
    same(scores, {one["text"]: one["score"] for one in wanted["ranking"]})


@pytest.mark.slow
@pytest.mark.parametrize("method", ["head_only", "bitfit", "ia3"])
def test_methods_that_merge_are_exported(made: Made, method: str) -> None:
    bundle, model = exported(made({"name": "classify"}, {"name": "classify"}, method=method))
    same(model(TEXTS), bundle.predict(TEXTS))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_gpt2"])
def test_a_classifier_on_a_decoder_is_exported(made: Made, request: pytest.FixtureRequest, name: str) -> None:
    on = load_backbone(ModelConfig(name=str(request.getfixturevalue(name))))
    bundle, model = exported(made({"name": "classify"}, {"name": "classify"}, on=on))
    same(model(TEXTS), bundle.predict(TEXTS))


@pytest.mark.slow
def test_a_classifier_on_real_weights_is_exported(made: Made, assets: Callable[[str], Path]) -> None:
    on = load_backbone(ModelConfig(name=str(assets("minilm"))))
    # Noise of the size that the tiny model takes would drown real weights, and differences of rounding grow with it.
    bundle, model = exported(made({"name": "classify"}, {"name": "classify"}, on=on, size=0.2))
    same(model(TEXTS), bundle.predict(TEXTS))


def test_a_graph_that_computes_something_else_is_not_written(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(made({"name": "classify"}, {"name": "classify"}, method="head_only"))
    graph = onnx_folder.graph_of

    def other(assembly: Assembly) -> Any:
        found = graph(assembly)
        found.layer.bias += 0.01
        return found

    monkeypatch.setattr(onnx_folder, "graph_of", other)
    with pytest.raises(BundleError, match=r"gives outputs that are 1\..e-02 from its own, expected at most 0.0001"):
        export_onnx(bundle, tmp_path / "graph")
    assert not (tmp_path / "graph").exists()


def test_what_no_graph_holds_is_refused_by_its_manifest(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(made({"name": "classify"}, {"name": "classify"}))
    part = manifest.parts[0]

    def with_head(head: dict[str, Any]) -> Any:
        return manifest.model_copy(update={"parts": (part.model_copy(update={"head": head}),)})

    for changed, message in (
        (with_head({"name": "crf"}), "head 'crf' is none of those that become part of one ONNX graph"),
        (with_head({"name": "generate"}), "head 'generate' is none of those.*or write a decoder with --to vllm"),
        (with_head({"name": "relate", "markers": "tokens"}), r"head 'relate' reads tokens of its own \(\[E1\]"),
        (manifest.model_copy(update={"method": {"name": "prefix"}}), "method 'prefix' cannot be merged into the base"),
        (
            manifest.model_copy(update={"base": manifest.base.model_copy(update={"family": "t5"})}),
            r"\(t5\) has an encoder and a decoder, and a graph has one stack",
        ),
    ):
        with pytest.raises(Unsupported, match=message):
            onnx_folder.check_onnx(changed)
    monkeypatch.setattr("adaptune.bundle.elsewhere.find_spec", lambda name: None if name == "onnxscript" else True)
    with pytest.raises(MissingExtra, match=re.escape("onnxscript, which is not installed")):
        onnx_folder.check_onnx(manifest)


def test_every_head_is_written_or_named_as_one_that_is_not() -> None:
    assert set(onnx_folder.OF_HEAD) | {"choose", "crf", "entail", "generate", "verbal", "words"} == set(HEADS.names())
    program = onnx_folder.onnx_program
    assert program.READ.keys() == program.SAMPLE.keys() == program.ANSWERS.keys() == onnx_folder.OF_HEAD.keys()
