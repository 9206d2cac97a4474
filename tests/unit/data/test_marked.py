from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Example, Labels, OfMarked, Row, Sequence
from adaptune.data.encode import encode

LABELS = Labels(("no", "yes"))


def _encoded(folder: Path, text: str, marks: tuple[tuple[int, int], ...], max_length: int = 128, **settings: str):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sequence = Sequence(text, target=OfMarked("yes"), marks=marks, **{"overflow": "around", **settings})
    example = Example(Row("rows.json", 7, {}), (sequence,), "yes")
    [found] = encode([example], tokenizer, LABELS, max_length=max_length, segments=False)
    return found, tokenizer.convert_ids_to_tokens(found.ids.tolist())


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_llama", "tiny_gpt2"])
def test_the_marks_are_found_in_tokens(model: str, request: pytest.FixtureRequest) -> None:
    text = "the  @ red box @  is # late #"
    found, tokens = _encoded(request.getfixturevalue(model), text, ((21, 29), (5, 16)))
    assert [tokens[place].lstrip("Ġ▁") for place in found.tokens] == ["#", "#", "@", "@"]
    assert found.tokens[2] < found.tokens[3] < found.tokens[0] < found.tokens[1]
    assert found.items.tolist() == [0, 1, 2, 3]
    assert found.labels is not None
    assert found.labels.tolist() == [1]


@pytest.mark.parametrize("at", [0, 10, 55])
def test_a_long_text_keeps_its_entities_and_what_is_around_them(tiny_bert: Path, at: int) -> None:
    words = ["box"] * 60
    before, after = " ".join(words[:at]), " ".join(words[at:])
    text = f"{before} @ red @ game # late # {after}".strip()
    start = text.index("@")
    found, tokens = _encoded(tiny_bert, text, ((start, start + 7), (start + 13, start + 21)), max_length=16)
    assert len(tokens) == 16
    assert "@ red @ game # late #" in " ".join(tokens)
    assert [tokens[place] for place in found.tokens] == ["@", "@", "#", "#"]


def test_entities_far_apart_are_both_kept(tiny_bert: Path) -> None:
    text = f"@ red @ {'box ' * 40}# late #"
    _, tokens = _encoded(tiny_bert, text, ((0, 7), (len(text) - 8, len(text))), max_length=12)
    assert tokens == ["[CLS]", "@", "red", "@", "box", "box", "box", "box", "#", "late", "#", "[SEP]"][:12]


def test_a_long_text_is_refused_by_row_where_it_says_so(tiny_bert: Path) -> None:
    text = f"@ red @ {'box ' * 40}# late #"
    with pytest.raises(DataError, match=r"rows\.json, row 7: the text has 46 tokens and the model reads 10"):
        _encoded(tiny_bert, text, ((0, 7), (len(text) - 8, len(text))), max_length=12, overflow="refuse")


def test_entities_longer_than_the_model_are_refused_by_row(tiny_bert: Path) -> None:
    text = f"@ {'box ' * 20}@ # late #"
    with pytest.raises(DataError, match=r"rows\.json, row 7: the marked spans alone have more than the 10 tokens"):
        _encoded(tiny_bert, text, ((0, 83), (84, 92)), max_length=12)


def test_markers_that_the_vocabulary_lacks_are_refused(tiny_bert: Path) -> None:
    with pytest.raises(Unsupported, match=r"the vocabulary lacks the markers around '☃ red ☃'; set task\.markers"):
        _encoded(tiny_bert, "☃ red ☃ # late #", ((0, 7), (8, 16)))
