"""What a file seems to be for."""

from __future__ import annotations

import pytest

from adaptune.core.errors import DataError
from adaptune.data.guess import guess

MOODS = "\n".join(
    f"{number},a rather long sentence number {number},{'glad' if number % 2 else 'sad'}" for number in range(40)
)


@pytest.mark.parametrize(
    ("name", "content", "task", "columns", "header"),
    [
        ("a.csv", "text,label\ngood,1\nbad,0\n", "classify", {"text": "text", "label": "label"}, True),
        ("a.csv", "review,category\ngood,1\nbad,0\n", "classify", {"text": "review", "label": "category"}, True),
        (
            "a.csv",
            "sentence1,sentence2,label\ngood,fine,1\nbad,fine,0\n",
            "classify",
            {"text": "sentence1", "pair": "sentence2", "label": "label"},
            True,
        ),
        ("a.csv", f"id,body,mood\n{MOODS}\n", "classify", {"text": "body", "label": "mood"}, True),
        ("a.csv", f"0,a first sentence,glad\n{MOODS}\n", "classify", {"text": "2", "label": "3"}, False),
        ("a.jsonl", '{"text": "good", "label": true}\n', "classify", {"text": "text", "label": "label"}, True),
        ("a.txt", "Ann\tB-PER\nran\tO\n\n", "tag", {"tokens": "tokens", "tags": "tags"}, True),
        ("a.jsonl", '{"tokens": ["Ann"], "ner_tags": ["O"]}\n', "tag", {"tokens": "tokens", "tags": "ner_tags"}, True),
        ("a.csv", "tokens,tags\nAnn ran,B-PER O\n", "tag", {"tokens": "tokens", "tags": "tags"}, True),
        (
            "a.jsonl",
            '{"text": "Ann ran", "entities": [{"start": 0, "end": 3, "label": "PER"}]}\n',
            "tag",
            {"text": "text", "spans": "entities"},
            True,
        ),
    ],
)
def test_task_and_columns_are_guessed_with_reasons(tmp_path, name, content, task, columns, header):
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = guess(tmp_path / name)
    assert (found.task, found.columns, found.header) == (task, columns, header)
    assert found.reasons


def test_the_reasons_name_what_was_found(tmp_path):
    (tmp_path / "a.csv").write_text(f"id,body,mood\n{MOODS}\n", encoding="utf-8")
    found = guess(tmp_path / "a.csv")
    assert found.format == "csv"
    assert found.reasons == (
        "'body' holds the longest texts, 32 characters on average",
        "'mood' has 2 different values, such as 'sad', 'glad'",
    )


def test_other_columns_that_could_be_the_label_are_named(tmp_path):
    rows = "\n".join(f"a rather long sentence number {n},{n % 4},{n % 2}" for n in range(40))
    (tmp_path / "a.csv").write_text(f"body,stars,emotion\n{rows}\n", encoding="utf-8")
    found = guess(tmp_path / "a.csv")
    assert found.columns == {"text": "body", "label": "emotion"}
    assert found.reasons[-1] == "'stars' could be the label as well"


PLAIN = "id,body\n" + "\n".join(f"{n},sentence number {n}" for n in range(40))
MEASURED = "body,score\n" + "\n".join(f"sentence number {n},{n * 0.37:.2f}" for n in range(40))
BROKEN = "id,body\n" + "\n".join(f"{n},sentence,more" for n in range(3))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (PLAIN, "no column beside 'body' looks like labels"),
        (MEASURED, "no column beside 'body' looks like labels"),
        (BROKEN, "has no rows that could be read; adaptune doctor"),
    ],
)
def test_a_file_that_fits_no_task_is_refused(tmp_path, rows, message):
    (tmp_path / "a.csv").write_text(rows + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        guess(tmp_path / "a.csv")
