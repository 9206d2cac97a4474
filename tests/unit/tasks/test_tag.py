"""Tagging: words and spans of a row, label order, entity scores against seqeval, baseline, described entities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seqeval.metrics import classification_report

from adaptune.core.errors import DataError
from adaptune.core.types import Answer, Example, Labels, OfWords, Row, Sequence
from adaptune.tasks.tag import Tag

TASK = Tag()


def example(**values: Any) -> Example:
    return TASK.example(Row("train.jsonl", 4, values))


def test_words_and_tags_become_one_windowed_sequence() -> None:
    row = Row("a.conll", 1, {"tokens": ["John", "Smith", "left"], "tags": ["B-PER", "I-PER", "O"]})
    tags = ("B-PER", "I-PER", "O")
    words = ("John", "Smith", "left")
    assert TASK.example(row) == Example(row, (Sequence(words, target=OfWords(tags), overflow="window"),), tags)


def test_text_and_tags_are_split_on_spaces() -> None:
    found = example(tokens="John Smith left.", tags="B-PER I-PER O")
    assert found.sequences[0].first == ("John", "Smith", "left.")
    assert found.expected == ("B-PER", "I-PER", "O")


def test_a_row_without_tags_or_spans_is_unlabelled() -> None:
    found = example(text="John left.")
    assert found.sequences == (Sequence(("John", "left", "."), overflow="window"),)
    assert found.expected is None


def test_spans_in_characters_become_tags_of_words() -> None:
    found = example(
        text="Meet Ann Lee at 7pm, OK?",
        spans=[{"start": 5, "end": 12, "label": "name"}, [16, 19, "time"]],
    )
    assert found.sequences[0].first == ("Meet", "Ann", "Lee", "at", "7pm", ",", "OK", "?")
    assert found.expected == ("O", "B-name", "I-name", "O", "B-time", "O", "O", "O")


def test_spans_of_chinese_text_are_single_characters() -> None:
    assert example(text="高勇在北京。", spans=[[3, 5, "地点"]]).expected == ("O", "O", "O", "B-地点", "I-地点", "O")


def test_no_spans_means_that_there_are_none() -> None:
    assert example(text="Nothing here", spans=[]).expected == ("O", "O")


def test_spaces_at_the_edge_of_a_span_do_not_matter() -> None:
    assert example(text="Ann Lee left", spans=[[0, 8, "name"]]).expected == ("B-name", "I-name", "O")


def test_spans_may_stand_on_given_words_of_a_text() -> None:
    for tokens in (["By", "Ann", "'s"], "By Ann 's"):
        assert example(text="By Ann's", tokens=tokens, spans=[[3, 6, "name"]]).expected == ("O", "B-name", "O")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tags": ["O"]}, "row 4 has neither tokens nor text"),
        ({"tokens": [], "tags": []}, r"column 'tokens': \[\] holds no word"),
        ({"tokens": ["", " "], "tags": ["O", "O"]}, "column 'tokens': .* holds no word"),
        ({"text": "  ", "spans": []}, "column 'text': '  ' holds no word"),
        ({"text": 13, "spans": []}, "column 'text': 13 is no text"),
        ({"tokens": 13, "tags": ["O"]}, "column 'tokens': 13 is neither a list nor text"),
        ({"tokens": ["in", 1966], "tags": ["O", "O"]}, "column 'tokens', item 2: 1966 is no text"),
        ({"tokens": ["in", "on"], "tags": [0, 1]}, "column 'tags', item 1: 0 is no text"),
        ({"tokens": ["a", "b"], "tags": ["O"]}, "column 'tags': 1 tags for 2 words"),
        ({"text": "a-b c", "tags": ["O", "O"]}, "2 tags for 4 words; map the column as tokens if spaces separate"),
        ({"tokens": ["a"], "tags": ["I-PER"]}, "column 'tags', word 1, tag 'I-PER': it continues no span"),
        ({"tokens": ["a"], "tags": None}, "row 4 has no tags; expected one"),
        ({"tokens": ["a"], "tags": None, "spans": None}, "row 4 has no tags and no spans"),
        ({"text": "a", "tags": ["O"], "spans": []}, "row 4 has both tags and spans"),
        ({"tokens": ["a"], "spans": []}, "column 'spans': spans count characters of a text"),
        ({"text": "a b", "spans": "0 1 x"}, "column 'spans': '0 1 x' is no list"),
        ({"text": "a b", "spans": [{"start": 0, "label": "x"}]}, "expected {start, end, label}"),
        ({"text": "a b", "spans": [[0, 1.0, "x"]]}, "expected {start, end, label}"),
        ({"text": "a b", "spans": [[0, 9, "x"]]}, "the text has characters 0 to 3"),
        ({"text": "a b", "spans": [[1, 1, "x"]]}, "expected a span within it"),
        ({"text": "a b", "spans": [[1, 2, "x"]]}, "there is no word between these characters"),
        ({"text": "Ann Lee", "spans": [[0, 2, "x"]]}, r"it cuts into the word 'Ann' \(0 to 3\)"),
        ({"text": "Ann Lee", "spans": [[1, 7, "x"]]}, r"it cuts into the word 'Ann' \(0 to 3\)"),
        ({"text": "a b", "spans": [[0, 3, "x"], [2, 3, "y"]]}, r"\[2, 3, 'y'\] overlaps \[0, 3, 'x'\]; a word"),
        (
            {"text": "a b", "tokens": ["a", "c"], "spans": []},
            "column 'text': the word 'c' does not stand at",
        ),
    ],
)
def test_malformed_rows_are_refused_with_the_reason(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        example(**values)
    assert str(refusal.value).startswith("train.jsonl, row 4")


def test_labels_are_outside_then_types_in_order_each_with_both_letters() -> None:
    examples = [example(tokens="a b c", tags="B-x I-x O"), example(tokens="a b", tags="O B-creative-work")]
    labels = TASK.labels(examples)
    assert labels == Labels(("O", "B-creative-work", "I-creative-work", "B-x", "I-x"))
    assert labels.counts == (2, 1, 0, 1, 1)


def test_training_rows_without_any_span_are_refused() -> None:
    with pytest.raises(DataError, match="the 1 training rows hold no span"):
        TASK.labels([example(tokens="a b", tags="O O")])


def test_an_unlabelled_training_row_is_refused_by_number() -> None:
    with pytest.raises(DataError, match="row 4 has no tags and no spans"):
        TASK.labels([example(tokens="a b")])


def some_tags(generator: np.random.Generator, rows: int) -> list[tuple[str, ...]]:
    """Legal BIO with neighbours of one type and of different types."""
    found = []
    for _ in range(rows):
        tags: list[str] = []
        for _ in range(int(generator.integers(1, 12))):
            kind = ("person", "creative-work", "corporation")[generator.integers(3)]
            before = tags[-1][2:] if tags else ""
            choices = ["O", f"B-{kind}", *([f"I-{before}"] * 2 if before else [])]
            tags.append(choices[generator.integers(len(choices))])
        found.append(tuple(tags))
    return found


def test_scores_equal_the_report_of_seqeval() -> None:
    generator = np.random.default_rng(0)
    expected, others = some_tags(generator, 200), some_tags(generator, 200)
    joined = [other[: len(tags)] + tags[len(other) :] for tags, other in zip(expected, others, strict=True)]
    predicted = [given if is_legal(given) else tags for tags, given in zip(expected, joined, strict=True)]
    report = classification_report([*map(list, expected)], [*map(list, predicted)], output_dict=True)
    scores = TASK.score(predicted, expected)
    assert 0.1 < scores.values["f1"] < 0.95
    assert tuple(scores.values) == TASK.metrics
    micro, macro = report.pop("micro avg"), report.pop("macro avg")
    assert [scores.values[name] for name in ("f1", "precision", "recall")] == pytest.approx(
        [micro["f1-score"], micro["precision"], micro["recall"]]
    )
    assert scores.values["macro_f1"] == pytest.approx(macro["f1-score"])
    report.pop("weighted avg")
    assert list(scores.per_class) == list(report)
    for kind, row in report.items():
        assert list(scores.per_class[kind].values()) == pytest.approx(list(row.values()))


def is_legal(tags: tuple[str, ...]) -> bool:
    return all(
        not tag.startswith("I-") or before in (tag, f"B-{tag[2:]}")
        for before, tag in zip(("O", *tags), tags, strict=False)
    )


def test_a_span_with_one_wrong_word_is_wrong() -> None:
    scores = TASK.score([("B-x", "O", "O", "B-y")], [("B-x", "I-x", "O", "B-y")])
    assert scores.values == {"f1": 0.5, "precision": 0.5, "recall": 0.5, "macro_f1": 0.5, "token_accuracy": 0.75}


def test_rows_without_any_span_score_zero_as_in_seqeval() -> None:
    scores = TASK.score([("O", "O")], [("O", "O")])
    assert scores.values == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "macro_f1": 0.0, "token_accuracy": 1.0}
    assert scores.per_class == {}


def test_words_at_the_end_without_a_tag_are_outside() -> None:
    assert TASK.score([("B-x",)], [("B-x", "O")]).values["token_accuracy"] == 1.0
    assert TASK.counts([()], [("B-x", "I-x")]).tolist() == [[0, 0, 1]]


def test_more_tags_than_words_are_an_error() -> None:
    with pytest.raises(ValueError, match="row 0 has 1 words and 2 predicted tags"):
        TASK.counts([("O", "O")], [("O",)])


def test_rows_are_spread_by_their_rarest_type() -> None:
    rows = ["B-a O", "B-a B-b", "B-a O", "O O"]
    assert TASK.strata([example(tokens="x y", tags=tags) for tags in rows]) == ["a", "b", "a", "O"]


def test_entities_are_described_with_words_places_and_probability() -> None:
    row = example(text="Meet Ann Lee!")
    answer = Answer(("O", "B-name", "I-name"), 0.9, (1.0, 0.5, 0.75))
    assert TASK.describe(row, answer) == {
        "entities": [
            {
                "type": "name",
                "words": ["Ann", "Lee"],
                "start_word": 1,
                "end_word": 3,
                "text": "Ann Lee",
                "start": 5,
                "end": 12,
                "probability": 0.625,
            }
        ]
    }


def test_entities_of_words_without_a_text_have_no_characters() -> None:
    described = TASK.describe(example(tokens=["Ann", "left"]), Answer(("B-name", "O"), 1.0, (1.0, 1.0)))
    entity = {"type": "name", "words": ["Ann"], "start_word": 0, "end_word": 1, "probability": 1.0}
    assert described == {"entities": [entity]}


def test_entities_of_words_that_their_text_writes_otherwise_have_no_characters() -> None:
    described = TASK.describe(example(tokens=["``", "Ann"], text='"Ann'), Answer(("O", "B-name"), 1.0))
    assert "start" not in described["entities"][0]


def test_entities_of_text_split_on_spaces_have_characters() -> None:
    described = TASK.describe(example(tokens="Ann  Lee left"), Answer(("B-name", "I-name", "O"), 1.0))
    assert described["entities"][0]["text"] == "Ann  Lee"


def test_the_baseline_gives_each_word_its_most_frequent_tag_in_legal_bio() -> None:
    train = [
        example(tokens="New York", tags="B-place I-place"),
        example(tokens="York won", tags="B-team O"),
        example(tokens="in New York", tags="O B-place I-place"),
    ]
    answers = TASK.baselines(train, [example(tokens="York beats New York"), example(tokens="New")])
    assert answers == {"most_frequent_tag": [("B-place", "O", "B-place", "I-place"), ("B-place",)]}


def test_the_baseline_takes_seconds_on_wnut17(data: Callable[[str], Path]) -> None:
    splits = []
    for name in ("wnut17train.conll", "emerging.test.annotated"):
        rows: list[list[list[str]]] = [[]]
        for line in (data("wnut17") / name).read_text(encoding="utf-8").split("\n"):
            if line.strip():
                rows[-1].append(line.split("\t"))
            elif rows[-1]:
                rows.append([])
        splits.append([example(tokens=[word for word, _ in row], tags=[tag for _, tag in row]) for row in rows if row])
    train, test = splits
    scores = TASK.score(TASK.baselines(train, test)["most_frequent_tag"], [row.expected for row in test])
    assert 0.02 < scores.values["f1"] < 0.2
