"""How two marked entities of a text are related. Knows no output layer and no sub-words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Several
from typing import Any, Literal

import numpy as np

from adaptune.core.errors import DataError, nearest
from adaptune.core.task import Column, Task
from adaptune.core.types import Answer, Array, Example, Labels, OfMarked, Row, Scores, Sequence
from adaptune.tasks._entities import Entities, entities_of, marked
from adaptune.tasks._plain import majority, tfidf_regression
from adaptune.tasks._rows import all_labelled, in_order, joined, label_of, ratio, some_to_score

_DIRECTED = re.compile(r"(.+)\((e1,e2|e2,e1)\)")


class Relate(Task):
    """Relations: each row has a text, two entities in it, and which relation holds between them, perhaps none."""

    other: str = "Other"
    """The label of pairs that no relation holds between; it has no part in the scores by class, as in SemEval-2010."""
    relations: tuple[str, ...] = ()
    """Every label there is; a row with another is refused. None: those of the training rows."""
    markers: tuple[str, str] = ("@", "#")
    """What stands around the first and the second entity; signs that the model's vocabulary already has."""
    overflow: Literal["around", "refuse"] = "around"
    """A text longer than the model: what is farthest from both entities is left out, or the row is refused."""

    metric = "macro_f1"
    metrics = ("macro_f1", "macro_precision", "macro_recall", "micro_f1", "accuracy")
    columns = (
        Column(
            "text", "the text; entities may stand in it as <e1>..</e1> and <e2>..</e2>", ("sentence",), required=False
        ),
        Column("tokens", "in place of a text: its words", ("words", "token"), required=False),
        Column(
            "head",
            "the first entity: [start, end] in characters of the text, or FewRel's [name, id, [[indices]]] of tokens",
            ("h", "e1", "subject", "subj"),
            required=False,
        ),
        Column("tail", "the second entity, likewise", ("t", "e2", "object", "obj"), required=False),
        Column("relation", "how the first is related to the second", ("label", "predicate"), label=True),
    )
    default_head = "relate"
    target = OfMarked

    @property
    def signs(self) -> tuple[str, ...]:
        return self.markers

    def example(self, row: Row) -> Example:
        found = entities_of(row)
        text, marks = marked(found, self.markers)
        if "relation" not in row.values:
            return Example(row, (Sequence(text, overflow=self.overflow, marks=marks),), group=found.text)
        label = label_of(row, "relation", row.values["relation"])
        if self.relations and label not in (*self.relations, self.other):
            raise DataError(
                f"{row.where}, column 'relation': there is no relation {label!r}{nearest(label, self.relations)} "
                f"(task.relations: {', '.join(self.relations)})"
            )
        sequence = Sequence(text, target=OfMarked(label), overflow=self.overflow, marks=marks)
        # All pairs of a text stay together where parts are cut from the data.
        return Example(row, (sequence,), label, group=found.text)

    def labels(self, examples: Several[Example]) -> Labels:
        all_labelled(examples)
        counts = Counter(example.expected for example in examples)
        names = in_order(counts)
        if len(names) < 2:
            found = f"only the relation {names[0]!r}" if names else "no rows"
            raise DataError(f"the training data have {found}; rows of at least two are needed")
        return Labels(names, tuple(counts[name] for name in names))

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        """The official scores of SemEval-2010 task 8 (Hendrickx et al., 2010): (9+1)-way with direction.

        A relation is right where its direction is, too; it counts as predicted and as expected in either direction.
        The mean is over the relations that expected rows hold, without `other`.
        """
        some_to_score(expected)
        relations = self._relations(expected)
        totals = self.counts(predicted, expected).sum(axis=0).reshape(-1, 3)
        right, guessed, support = totals.T
        precision, recall, f1 = ratio(right, guessed), ratio(right, support), ratio(2 * right, guessed + support)
        columns = zip(precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
        names = ("precision", "recall", "f1", "support")
        classes = in_order({*predicted, *expected})
        index = {name: place for place, name in enumerate(classes)}
        confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
        np.add.at(confusion, ([index[name] for name in expected], [index[name] for name in predicted]), 1)
        # Predictions of a relation that no expected row holds are mistakes of the micro average, too.
        claimed = sum(given != self.other for given in predicted)
        return Scores(
            values={
                "macro_f1": float(f1.mean()) if relations else 0.0,
                "macro_precision": float(precision.mean()) if relations else 0.0,
                "macro_recall": float(recall.mean()) if relations else 0.0,
                "micro_f1": float(ratio(2 * right.sum(), claimed + support.sum())),
                "accuracy": float(np.trace(confusion) / len(expected)),
            },
            per_class={name: dict(zip(names, row, strict=True)) for name, row in zip(relations, columns, strict=True)},
            confusion=tuple(tuple(row) for row in confusion.tolist()),
            classes=classes,
        )

    def counts(self, predicted: Several[Any], expected: Several[Any]) -> Array:
        """(R, 3 * relations) of each relation of the expected rows: right, predicted, expected"""
        place = {name: position for position, name in enumerate(self._relations(expected))}
        counts = np.zeros((len(expected), len(place), 3), dtype=np.int64)
        for row, (given, wanted) in enumerate(zip(predicted, expected, strict=True)):
            if (named := place.get(_undirected(given))) is not None:
                counts[row, named, 1] = 1
                counts[row, named, 0] = given == wanted
            if wanted != self.other:
                counts[row, place[_undirected(wanted)], 2] = 1
        return counts.reshape(len(expected), -1)

    def metric_of(self, totals: Array) -> Array:
        """The mean F1 over relations that the rows expect or were given."""
        right, guessed, support = np.moveaxis(np.asarray(totals).reshape(*totals.shape[:-1], -1, 3), -1, 0)
        f1 = ratio(2 * right, guessed + support)
        return ratio(f1.sum(axis=-1), (guessed + support > 0).sum(axis=-1))

    def strata(self, examples: Several[Example]) -> list[str]:
        return [example.expected for example in examples]

    def describe(self, example: Example, answer: Answer) -> dict[str, Any]:
        found = entities_of(example.row)
        names = {"head": found.text[slice(*found.head)], "tail": found.text[slice(*found.tail)]}
        return {"relation": answer.value, **names, "probability": answer.probability}

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        answers = [example.expected for example in train]
        return {
            "majority": majority(answers, len(test)),
            "tfidf_logistic_regression": tfidf_regression(joined(train), answers, joined(test)),
            "tfidf_between_entities": tfidf_regression(_between(train), answers, _between(test)),
        }

    def sample(self, values: Mapping[str, str]) -> dict[str, Any]:
        """A text whose first and last piece are its entities."""
        text = next(iter(values.values()))
        half = max(1, len(text) // 2)
        found = Entities(text, (0, half), (half, len(text)))
        return {"text": found.text, "head": list(found.head), "tail": list(found.tail)}

    def _relations(self, expected: Several[str]) -> tuple[str, ...]:
        """The relations of rows, without direction and without `other`."""
        return in_order({_undirected(label) for label in expected if label != self.other})


def _undirected(label: str) -> str:
    found = _DIRECTED.fullmatch(label)
    return found[1] if found else label


def _between(examples: Several[Example]) -> list[str]:
    """The text from the first entity to the second, where most relations are said."""
    spans = [(str(sequence.first), sequence.marks) for sequence in (example.sequences[0] for example in examples)]
    return [text[min(start for start, _ in marks) : max(end for _, end in marks)] for text, marks in spans]
