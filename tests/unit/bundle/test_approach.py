"""A bundle keeps how its rows were put to the model, and answers put the same way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import adaptune.bundle.manifest as manifests
from adaptune.bundle.answers import answer, encoded_for
from adaptune.bundle.load import load_bundle
from adaptune.bundle.merge import merge
from adaptune.core.approach import Approach
from adaptune.core.backbone import Backbone
from adaptune.core.errors import Unsupported
from adaptune.core.types import Example, Labels, Row, Sequence
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly

from .conftest import LABELS, Trained, moved, save


class Asking(Approach):
    """Puts a question before every text."""

    rewrites = True
    question: str = "Who is it?"

    def put(self, example: Example, labels: Labels, *, mask: str | None) -> Example:
        asked = tuple(replace(one, first=f"{self.question} {one.first}") for one in example.sequences)
        return replace(example, sequences=asked)


Asking.name = "asking"
TEXT = "a small red train"
EXAMPLE = Example(Row("input", 1, {"text": TEXT}), (Sequence(TEXT),))


class _Known:
    """A catalogue that has it."""

    noun = "approach"

    def make(self, described: dict[str, Any]) -> Approach:
        return Asking(question=described["question"])


@pytest.fixture
def asking(bert: Backbone, monkeypatch: pytest.MonkeyPatch) -> Assembly:
    """With weights away from their start."""
    monkeypatch.setattr(manifests, "APPROACHES", _Known())
    method, head = METHODS.make({"name": "lora"}), HEADS.make({"name": "classify"})
    return moved(Assembly(bert, method, head, LABELS, seed=1, approach=Asking())).eval()


def test_rows_are_put_once_as_the_approach_says(asking: Assembly, trained: Trained) -> None:
    plain = replace(EXAMPLE, sequences=(Sequence(f"Who is it? {TEXT}"),))
    [put], [same] = (
        encoded_for(asking, [EXAMPLE], max_length=64),
        encoded_for(trained("lora"), [plain], max_length=64),
    )
    assert put.ids.tolist() == same.ids.tolist()


def test_a_loaded_bundle_puts_rows_as_the_saved_one_did(asking: Assembly, bert: Backbone, tmp_path: Path) -> None:
    save(tmp_path / "asking", asking)
    bundle = load_bundle(tmp_path / "asking", backbone=bert)
    assert bundle.assembly.approach == Asking()
    [expected] = answer(asking, [EXAMPLE], max_length=64)
    [found] = bundle.predict(TEXT)
    assert (found["label"], found["probability"]) == (expected.value, pytest.approx(expected.probability, abs=1e-6))
    [otherwise] = answer(moved(_without(bert)).eval(), [EXAMPLE], max_length=64)
    assert otherwise.probability != pytest.approx(expected.probability, abs=1e-6)


def _without(bert: Backbone) -> Assembly:
    return Assembly(bert, METHODS.make({"name": "lora"}), HEADS.make({"name": "classify"}), LABELS, seed=1)


def test_a_manifest_names_no_approach_where_rows_are_read_as_they_are(trained: Trained, tmp_path: Path) -> None:
    save(tmp_path / "plain", trained("lora"))
    assert "approach" not in json.loads((tmp_path / "plain" / "manifest.json").read_text())["parts"][0]


def test_a_plain_model_that_would_read_texts_otherwise_is_not_written(
    asking: Assembly, bert: Backbone, tmp_path: Path
) -> None:
    save(tmp_path / "asking", asking)
    with pytest.raises(Unsupported, match=r"the approach 'asking' rewrites every text .* serve the bundle as it is"):
        merge(load_bundle(tmp_path / "asking", backbone=bert), tmp_path / "merged")
