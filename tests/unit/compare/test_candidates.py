"""What is compared, as people write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.approaches import APPROACHES
from adaptune.approaches.contrast import Contrast
from adaptune.compare.candidates import parse_candidates
from adaptune.core.errors import AdaptuneError, Unsupported
from adaptune.engine.config import TrainConfig
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.methods.adapter import Adapter
from adaptune.methods.lora import Lora
from adaptune.methods.none import Nothing
from adaptune.recipe import Recipe, load_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    file = tmp_path / "recipe.yaml"
    file.write_text(f"task: classify\ndata: {{train: {tmp_path}/rows.csv}}\nmodel: some/model\nmethod: adapter\n")
    return load_recipe(file)


def test_a_candidate_is_a_method_with_settings_where_these_differ(recipe: Recipe) -> None:
    found = parse_candidates("lora, lora(rank=16, targets=[query, value]),adapter(variant=pfeiffer)", recipe)
    assert [one.name for one in found] == ["lora", "lora(rank=16,targets=[query,value])", "adapter(variant=pfeiffer)"]
    assert [one.method for one in found] == [
        Lora(),
        Lora(rank=16, targets=["query", "value"]),
        Adapter(variant="pfeiffer"),
    ]
    assert found[1].folder == "lora-rank-16-targets-query-value"
    assert found[1].recipe(recipe).method == found[1].method


def test_a_candidate_that_takes_no_step_asks_for_no_epochs(recipe: Recipe) -> None:
    [found] = parse_candidates("none", recipe)
    assert found.method == Nothing()
    assert found.recipe(recipe).train.epochs == 0


def test_every_fault_is_told_at_once(recipe: Recipe) -> None:
    with pytest.raises(AdaptuneError) as refused:
        parse_candidates("lorra,lora(rank=0),lora(rang=4),bitfit,bitfit,full(3),lora+adapter", recipe)
    there = ", ".join([*METHODS.names(), *APPROACHES.names()])
    assert str(refused.value).splitlines() == [
        "--candidates:",
        f"  - 'lorra' is no method or approach; did you mean 'lora'? (there are: {there})",
        "  - lora.rank: expected 1 or more, got 0",
        "  - 'lora.rang' is not known; did you mean 'rank'?",
        "  - 'full(3)': '3' is no setting; write NAME=VALUE, as rank=16",
        "  - 'lora+adapter' names two methods; a candidate is METHOD or APPROACH+METHOD",
        "  - 'bitfit' stands there twice",
    ]


def test_none_at_all_is_refused(recipe: Recipe) -> None:
    with pytest.raises(AdaptuneError, match="there is none"):
        parse_candidates(" , ", recipe)


def test_an_approach_stands_before_its_method(recipe: Recipe) -> None:
    both, alone, own, scored = parse_candidates("contrast(steps=5) + lora, contrast, prototype, score", recipe)
    assert (both.name, both.approach, both.method) == ("contrast(steps=5)+lora", Contrast(steps=5), Lora())
    assert alone.method == METHODS.make({"name": "top_layers"})
    assert own.method == Nothing()
    assert scored.method == recipe.method, "the approach has none of its own"
    assert both.sections() == {
        "method": {"name": "lora", **Lora().model_dump(mode="json")},
        "approach": {"name": "contrast", **Contrast(steps=5).model_dump(mode="json")},
    }


def test_signs_in_quotes_are_part_of_a_template(recipe: Recipe) -> None:
    written = 'score(template="{text}, in a word (or two) + {answer}", normalise=none)+none,cloze(template=\'it: {text}'
    written += " {answer}')"
    first, other = parse_candidates(written, recipe)
    assert first.name == 'score(template="{text}, in a word (or two) + {answer}",normalise=none)+none'
    assert first.approach == APPROACHES.make(
        {"name": "score", "template": "{text}, in a word (or two) + {answer}", "normalise": "none"}
    )
    assert other.approach == APPROACHES.make({"name": "cloze", "template": "it: {text} {answer}"})


def test_templates_that_differ_in_signs_have_folders_of_their_own(recipe: Recipe) -> None:
    names = ('score(template="{text}: {answer}")', 'score(template="{text} - {answer}")')
    folders = [candidate.folder for candidate in parse_candidates(",".join(names), recipe)]
    assert len(set(folders)) == 2
    assert all(folder.startswith("score-template-text-answer-") for folder in folders)


def test_a_template_without_a_place_is_told_with_the_candidates(recipe: Recipe) -> None:
    with pytest.raises(AdaptuneError, match=r"--candidates:\n  - the template '\{text\} \{label\}' has a place"):
        parse_candidates('score(template="{text} {label}")', recipe)


def test_a_candidate_brings_the_head_and_the_epochs_of_its_approach(recipe: Recipe) -> None:
    text = "cloze+lora,contrast,contrast+lora,prototype,prototype+lora,adapter"
    found = {one.name: one.recipe(recipe) for one in parse_candidates(text, recipe)}
    assert {name: (one.head.name, one.train.epochs) for name, one in found.items()} == {
        "cloze+lora": ("verbal", 5),
        "contrast": ("classify", 0),
        "contrast+lora": ("classify", 0),
        "prototype": ("classify", 0),
        "prototype+lora": ("classify", 5),
        "adapter": ("classify", 5),
    }


def test_a_recipe_without_training_lends_candidates_that_train_the_usual_epochs(recipe: Recipe) -> None:
    none = recipe.model_copy(
        update={
            "approach": APPROACHES.make({"name": "score"}),
            "head": HEADS.make({"name": "verbal"}),
            "method": Nothing(),
            "train": recipe.train.model_copy(update={"epochs": 0.0}),
        }
    )
    found = {one.name: one.recipe(none) for one in parse_candidates("score,finetune+lora", none)}
    assert {name: (one.head.name, one.train.epochs) for name, one in found.items()} == {
        "score": ("verbal", 0),
        "finetune+lora": ("classify", TrainConfig().epochs),
    }


def test_what_does_not_fit_the_task_or_the_rows_is_refused(recipe: Recipe) -> None:
    [frozen] = parse_candidates("contrast+none", recipe)
    with pytest.raises(Unsupported, match="'contrast' trains the model, which method 'none' leaves as it is"):
        frozen.recipe(recipe)
    without = recipe.model_copy(update={"data": recipe.data.model_copy(update={"shots": 0})})
    learns, asks = parse_candidates("lora,prototype", recipe)
    with pytest.raises(Unsupported, match="learns from labelled rows, and the recipe has none"):
        learns.recipe(without)
    assert asks.recipe(without).train.epochs == 0
