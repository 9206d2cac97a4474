"""A task as a text that the model completes with a word for the label: what score, cloze and in_context share."""

from __future__ import annotations

import json
from abc import ABC
from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from adaptune.approaches._follows import Per
from adaptune.approaches._verbalizers import spoken_for
from adaptune.approaches._wording import (
    Kind,
    Language,
    Template,
    Texts,
    is_template,
    parse,
    plain_words,
    read_set,
    unsaid,
)
from adaptune.core.approach import Approach, Trial
from adaptune.core.config import Config
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.head import Head
from adaptune.core.lazy import torch
from adaptune.core.log import notice
from adaptune.core.method import Method
from adaptune.core.task import Task
from adaptune.core.types import Example, Labels, OfOption, OfPrompt, OfSequence, Prompt, Row, Sequence

EMPTY = ("N/A", "", "[MASK]")
"""Texts without content, those of Zhao et al. (2021)."""
Selected = Literal["template", "verbalizer"]


def _one_or_more(one: dict[str, Any]) -> WithJsonSchema:
    """How an editor checks a list that may be written without brackets where it has one entry."""
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one}]})


_MAPPING = WithJsonSchema(
    {
        "type": "object",
        "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    }
)


class Tried(Config):
    """What was judged on validation rows before training."""

    template: str
    """The one template."""
    verbalizer: dict[str, tuple[str, ...]]
    """The words of each label."""
    score: float
    """The task's metric."""


class Prompted(Approach, ABC):
    """A row's texts stand in a template, and the label is the answer whose words the model finds most probable."""

    rewrites: ClassVar[bool] = True
    kind: ClassVar[Kind]

    template: Annotated[tuple[str, ...], _one_or_more({"type": "string"})] = Field(default=("plain",), min_length=1)
    """A text with places {text}, {pair}, {answer}, {soft:N}; the name of a set that comes along (plain, sentiment,
    topic, intent, question, entailment, match, choose); or a YAML file. Of several one is selected."""
    language: Language = "en"
    """Of the sets: English or Chinese."""
    verbalizer: Annotated[dict[str, tuple[str, ...]], _MAPPING] = Field(default={})
    """The words that say each label: `{pos: [good, great], neg: [bad]}`; none: those of the set, else the labels'
    names. An answer of several words is as probable as they are on average."""
    instruction: str = ""
    """What stands in front of every text."""
    select: Annotated[tuple[Selected, ...], _one_or_more({"enum": ["template", "verbalizer"]})] = ()
    """What is chosen on validation rows before training: template: the best of those that are given; verbalizer: words
    that few training rows speak for (Schick et al., 2020), where these are better than those given."""
    calibrate: Literal["none", "content_free"] = "none"
    """content_free: what the model says to texts without content is taken off its answers (Zhao et al., 2021)."""
    tried: tuple[Tried, ...] = ()
    """What `select` judged, the best first; always filled by the run."""

    @field_validator("template", "select", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("verbalizer", mode="before")
    @classmethod
    def _spelt(cls, value: Any) -> Any:
        """YAML reads `0` as a number and `yes` as true; labels are text, and one word need be no list."""
        if not isinstance(value, dict):
            return value
        words = {_text(label): list(one) if isinstance(one, (list, tuple)) else [one] for label, one in value.items()}
        if empty := [label for label, of in words.items() if not of or not all(str(word).strip() for word in of)]:
            raise ValueError(f"the label {empty[0]!r} has no words; give it some, or leave it out")
        return words

    @model_validator(mode="after")
    def _right_templates(self) -> Self:
        """What is wrong with a template is told beside the approach."""
        self.templates()
        return self

    def reads(self) -> tuple[Path, ...]:
        files = (Path(one) for one in self.template if not is_template(one))
        return tuple(file for file in files if file.suffix in (".yaml", ".yml"))

    def heads(self, task: Task) -> tuple[str, ...]:
        return ("verbal",)

    def for_head(self, head: Head, task: Task) -> Head:
        soft = {one.soft for one in self.templates()}
        if len(soft) > 1:
            raise Unsupported("the templates have different numbers of {soft:N}; give all of them the same")
        return head.model_copy(update={"soft": soft.pop()})

    def check(self, task: Task, method: Method, head: Head) -> None:
        if task.target not in (OfSequence, OfOption):
            cross = "; set task.encoder: cross" if getattr(task, "encoder", "cross") == "bi" else ""
            raise Unsupported(
                f"approach {self.name!r} asks for one label of a row (tasks classify and match) or one of its options "
                f"(choose), and task {task.name!r} asks for something else here{cross or '; use approach finetune'}"
            )
        if task.target is OfOption and (self.verbalizer or "verbalizer" in self.select):
            raise Unsupported("rows of options have their own words; leave approach.verbalizer out")
        if task.target is OfOption and self.calibrate != "none":
            raise Unsupported("approach.calibrate is for labels, and every row has options of its own; leave it out")
        if len(self.templates()) > 1 and "template" not in self.select:
            raise Unsupported(
                f"approach.template gives {len(self.templates())} templates, and nothing chooses between them; "
                "set approach.select: template, or give one"
            )

    def labels(self, task: Task, examples: Several[Example]) -> Labels:
        """Those of the rows. Raises Unsupported for a label without words."""
        found = task.labels(examples)
        self.words(found)
        return found

    def settled(self, examples: Several[Example], labels: Labels, *, seed: int) -> Self:
        """With the templates and words that it names written out: a bundle needs no file of them."""
        written = tuple(one.written for one in self.templates())
        return self.model_copy(update={"template": written, "verbalizer": self.words(labels)})

    def put(self, example: Example, labels: Labels, *, mask: str | None) -> Example:
        first = example.sequences[0]
        answers, right = self._answers(example, labels)
        template, texts = self.templates()[0], texts_of(example)
        _check_places(template, texts, example.row)
        prompt = Prompt(
            template.filled(texts),
            answers,
            shots=self.shots_for(texts, template),
            before=self.instruction,
            per=self.per,
        )
        target = None if right is None else OfPrompt(right)
        return replace(example, sequences=(Sequence(first.first, texts.get("pair"), target, prompt=prompt),))

    @property
    def per(self) -> Per:
        """What a word's score is a mean over."""
        return "answer"

    def shots_for(self, texts: Texts, template: Template) -> tuple[str, ...]:
        """What is shown before a row; none here."""
        return ()

    def templates(self) -> tuple[Template, ...]:
        """Those that are given, parsed. Raises Unsupported."""
        found: list[str] = []
        for one in self.template:
            of_set = () if is_template(one) else getattr(getattr(read_set(one), self.language), self.kind)
            if not is_template(one) and not of_set:
                raise Unsupported(
                    f"the templates {one!r} have none for approach {self.name!r} in {self.language!r}; choose others"
                )
            # Of a set all are candidates where one is to be chosen, else the first.
            found += [one] if is_template(one) else of_set if "template" in self.select else of_set[:1]
        return _parsed(tuple(found), self.kind)

    def words(self, labels: Labels) -> dict[str, tuple[str, ...]]:
        """The words of every label. Raises Unsupported for labels without, and words without a label."""
        if not len(labels):
            return {}
        sets = [read_set(one) for one in self.template if not is_template(one)]
        given = {name: words for one in sets for name in labels.names if (words := one.words_of(name, self.language))}
        known = given | self.verbalizer
        if extra := [name for name in self.verbalizer if name not in labels]:
            raise Unsupported(
                f"approach.verbalizer has words for {extra[0]!r}, which no row has (labels: "
                f"{', '.join(labels.names[:20])}); leave it out, or correct it"
            )
        missing = [name for name in labels.names if name not in known]
        if missing and (known or any(not _is_word(name) for name in missing)):
            raise unsaid(missing, list(known))
        return {name: known.get(name) or plain_words(name) for name in labels.names}

    def _answers(self, example: Example, labels: Labels) -> tuple[tuple[tuple[str, ...], ...], int | None]:
        """The words of every answer, and which is right."""
        first = example.sequences[0]
        if not len(labels):
            options = tuple((str(one.second),) for one in example.sequences)
            rights = [isinstance(one.target, OfOption) and one.target.right for one in example.sequences]
            return options, None if first.target is None else rights.index(True)
        answers = _of_labels(tuple(self.words(labels).items()))
        return answers, None if first.target is None else labels.index(_label(first))

    def chosen(self, trial: Trial) -> Self:
        """The best of what `select` names, by validation rows, and what texts without content are answered."""
        candidates = self._candidates(trial) if self.select else [self]
        best, tried = candidates[0], list[Tried]()
        if len(candidates) > 1:
            for one in candidates:
                one.take_off(trial)
                said = one.template[0], one.words(trial.labels)
                tried.append(Tried(template=said[0], verbalizer=said[1], score=trial.score(one)))
            order = sorted(range(len(tried)), key=lambda place: (-tried[place].score, place))
            best, tried = candidates[order[0]], [tried[place] for place in order]
            lines = "; ".join(f"{one.score:.3f} {_said(one)}" for one in tried)
            notice(f"approach {self.name!r} chose on {len(trial.examples('valid'))} validation rows: {lines}")
        best.take_off(trial)
        return best.model_copy(update={"tried": tuple(tried)})

    def said(self) -> Mapping[str, Any]:
        words = {label: list(of) for label, of in self.verbalizer.items()}
        own = {"template": self.template[0], "verbalizer": words, "calibrate": self.calibrate}
        return own | {"tried": [one.model_dump(mode="json") for one in self.tried]}

    def take_off(self, trial: Trial) -> None:
        """Put what the model says to texts without content into the head's layer (Zhao et al., 2021, section 5).

        Their W = diag(p)^-1, b = 0, of the mean answer p: logits lose log p.
        """
        if not len(trial.labels):
            return
        with torch.no_grad():
            prior = trial.layer.get_buffer("prior")
            prior.zero_()
            if self.calibrate == "content_free":
                mean = trial.logits(self, self._empty()).softmax(dim=1).mean(dim=0)
                prior.copy_(mean.log())

    def _empty(self) -> list[Example]:
        paired = "pair" in self.templates()[0].places
        return [
            Example(Row("content-free text", number, {}), (Sequence(text, text if paired else None),))
            for number, text in enumerate(EMPTY, start=1)
        ]

    def _candidates(self, trial: Trial) -> list[Self]:
        """Every template with the words given, and with words that rows speak for."""
        templates = [self.model_copy(update={"template": (one.written,)}) for one in self.templates()]
        if "verbalizer" not in self.select:
            return templates
        return [
            one.model_copy(update={"verbalizer": words})
            for one in templates
            for words in (one.words(trial.labels), *spoken_for(one, trial))
        ]


def texts_of(example: Example) -> dict[str, str]:
    """A row's texts by place; of options, which are answers, none."""
    first = example.sequences[0]
    found = {"text": str(first.first)}
    if len(example.sequences) == 1 and first.second is not None:
        found["pair"] = str(first.second)
    return found


@cache
def _parsed(templates: tuple[str, ...], kind: Kind) -> tuple[Template, ...]:
    return tuple(parse(one, kind) for one in templates)


@cache
def _of_labels(words: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[tuple[str, ...], ...]:
    """One object for all rows."""
    return tuple(of for _, of in words)


def _check_places(template: Template, texts: Texts, row: Row) -> None:
    """Raises DataError where a template and a row have not the same texts."""
    if missing := template.places - set(texts):
        raise DataError(
            f"{row.where} has no second text, and the template has a place {{{missing.pop()}}}; name its column in "
            "data.columns, or use another template"
        )
    if set(texts) - template.places:
        raise DataError(
            f"{row.where} has a second text, and the template {template.written!r} no place {{pair}} for it; add one, "
            "or use another template"
        )


def _label(sequence: Sequence) -> str:
    assert isinstance(sequence.target, OfSequence)
    return sequence.target.value


def _is_word(label: str) -> bool:
    return any(character.isalpha() for character in label)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _said(tried: Tried) -> str:
    words = ", ".join(f"{label}: {'/'.join(of)}" for label, of in list(tried.verbalizer.items())[:6])
    return f"{tried.template!r} ({words})"
