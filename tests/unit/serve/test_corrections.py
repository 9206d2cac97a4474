"""An input and its right answer as a training row, by every kind of task."""

from __future__ import annotations

from typing import Any

import pytest

from adaptune.approaches.finetune import Finetune
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.serve.corrections import corrected
from adaptune.serve.registered import ServedTask
from adaptune.tasks import TASKS


def task(name: str, labels: tuple[str, ...] = (), columns: dict[str, str] | None = None) -> ServedTask:
    kind = TASKS.make({"name": name})
    head = HEADS.make({"name": kind.default_head})
    return ServedTask(None, 0, kind, head, Finetune(), Labels(labels), columns or {}, 64, {})


CLASSIFY = task("classify", ("bad", "good"), {"text": "review", "label": "stars"})


def test_a_label_stands_in_the_bundles_own_column() -> None:
    found = corrected(CLASSIFY, "the film", "good", row=0, new_label=False)
    assert found.right == {"label": "good"}
    assert found.training == {"review": "the film", "stars": "good"}


def test_an_input_by_columns_is_the_same() -> None:
    for given in ({"review": "the film"}, {"text": "the film"}):
        assert corrected(CLASSIFY, given, "good", row=0, new_label=False).training["review"] == "the film"
    assert corrected(CLASSIFY, "the film", {"stars": "good"}, row=0, new_label=False).right == {"label": "good"}


def test_a_label_that_is_not_known_is_refused_unless_it_is_meant() -> None:
    with pytest.raises(DataError, match=r"no label 'goof'; did you mean 'good'\?.*new_label"):
        corrected(CLASSIFY, "the film", "goof", row=0, new_label=False)
    assert corrected(CLASSIFY, "the film", "goof", row=0, new_label=True).training["stars"] == "goof"


@pytest.mark.parametrize("answer", [None, "", [], ["good", "bad"]])
def test_what_is_no_label_is_refused(answer: Any) -> None:
    with pytest.raises(DataError, match="label"):
        corrected(CLASSIFY, "the film", answer, row=0, new_label=True)


@pytest.mark.parametrize(
    ("name", "labels", "given", "answer", "training"),
    [
        ("multilabel", ("late", "red"), "a text", ["late"], {"text": "a text", "labels": ["late"]}),
        ("multilabel", ("late", "red"), "a text", [], {"text": "a text", "labels": []}),
        (
            "tag",
            ("O", "B-place"),
            ["to", "Rome"],
            ["O", "B-place"],
            {"tokens": ["to", "Rome"], "tags": ["O", "B-place"]},
        ),
        ("regress", ("number",), "a text", 2.5, {"text": "a text", "number": 2.5}),
        ("match", ("no", "yes"), {"text": "a", "pair": "b"}, "yes", {"text": "a", "pair": "b", "label": "yes"}),
        ("write", (), "a text", "another", {"source": "a text", "target": "another"}),
        (
            "choose",
            (),
            {"question": "?", "options": ["a", "b"]},
            1,
            {"question": "?", "options": ["a", "b"], "answer": 1},
        ),
        ("chat", (), "Hello?", "Hi.", None),
        ("answer", (), {"question": "Where?", "context": "In Rome."}, {"text": ["Rome"], "answer_start": [3]}, None),
    ],
)
def test_every_task_reads_its_own_answers(name: str, labels: Any, given: Any, answer: Any, training: Any) -> None:
    one = task(name, labels)
    found = corrected(one, given, answer, row=0, new_label=False)
    assert training is None or found.training == training
    from adaptune.core.types import Row

    assert one.task.example(Row("rows.jsonl", 1, found.training)).expected is not None


def test_a_reply_ends_the_conversation() -> None:
    turns = [{"role": "user", "content": "Hello?"}]
    found = corrected(task("chat"), {"messages": turns}, "Hi.", row=0, new_label=False)
    assert found.training == {"messages": [*turns, {"role": "assistant", "content": "Hi."}]}
    with pytest.raises(DataError, match="expected the text of the right reply"):
        corrected(task("chat"), {"messages": turns}, 5, row=0, new_label=False)


def test_tags_that_do_not_fit_their_words_or_are_new_are_refused() -> None:
    one = task("tag", ("O", "B-place"))
    with pytest.raises(DataError):
        corrected(one, ["to", "Rome"], ["O"], row=0, new_label=False)
    with pytest.raises(DataError, match="no label 'B-town'"):
        corrected(one, ["to", "Rome"], ["O", "B-town"], row=0, new_label=False)


def test_an_answer_may_not_change_the_input() -> None:
    with pytest.raises(DataError, match="'text', which is part of the input"):
        corrected(CLASSIFY, "the film", {"text": "another", "label": "good"}, row=0, new_label=False)


def test_raw_texts_have_no_answers() -> None:
    with pytest.raises(Unsupported, match="no answers"):
        corrected(task("pretrain"), "a text", "another", row=0, new_label=False)
