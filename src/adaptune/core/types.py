"""The values that pass between rooms.

Shape letters: B sequences of a batch, T tokens, D hidden size, C classes, N labelled items of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Words = tuple[str, ...]

SOURCE = "{source}"
"""Where a template has the text that it stands around."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of data as it was read, its values under the names that its task uses (after column mapping)."""

    source: str
    """The file it came from."""
    number: int
    """The line where the row starts, counted from 1 (records of formats without lines: the record's number)."""
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        """`train.csv, row 12`, for messages."""
        return f"{self.source}, row {self.number}"


@dataclass(frozen=True, slots=True)
class Labels:
    """An ordered label inventory; the order is that of the output layer's rows."""

    names: tuple[str, ...]
    counts: tuple[int, ...] = field(default=(), compare=False)
    """How many training items carry each; empty where that is not known."""
    moments: tuple[float, float] | None = field(default=None, compare=False)
    """Where targets are numbers: their mean and standard deviation over the training rows."""
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {name: index for index, name in enumerate(self.names)})

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def index(self, name: str) -> int:
        """The output row of a label. Raises KeyError."""
        return self._index[name]

    def extended(self, other: Labels) -> Labels:
        """These labels in their order, then those of the other that are new: how a label set grows."""
        return Labels(self.names + tuple(name for name in other.names if name not in self))


@dataclass(frozen=True, slots=True)
class OfSequence:
    """A target for the whole sequence: one label."""

    value: str


@dataclass(frozen=True, slots=True)
class OfShares:
    """A target for the whole sequence: how probable each label is, as another model says. No file has such targets."""

    values: tuple[tuple[str, float], ...]
    """Labels with their probabilities, which sum to 1; a label that is not named has none."""


@dataclass(frozen=True, slots=True)
class OfLabels:
    """A target for the whole sequence: any number of labels, perhaps none."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OfNumber:
    """A target for the whole sequence: a number."""

    value: float


@dataclass(frozen=True, slots=True)
class OfWords:
    """A target for every word of the sequence's first part, None for a word without one."""

    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class OfRow:
    """A target for all sequences of a row together, a label or a number; each of them carries it."""

    value: str | float


@dataclass(frozen=True, slots=True)
class OfText:
    """A target that is itself a text, to be written after reading the sequence."""

    value: str


@dataclass(frozen=True, slots=True)
class OfItself:
    """No target beside the text: its own tokens are predicted."""


@dataclass(frozen=True, slots=True)
class OfMarked:
    """A target for the marked spans of a sequence together: one label."""

    value: str


RANKED = 100
"""Texts of a corpus that an answer names, the best of them."""

NO_ANSWER = "no answer"
"""The label of questions that their context does not answer; an inventory without it says that there are none."""


@dataclass(frozen=True, slots=True)
class OfSpan:
    """A target that is a part of the sequence's second text."""

    span: tuple[int, int] | None
    """Its first character and the one after its last; None where the text holds no answer."""


@dataclass(frozen=True, slots=True)
class OfOption:
    """A target for one of several sequences of a row, of which one is right."""

    right: bool

    @property
    def grade(self) -> float:
        """1 or 0."""
        return float(self.right)


@dataclass(frozen=True, slots=True)
class OfHypothesis:
    """A target for one of several sequences of a row, each its text with what a label says of it: whether it holds."""

    holds: bool

    @property
    def grade(self) -> float:
        """1 or 0."""
        return float(self.holds)


@dataclass(frozen=True, slots=True)
class OfCandidate:
    """A target for one of several sequences of a row, each a query with a text: how right the text is."""

    grade: float
    """0: not at all."""


@dataclass(frozen=True, slots=True)
class OfDocument:
    """A target for a text that is read by itself: how right it is for the row's first text, which carries 0."""

    grade: float


@dataclass(frozen=True, slots=True)
class OfPrompt:
    """A target for a prompt: which of its answers is the right one, by place."""

    right: int


Target = (
    OfSequence
    | OfShares
    | OfLabels
    | OfNumber
    | OfRow
    | OfMarked
    | OfWords
    | OfText
    | OfItself
    | OfSpan
    | OfOption
    | OfHypothesis
    | OfCandidate
    | OfDocument
    | OfPrompt
)


Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side of a conversation says."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said before a reply, and how it is read."""

    turns: tuple[Turn, ...]
    """The last but for the reply; earlier replies among them."""
    learn: Literal["all", "last"] = "all"
    """Whether earlier replies are learned, too."""
    template: str | None = None
    """A chat template or its name; None: the tokenizer's own."""
    long: Literal["cut", "refuse", "skip"] = "cut"
    """What happens where the reply has no room: the oldest turns go, it is refused, or left out if it has a target."""


