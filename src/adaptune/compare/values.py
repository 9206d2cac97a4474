"""A comparison as values: what comparison.json holds, and what reports of it are made from. Computes nothing.

`Comparison.model_validate_json(path.read_text())` reads one back. Scores are those of the task's own metric, between 0
and 1 where the metric is a share; larger is better. Seconds are of this machine.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from adaptune.core.config import Config

FORMAT = 1


class Interval(Config):
    """Both ends, at the level of the comparison."""

    low: float
    high: float


class Point(Config):
    """One evaluation on validation rows while a candidate was trained."""

    step: int
    """Optimizer steps done; 0: the warm start."""
    epoch: float
    """Passes over the training rows done."""
    seconds: float
    """Of training so far; a warm start that was shared costs nothing here."""
    score: float
    """What decides which weights are best: `Comparison.watched`."""


class Trained(Config):
    """One candidate with one seed."""

    seed: int
    folder: str
    """Its run folder, relative to the comparison's; a finished one holds a report, predictions, and a bundle."""
    finished: bool
    """Whether it was trained to its last step and scored on test rows."""
    steps: int
    """Optimizer steps that were taken."""
    seconds: float
    """Of training."""
    valid: float | None = None
    """The best score on validation rows."""
    test: dict[str, float] = Field(default={})
    """Every score on test rows by name; empty where they were not read."""
    curve: tuple[Point, ...] = ()


Status = Literal["compared", "stopped", "out of time", "failed", "refused"]


class Row(Config):
    """One candidate."""

    name: str
    """As it was asked for, `lora(rank=16)`."""
    sections: dict[str, Any]
    """Its method, and its approach where it has one, as a recipe's sections."""
    status: Status
    """compared: it was scored on test rows. stopped: validation rows spoke against it early. out of time: its turn did
    not come within the budget. failed: with an error. refused: it does not fit the task or the model."""
    error: str | None = None
    """Why it failed or was refused."""
    rounds: int = 0
    """In how many rounds of the race it took part."""
    valid: float | None = None
    """The best score on validation rows, of the first seed."""
    score: float | None = None
    """On test rows, the mean over seeds; None where it was not compared."""
    interval: Interval | None = None
    """Of the score over test rows and seeds, for this row alone."""
    best_in: float | None = None
    """In which share of the draws over test rows and seeds it is the best of all that were compared."""
    spread: float | None = None
    """Standard deviation of the test scores over seeds; None with one seed."""
    trained: int | None = None
    """Numbers that learn."""
    total: int | None = None
    """Numbers that there are."""
    bytes: int | None = None
    """Of its bundle on disk; of one that was stopped, of the tensors that it would hold."""
    seconds: float | None = None
    """Of training with one seed, a mean over those that were finished, else so far."""
    runs: tuple[Trained, ...] = ()


class Baseline(Config):
    """A system without training of the model, on the same test rows."""

    name: str
    score: float
    scores: dict[str, float]
    interval: Interval
    best_in: float


class Difference(Config):
    """Between two systems on test rows."""

    first: str
    second: str
    difference: float
    """Score of the first less that of the second."""
    interval: Interval
    """Simultaneous: at the level all intervals of the comparison hold together."""
    distinct: bool
    """Whether the interval excludes 0: one of the two is better."""
    error: float | None = None
    """Standard error of the difference; None in files of earlier versions."""


class Verdict(Config):
    """What follows."""

    use: str
    """A candidate, or a baseline where nothing trained is better than it."""
    best: str
    """The candidate with the highest test score."""
    alike: tuple[str, ...]
    """Candidates that cannot be told from the best, the cheapest first; the best is one of them."""
    worth_it: bool
    """Whether training is better than every baseline, beyond chance."""
    english: tuple[str, ...]
    """In sentences."""
    chinese: tuple[str, ...]


class Plan(Config):
    """How the race was laid out."""

    steps: int
    """Optimizer steps of a whole training."""
    of_steps: int
    """As many the recipe would take."""
    every: int
    """Optimizer steps between evaluations."""
    rounds: tuple[int, ...]
    """Steps after which a part of the candidates is stopped."""
    finalists: int
    """How many of those that take steps go to the end."""
    seeds: int


class Comparison(Config):
    """One comparison, whole."""

    format: int = FORMAT
    adaptune: str
    """The version that made it."""
    task: str
    model: str
    metric: str
    """Of test rows: the task's own."""
    watched: str
    """Of validation rows: what decides which weights are best, and who stays."""
    level: float
    """Of every interval."""
    rows: dict[str, int]
    """How many rows train, valid and test have."""
    budget: float
    """Seconds that were given."""
    seconds: float
    """Seconds that it took, this run of it."""
    plan: Plan
    notes: tuple[str, ...]
    """What was shrunk to stay within the budget, in sentences."""
    candidates: tuple[Row, ...]
    """The best first; then those that were stopped, the latest first."""
    baselines: tuple[Baseline, ...]
    differences: tuple[Difference, ...]
    """Of every two candidates that were compared, and of each with every baseline."""
    verdict: Verdict | None
    """None where no candidate came to its end."""
    bundle: str | None
    """Relative to the comparison's, the folder of the bundle of the cheapest candidate that is as good as the best;
    None where no candidate came to its end."""
    fingerprint: str
    """Of recipe and data: a comparison with another one is another comparison."""


class Trial(Config):
    """One choice of settings in a search."""

    number: int
    state: Literal["complete", "pruned", "failed"]
    """pruned: stopped early, since others did better at that step."""
    score: float | None
    """The best on validation rows."""
    overrides: tuple[str, ...]
    """The settings, as a command line has them: `method.rank=16`."""
    seconds: float


class Tuning(Config):
    """One search, whole."""

    format: int = FORMAT
    adaptune: str
    recipe: str
    """The recipe's file."""
    watched: str
    """What was maximised on validation rows."""
    trials: tuple[Trial, ...]
    """The best first."""
    best: float | None
    usual: float | None
    """The score of the recipe's own settings, which are tried first."""
    overrides: tuple[str, ...]
    """The recipe's own, then the best settings."""
    importances: dict[str, float]
    """Of each setting, the share of what varies between trials (functional ANOVA; Hutter et al., 2014); empty where too
    few trials came to their end."""
    seconds: float
