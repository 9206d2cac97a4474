"""The answers of every task as HTTP gives them: the models behind the OpenAPI schema. Knows no models that compute."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from adaptune.tasks import TASKS

Probability = Annotated[float, Field(ge=0, le=1.0001)]
"""Sums of rounded numbers may lie a little above 1."""


class Answer(BaseModel):
    """What all answers have in common: they hold what is written here, and nothing else."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Calibrated(Answer):
    """What answers of bundles say that were given thresholds."""

    abstained: bool | None = None
    """Whether the answer is too improbable to be given; none: the bundle has no threshold."""


class Scoped(Calibrated):
    """The same of one label for the whole text."""

    out_of_scope: bool | None = None
    """Whether the text belongs to none of the labels; none: the bundle does not tell."""
    out_of_scope_score: float | None = None
    """How much it is unlike the texts that were learned; larger is more."""


class Labelled(Scoped):
    """One label for the whole text."""

    label: str
    probability: Probability
    probabilities: dict[str, Probability] | None = None
    """Of every label, where the request asked for them."""


class LabelOfSeveral(Answer):
    """One of several labels."""

    label: str
    probability: Probability


class SeverallyLabelled(Calibrated):
    """Any number of labels, perhaps none."""

    labels: list[LabelOfSeveral]
    probability: Probability
    """Of exactly these labels."""
    probabilities: dict[str, Probability] | None = None
    """Of every label, where the request asked for them."""


class Entity(Answer):
    """A span of words with a type."""

    type: str
    words: list[str]
    start_word: int
    end_word: int
    """The word after its last."""
    text: str | None = None
    """As the input has it; only where the input was a text, as are the next two."""
    start: int | None = None
    """Its first character."""
    end: int | None = None
    """The character after its last."""
    probability: Probability | None = None
    """Mean over its words."""


class Tagged(Calibrated):
    """Entities in the order of the text."""

    entities: list[Entity]
    probability: Probability
    """Mean over all words."""


class Number(Answer):
    """A number."""

    number: float


class Matched(Scoped):
    """A label for a pair of texts, or how alike they are."""

    label: str | None = None
    score: float | None = None
    probability: Probability | None = None
    probabilities: dict[str, Probability] | None = None
    """Of every label, where the request asked for them."""


class Related(Scoped):
    """The relation of two marked entities."""

    relation: str
    head: str
    tail: str
    probability: Probability
    probabilities: dict[str, Probability] | None = None
    """Of every relation, where the request asked for them."""


class Found(Answer):
    """A part of the context that answers the question; empty where it does not."""

    answer: str
    start: int | None
    """Its first character in the context."""
    end: int | None
    """The character after its last."""
    probability: Probability


class Written(Answer):
    """A text."""

    text: str
    probability: Probability
    """Geometric mean over its tokens."""


class Judged(Answer):
    """How probable the model finds a text."""

    log_likelihood: float
    tokens: int
    perplexity: float
    probability: Probability
    """Geometric mean over its tokens."""


class Option(Answer):
    """One of the texts to choose from."""

    text: str
    probability: Probability


class Chosen(Calibrated):
    """The right one of several options."""

    choice: int
    """Its place, counted from 0."""
    text: str
    probability: Probability
    options: list[Option]
    """All of them, in their order."""


class RankedText(Answer):
    """A text, and how well it fits the query."""

    text: str
    score: float
    """A cosine, or a cross-encoder's number; larger is better."""


class Ranked(Answer):
    """Texts, the best first; as many as the bundle's task shows."""

    ranking: list[RankedText]
    probability: Probability
    """That the first of them is the best of all."""


ANSWERS: dict[str, type[Answer]] = {
    "answer": Found,
    "chat": Written,
    "choose": Chosen,
    "classify": Labelled,
    "match": Matched,
    "multilabel": SeverallyLabelled,
    "pretrain": Judged,
    "rank": Ranked,
    "regress": Number,
    "relate": Related,
    "summarise": Written,
    "tag": Tagged,
    "translate": Written,
    "write": Written,
}
"""By task; those of a task that is not named here may be any JSON object."""


SEVERAL = "several"
"""What stands in the place of a task where a bundle answers for more than one."""


class OfTask(BaseModel):
    """The answers of one of several tasks, one an input, in its order."""

    task: str
    answers: list[Any]


class Predictions(OfTask):
    """The answers to a request, one an input, in its order."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    bundle: str
    version: str
    """All answers are this version's."""


def _typed(task: str, base: type[OfTask], what: str) -> type[Any]:
    of_task: Any = Literal[task]
    answers: Any = list[ANSWERS.get(task, dict[str, JsonValue])]  # type: ignore[misc]
    return create_model(
        f"{task.title().replace('_', '')}{base.__name__}",
        __base__=base,
        __doc__=f"Answers of {what} `{task}`.",
        task=(of_task, ...),
        answers=(answers, ...),
    )


MODELS = {task: _typed(task, Predictions, "a bundle of the task") for task in TASKS.names()}
"""By task."""
_OF_TASK = {task: _typed(task, OfTask, "one of several tasks, of the kind") for task in TASKS.names()}
_AnyOfTask: Any = Annotated[reduce(or_, _OF_TASK.values()), Field(discriminator="task")]


class SeveralPredictions(BaseModel):
    """The answers of all tasks of a bundle."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    bundle: str
    version: str
    """All answers are this version's."""
    task: Literal["several"]
    tasks: dict[str, _AnyOfTask]
    """By the tasks' names, as the recipe gave them."""


AnyPredictions: Any = Annotated[reduce(or_, MODELS.values()) | SeveralPredictions, Field(discriminator="task")]