@dataclass(frozen=True, slots=True)
class Given:
    """A row's text within a prompt: where the whole is too long, it loses its end."""

    text: str


@dataclass(frozen=True, slots=True)
class Soft:
    """So many tokens of the head's own within a prompt."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Blank:
    """Where a prompt's answer stands."""

    masks: int | None = None
    """As so many hidden tokens, which each answer has; None: the answer itself follows, and ends the prompt."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text that is completed by one of several answers, whose probabilities are read."""

    parts: tuple[str | Given | Soft | Blank, ...]
    """With one blank among them."""
    answers: tuple[tuple[str, ...], ...]
    """The words of each answer, as they are written."""
    shots: tuple[str, ...] = ()
    """Texts in front; where the whole is too long, the first of them go before any text is cut."""
    before: str = ""
    """A text in front of them, which stays."""
    per: Literal["answer", "token", "byte"] = "answer"
    """What a word's log-probability is a mean over: nothing, its tokens or its bytes."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """What becomes one token sequence (or several windows of it): a text or words, perhaps with a second part."""

    first: str | Words
    second: str | Words | None = None
    target: Target | None = None
    """None where the row is unlabelled."""
    overflow: Literal["cut", "window", "around", "refuse"] = "cut"
    """What happens to a first part longer than the model: cut at the end, read in overlapping windows, reduced to its
    marked spans and what is around them, or refused. Of two texts it is the second that is read in windows, each beside
    the whole first."""
    marks: tuple[tuple[int, int], ...] = ()
    """Spans of the first part, a text, in characters: a head reads their first and last tokens."""
    template: str | None = None
    """For targets of text: what is read, SOURCE where the first part stands; None: as the model's kind calls for."""
    conversation: Conversation | None = None
    """For targets of text: the turns that are read by a chat template; the first part then only names them."""
    prompt: Prompt | None = None
    """What is read in place of the parts, which then only name it."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row as its task understands it."""

    row: Row
    sequences: tuple[Sequence, ...]
    expected: Any = None
    """The right answer's value, as `Task.score` compares it; None where the row is unlabelled."""
    group: str | None = field(default=None, compare=False)
    """Rows of one group stay together where parts are cut from the data; None: rows of equal texts do."""
    corpus: tuple[Sequence, ...] = field(default=(), compare=False, repr=False)
    """Where its answer is found among texts that it shares with other rows: these, one object for all rows. Of its own
    sequences only the first is then read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a head says of one row."""

    value: Any
    """A label (classify), several (multilabel), a number (regress), one tag a word (tag), a text (write, translate), a
    part of a text or nothing (answer), a place counted from 0 (choose), texts with their scores, best first (rank)."""
    probability: float | None
    """Of the value: in [0, 1]; for the tags of words the mean over them, for several labels that of exactly these, for
    ranked texts that of the first. None where the answer is a number, which has none."""
    probabilities: tuple[float, ...] = ()
    """classify, multilabel: of every label, in the order of the labels. tag: of every word's tag. choose: of every
    option."""
    of_each: tuple[float, ...] = ()
    """Where the value is several labels: of each of them."""
    span: tuple[int, int] | None = None
    """Where the value is a part of a text: its first character and the one after its last."""
    abstained: bool | None = None
    """Whether it is too improbable to be given; None where the model was trained to give every answer."""
    scope: float | None = None
    """How much the text is unlike those that were learned, larger is more; None where that is not known."""
    out_of_scope: bool | None = None
    """Whether that is too much: the text belongs to none of the labels."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a task's scorer measured."""

    values: Mapping[str, float]
    """Every metric by name, `accuracy: 0.93`."""
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """precision, recall, f1, support of each class or entity type."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Counts, expected class a row, predicted class a column, in the order of `classes`."""
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Writing:
    """How a text to be written, and the prompt before it, become tokens."""

    start: int | None
    """What a decoder beside an encoder reads first; None for models of one stack, which go on from their prompt."""
    most: int
    """Tokens that a text may have, its end included: a prompt leaves room for them."""
    cut: Literal["left", "right"]
    """Which end a source loses that is too long."""
    long_target: Literal["refuse", "cut", "skip"]
    """What happens to rows whose target has more tokens than `most`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the tokens of a text are predicted from each other."""

    mask: int | None
    """The id of the token that hides another; None: every token is predicted from those before it."""
    share: float = 0.15
    """Of a text's tokens, how many are predicted at a time."""
    whole_words: bool = False
    """Whether all tokens of a word are chosen together."""
    scored: int = 64
    """Most tokens of a text that are hidden one by one to score it, spread evenly."""
    vocabulary: int = 0
    """V"""
    special: tuple[int, ...] = ()
    """Ids that never stand in for others."""


Array = Any
"""A numpy array; its shape stands in the docstring of what returns it."""
