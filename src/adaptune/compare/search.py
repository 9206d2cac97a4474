"""optuna, wrapped: proposals of settings, their scores, and what of them mattered. Knows no recipe and no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from adaptune.core.errors import MissingExtra
from adaptune.core.lazy import optuna
from adaptune.core.space import Among, Between, Values

STUDY = "study.db"
RANDOM = 6
"""Trials before the sampler (TPE; Bergstra et al., 2011) believes what it has seen."""
BESIDE = 4
"""Trials that have to have come to a step before others are stopped there for being below their median."""

State = Literal["complete", "pruned", "failed"]
Settings = dict[str, Any]


class Tried(NamedTuple):
    """A trial that is over."""

    number: int
    state: State
    score: float | None
    settings: Settings
    seconds: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """A trial under way."""

    settings: Settings
    trial: Any

    def report(self, score: float, step: int) -> bool:
        """Note a validation score; whether the trial is worth no more steps."""
        self.trial.report(score, step)
        return bool(self.trial.should_prune())


@dataclass(frozen=True, slots=True)
class Search:
    """A search that is kept in a file, which several processes may open at once."""

    study: Any
    space: Mapping[str, Values]

    def propose(self) -> Proposal:
        """Settings to try next; numbers have three digits, so that they can be pasted as they were used."""
        trial = self.study.ask()
        return Proposal({path: _drawn(trial, path, values) for path, values in self.space.items()}, trial)

    def begin_with(self, settings: Settings) -> None:
        """Try these first; done once a search."""
        if not self.study.trials:
            self.study.enqueue_trial(settings)

    def tell(self, proposal: Proposal, score: float | None, state: State) -> None:
        """End a trial. `score`: the best on validation rows; None where it failed."""
        states = optuna.trial.TrialState
        name = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[state]
        proposal.trial.set_user_attr("settings", proposal.settings)
        if score is not None:
            proposal.trial.set_user_attr("best", score)
        self.study.tell(proposal.trial, score if state == "complete" else None, state=name)

    def begun(self) -> int:
        """Trials that are over or under way."""
        return sum(trial.state != optuna.trial.TrialState.WAITING for trial in self.study.trials)

    def tried(self) -> list[Tried]:
        """Trials that are over, the best first."""
        states = optuna.trial.TrialState
        names: dict[Any, State] = {states.COMPLETE: "complete", states.PRUNED: "pruned", states.FAIL: "failed"}
        found = [
            Tried(
                trial.number,
                names[trial.state],
                trial.user_attrs.get("best"),
                trial.user_attrs.get("settings", trial.params),
                trial.duration.total_seconds() if trial.duration else 0.0,
            )
            for trial in self.study.trials
            if trial.state in names
        ]
        return sorted(found, key=lambda one: (one.state != "complete", -(one.score or 0.0), one.number))

    def abandon(self) -> None:
        """Trials that a process left when it was stopped count as failed. No other process may be at work."""
        for trial in self.study.trials:
            if trial.state == optuna.trial.TrialState.RUNNING:
                self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def importances(self) -> dict[str, float]:
        """Of each setting, the share of what varies between complete trials; empty where these are too few."""
        complete = [trial for trial in self.study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
        if len(complete) < BESIDE or len({trial.value for trial in complete}) == 1:
            return {}
        judge = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(self.study, evaluator=judge)
        return {name: float(share) for name, share in found.items()}


def open_search(folder: Path, space: Mapping[str, Values], *, seed: int) -> Search:
    """The search of a folder, a new one where there is none. Raises MissingExtra."""
    if find_spec("optuna") is None:
        raise MissingExtra("optuna", "tune", "a search for settings")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / STUDY}", engine_kwargs={"connect_args": {"timeout": 60}})
    study = optuna.create_study(
        storage=storage,
        study_name="adaptune",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=BESIDE),
        load_if_exists=True,
    )
    return Search(study, space)


def _drawn(trial: Any, path: str, values: Values) -> Any:
    if isinstance(values, Among):
        return trial.suggest_categorical(path, list(values.values))
    assert isinstance(values, Between)
    return float(f"{trial.suggest_float(path, values.low, values.high, log=True):.3g}")
