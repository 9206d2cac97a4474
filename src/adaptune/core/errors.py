"""Errors a user can act on: each says what is wrong (with the value), what was expected and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches


class AdaptuneError(Exception):
    """Base of every error that is the input's fault; the command line prints it without a stack trace."""


class RecipeError(AdaptuneError):
    """A recipe cannot be used; `problems` holds every fault at once, each with its path in the recipe."""

    def __init__(self, source: str, problems: Sequence[str], paths: Mapping[str, str] | None = None) -> None:
        """`paths`: of problems, where in the recipe each is: `train.epochs`."""
        self.problems = tuple(problems)
        self.paths = tuple((paths or {}).get(problem, "") for problem in problems)
        """Of each problem; empty where it is of the whole."""
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{source}: {len(problems)} problem{'s' * (len(problems) > 1)}\n{lines}")


class DataError(AdaptuneError):
    """Rows cannot be used as they are; names file, row, column and value."""


class ModelError(AdaptuneError):
    """A pretrained model cannot be found, loaded or recognised."""


class Unsupported(AdaptuneError):
    """Parts that do not fit each other: a method, task or head and a model or another part."""


class BundleError(AdaptuneError):
    """A bundle is damaged, or meant for another base model."""


class TrainingError(AdaptuneError):
    """Training cannot go on: the loss is not finite, or a checkpoint belongs to another run."""


class MissingExtra(AdaptuneError):
    """An optional library is needed and not installed."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {library}, which is not installed; run: pip install 'adaptune[{extra}]'")


def nearest(wrong: str, right: Iterable[str]) -> str:
    """`; did you mean 'lora'?` when one of the right names is close to the wrong one, else an empty string."""
    matches = get_close_matches(wrong, list(right), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""


class Interrupted(AdaptuneError):
    """Work was stopped by a signal after its state was saved; `signal` is the signal's number."""

    def __init__(self, message: str, signal: int) -> None:
        self.signal = signal
        super().__init__(message)
