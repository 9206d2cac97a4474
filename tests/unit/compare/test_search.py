"""What is searched, and the search itself on a score that is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.core.space import Among, Between
from adaptune.methods import METHODS
from adaptune.methods.lora import Lora

pytest.importorskip("optuna")

from adaptune.compare.search import Search, open_search

SPACE = {
    "train.learning_rate": Between(1e-4, 1e-2),
    "method.rank": Among((2, 4, 8)),
    "method.dora": Among((True, False)),
}


@pytest.mark.parametrize("name", METHODS.names())
def test_what_a_method_declares_are_values_of_its_fields(name: str) -> None:
    method = METHODS.get(name)
    for path, values in method().space(1e-3).items():
        section, _, field = path.partition(".")
        if section == "train":
            assert values == Between(1.25e-4, 8e-3)
        else:
            assert isinstance(values, Among)
            assert [getattr(method(**{field: value}), field) for value in values.values] == list(values.values)
            assert method.model_fields[field].default in values.values


def test_the_rate_and_the_rank_of_lora_are_searched() -> None:
    assert list(Lora().space(1e-3)) == ["train.learning_rate", "method.rank", "method.targets"]


def _search(folder: Path, trials: int) -> Search:
    """A score that rank alone decides, and rank 2 as one that fails."""
    search = open_search(folder, SPACE, seed=1)
    search.begin_with({"train.learning_rate": 1e-3, "method.rank": 4, "method.dora": False})
    while search.begun() < trials:
        proposal = search.propose()
        rank = proposal.settings["method.rank"]
        stopped = any(proposal.report(rank / 10, step) for step in (1, 2))
        search.tell(proposal, None if rank == 2 else rank / 10, "failed" if rank == 2 else _state(stopped))
    return search


def _state(stopped: bool) -> str:
    return "pruned" if stopped else "complete"


def test_the_best_settings_come_first_and_what_mattered_is_known(tmp_path: Path) -> None:
    search = _search(tmp_path, 25)
    best = search.tried()[0]
    assert (best.state, best.score, best.settings["method.rank"]) == ("complete", 0.8, 8)
    usual = next(one for one in search.tried() if one.number == 0)
    assert usual.settings == {"train.learning_rate": 0.001, "method.rank": 4, "method.dora": False}
    assert {one.state for one in search.tried()} >= {"complete", "failed"}
    rates = [one.settings["train.learning_rate"] for one in search.tried()]
    assert all(1e-4 <= rate <= 1e-2 and float(f"{rate:.3g}") == rate for rate in rates)
    shares = search.importances()
    assert shares["method.rank"] > 0.5


def test_another_process_goes_on_with_the_same_trials(tmp_path: Path) -> None:
    first = _search(tmp_path, 6).tried()
    open_search(tmp_path, SPACE, seed=2).propose()  # a process that is then stopped
    again = open_search(tmp_path, SPACE, seed=3)
    assert again.begun() == 7
    again.abandon()
    assert {one.number: one.score for one in first}.items() <= {one.number: one.score for one in again.tried()}.items()
    assert [one.state for one in again.tried() if one.number == 6] == ["failed"]


def test_too_few_trials_say_nothing_of_what_matters(tmp_path: Path) -> None:
    assert _search(tmp_path, 2).importances() == {}
