"""What is compared, as people write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.compare import candidates
from adaptune.compare.candidates import parse_candidates
from adaptune.core.errors import AdaptuneError
from adaptune.heads import HEADS
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
    assert str(refused.value).splitlines() == [
        "--candidates:",
        f"  - 'lorra' is no method; did you mean 'lora'? (there are: {', '.join(candidates.METHODS.names())})",
        "  - lora.rank: expected 1 or more, got 0",
        "  - 'lora.rang' is not known; did you mean 'rank'?",
        "  - 'full(3)': '3' is no setting; write NAME=VALUE, as rank=16",
        "  - 'lora+adapter' names two methods; a candidate is METHOD or APPROACH+METHOD",
        "  - 'bitfit' stands there twice",
    ]


def test_none_at_all_is_refused(recipe: Recipe) -> None:
    with pytest.raises(AdaptuneError, match="there is none"):
        parse_candidates(" , ", recipe)


def test_an_approach_stands_before_its_method_once_there_is_a_catalogue(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "APPROACHES", HEADS)  # another catalogue in its place
    both, alone = parse_candidates("crf(dropout=0.2)+lora,tag", recipe)
    assert (both.approach, both.method) == (HEADS.get("crf")(dropout=0.2), Lora())
    assert (alone.approach, alone.method) == (HEADS.get("tag")(), recipe.method)
    assert both.sections() == {
        "method": {"name": "lora", **Lora().model_dump(mode="json")},
        "approach": {"name": "crf", **HEADS.get("crf")(dropout=0.2).model_dump(mode="json")},
    }
