"""A folder of plain peft becomes a bundle by a recipe: with its classifier, or with a head fitted to the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from adaptune.bundle.load import load_bundle
from adaptune.core.errors import BundleError, Unsupported
from adaptune.imports import import_peft
from adaptune.recipe import load_recipe

# peft asks transformers by a name that it is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")


@pytest.fixture
def desk(tmp_path: Path, tiny_bert: Path) -> Path:
    """A folder with rows of two labels and a recipe."""
    rows = [
        f"the {thing} was {word} {end},{label}"
        for thing in THINGS
        for word, label in (("good", "positive"), ("bad", "negative"))
        for end in ("today", "again", "to me")
    ]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    recipe = f"task: classify\ndata: {{train: {tmp_path / 'rows.csv'}}}\nmodel: {tiny_bert}\n"
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    return tmp_path


def _adapter(folder: Path, base: Path, task_type: str | None) -> Path:
    auto: Any = AutoModel if task_type is None else AutoModelForSequenceClassification
    torch.manual_seed(5)
    config = peft.LoraConfig(r=4, target_modules=["query"], task_type=task_type, init_lora_weights=False)
    peft.get_peft_model(auto.from_pretrained(base), config).save_pretrained(folder)
    return folder


def test_without_a_classifier_the_head_is_fitted_to_the_rows_and_the_adapter_stays(desk: Path, tiny_bert: Path) -> None:
    adapter = _adapter(desk / "theirs", tiny_bert, None)
    done = import_peft(adapter, load_recipe(desk / "recipe.yaml"), out=desk / "bundle")
    assert done.scores["valid"].values["accuracy"] >= 0.9
    bundle = load_bundle(done.bundle)
    assert (bundle.manifest.method["name"], bundle.manifest.method["rank"]) == ("lora", 4)
    assert bundle.manifest.part.head["name"] == "classify"
    theirs = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(tiny_bert), adapter).eval()
    ids = torch.tensor([[2, 100, 120, 140, 3]])
    with torch.no_grad():
        ours = bundle.assembly.trunk(input_ids=ids).last_hidden_state
        assert torch.allclose(ours, theirs(input_ids=ids).last_hidden_state, atol=2e-6)


def test_a_classifier_comes_along_and_its_rows_have_the_names_given(desk: Path, tiny_bert: Path) -> None:
    adapter = _adapter(desk / "theirs", tiny_bert, "SEQ_CLS")
    recipe = load_recipe(desk / "recipe.yaml")
    done = import_peft(adapter, recipe, out=desk / "bundle", labels=("positive", "negative"))
    assert load_bundle(done.bundle).manifest.part.labels == ("positive", "negative")
    assert load_bundle(done.bundle).manifest.part.head["name"] == "as_transformers"
    with pytest.raises(BundleError, match="holds other files"):
        import_peft(adapter, recipe, out=desk / "bundle")
    with pytest.raises(Unsupported, match="--labels names 3 labels, and the adapter's classifier has 2 rows"):
        import_peft(adapter, recipe, out=desk / "other", labels=("a", "b", "c"))
    with pytest.raises(Unsupported, match="have the label 'negative', which the adapter's classifier does not know"):
        import_peft(adapter, recipe, out=desk / "other", labels=("a", "positive"))


def test_what_the_recipe_says_of_another_method_is_refused(desk: Path, tiny_bert: Path) -> None:
    adapter = _adapter(desk / "theirs", tiny_bert, None)
    with pytest.raises(Unsupported, match="leave method out of the recipe: it follows from the adapter"):
        import_peft(adapter, load_recipe(desk / "recipe.yaml", ["method=bitfit"]), out=desk / "bundle")
    assert not (desk / "bundle").exists()
