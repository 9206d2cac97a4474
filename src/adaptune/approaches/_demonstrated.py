"""Demonstrations in front of a prompt: what in_context and cloze share beside their templates. Knows no tokens."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence as Several
from typing import Literal, Self

import numpy as np
from pydantic import Field

from adaptune.approaches._prompted import Prompted
from adaptune.approaches._shown import Shot, drawn, joined, most_similar, spread, tfidf_vectors
from adaptune.approaches._wording import Template, Texts
from adaptune.core.approach import Trial
from adaptune.core.errors import Unsupported, nearest
from adaptune.core.head import Head
from adaptune.core.method import Method
from adaptune.core.task import Task
from adaptune.core.types import Example, Labels, Row, Sequence


class Demonstrated(Prompted, ABC):
    """Few rows with their answers stand in front of every row, as the bundle keeps them."""

    demonstrations: int = Field(default=0, ge=0)
    """How many rows are shown; those that leave a row no room are left out, the first of them first."""
    choose: Literal["random", "diverse", "similar"] = "random"
    """random: drawn by the seed, labels in turn. diverse: far from each other. similar: for each row those most like
    it, out of a pool that the bundle keeps, by TF-IDF."""
    by: Literal["tfidf", "model"] = "tfidf"
    """What tells diverse rows apart: their words, or the mean of the model's last states."""
    pool: int = Field(default=200, ge=1)
    """Training rows, drawn by the seed with labels in turn, that demonstrations are chosen from."""
    separator: str = "\n\n"
    """What stands behind each."""
    shown: tuple[Shot, ...] = ()
    """The rows that are shown or chosen from, `{text: ..., pair: ..., answer: LABEL}`; none: training rows."""

    def check(self, task: Task, method: Method, head: Head) -> None:
        super().check(task, method, head)
        if self.choose == "similar" and self.by == "model":
            raise Unsupported(
                "approach.choose is 'similar', and approach.by 'model' would read every row twice; set by: tfidf, or "
                "choose: diverse"
            )
        if self.shown and self.choose == "random" and len(self.shown) != self.demonstrations:
            raise Unsupported(
                f"approach.shown has {len(self.shown)} rows, and approach.demonstrations is {self.demonstrations}; "
                "give as many, or say how they are chosen: approach.choose"
            )

    def settled(self, examples: Several[Example], labels: Labels, *, seed: int) -> Self:
        found = super().settled(examples, labels, seed=seed)
        unknown = [shot.answer for shot in self.shown if len(labels) and shot.answer not in labels]
        if unknown:
            raise Unsupported(
                f"approach.shown has the answer {unknown[0]!r}, which is no label{nearest(unknown[0], labels.names)} "
                f"(labels: {', '.join(labels.names[:20])}); correct it"
            )
        return found.model_copy(update={"shown": self._picked(examples, seed)})

    def chosen(self, trial: Trial) -> Self:
        if self.demonstrations and self.choose == "diverse" and self.by == "model" and not self._are_given:
            shots = [_as_example(shot, number) for number, shot in enumerate(self.shown, start=1)]
            vectors = trial.vectors(shots).cpu().numpy()
            places = spread(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), self.demonstrations)
            return super(Demonstrated, self._with([self.shown[place] for place in places])).chosen(trial)
        return super().chosen(trial)

    def shots_for(self, texts: Texts, template: Template) -> tuple[str, ...]:
        if not self.demonstrations or not self.shown:
            return ()
        own = "\n".join(texts.values())
        if self.choose == "similar":
            shots = most_similar(self.shown, own, self.demonstrations)
        else:
            shots = [shot for shot in self.shown if joined(shot) != own]
        words = self.verbalizer
        return tuple(
            template.shown(shot.texts, words.get(shot.answer, (shot.answer,))[0]) + self.separator for shot in shots
        )

    @property
    def _are_given(self) -> bool:
        """Whether there are no more rows than are shown, so that none is chosen."""
        return len(self.shown) <= self.demonstrations

    def _with(self, shown: Several[Shot]) -> Self:
        return self.model_copy(update={"shown": tuple(shown)})

    def _picked(self, examples: Several[Example], seed: int) -> tuple[Shot, ...]:
        """Given rows come first; what the model's states decide stays a pool until they are known."""
        if not self.demonstrations:
            return ()
        if self.choose == "random":
            return (self.shown or tuple(drawn(examples, self.demonstrations, seed)))[: self.demonstrations]
        pool = self.shown or tuple(drawn(examples, self.pool, seed))
        if self.choose == "diverse" and self.by == "tfidf":
            places = spread(tfidf_vectors([joined(shot) for shot in pool]), self.demonstrations)
            return tuple(pool[place] for place in places)
        return pool


def _as_example(shot: Shot, number: int) -> Example:
    return Example(Row("demonstrations", number, {}), (Sequence(shot.text, shot.pair),))
