from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from adaptune.core.batch import Encoded
from adaptune.core.errors import Unsupported
from adaptune.core.types import Example, Labels, OfSequence, OfWords, Row, Sequence
from adaptune.data.encode import encode

TAGS = Labels(("O", "B-place", "I-place"))
KINDS = Labels(("bad", "good"))


@pytest.fixture(scope="session")
def wordpiece(tiny_bert: Path) -> Any:
    """[CLS] … [SEP]; `walking` is `walk ##ing`; variation selectors and zero-width spaces are nothing."""
    return AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture(scope="session")
def byte_level(tiny_gpt2: Path) -> Any:
    """No special tokens; a space belongs to the word after it."""
    return AutoTokenizer.from_pretrained(tiny_gpt2)


def _tagged(words: str | list[str], tags: str | None = None) -> Example:
    split = tuple(words.split() if isinstance(words, str) else words)
    target = None if tags is None else OfWords(tuple(tags.split()))
    return Example(Row("rows.csv", 1, {}), (Sequence(split, target=target, overflow="window"),))


def _text(text: str, label: str | None = None, second: str | None = None) -> Example:
    target = None if label is None else OfSequence(label)
    return Example(Row("rows.csv", 1, {}), (Sequence(text, second, target),))


def _encode(
    examples: list[Example], tokenizer: Any, labels: Labels = TAGS, *, max_length: int = 128, segments: bool = False
) -> list[Encoded]:
    return encode(examples, tokenizer, labels, max_length=max_length, segments=segments)


def _pieces(encoded: Encoded, tokenizer: Any) -> list[str]:
    return list(tokenizer.convert_ids_to_tokens(encoded.ids.tolist()))


def test_a_words_label_stands_on_its_first_piece(wordpiece: Any) -> None:
    [encoded] = _encode([_tagged("he was walking in London", "O O B-place O I-place")], wordpiece)
    assert _pieces(encoded, wordpiece) == ["[CLS]", "he", "was", "walk", "##ing", "in", "london", "[SEP]"]
    assert encoded.tokens.tolist() == [1, 2, 3, 5, 6]
    assert encoded.items.tolist() == [0, 1, 2, 3, 4]
    assert encoded.labels is not None
    assert encoded.labels.tolist() == [0, 0, 1, 0, 2]


def test_an_unlabelled_row_has_its_words_and_no_labels(wordpiece: Any) -> None:
    [encoded] = _encode([_tagged("in London")], wordpiece)
    assert encoded.labels is None
    assert encoded.items.tolist() == [0, 1]


def test_a_word_that_tokenises_to_nothing_has_no_token_and_leaves_the_others_theirs(wordpiece: Any) -> None:
    words = ["\u200b", "in", "\ufe0f", "London", "\u200b"]
    [encoded] = _encode([_tagged(words, "O O O B-place O")], wordpiece)
    assert _pieces(encoded, wordpiece) == ["[CLS]", "in", "london", "[SEP]"]
    assert encoded.items.tolist() == [1, 3]
    assert encoded.tokens.tolist() == [1, 2]
    assert encoded.labels is not None
    assert encoded.labels.tolist() == [0, 1]


def test_a_row_of_nothing_but_such_words_is_still_a_sequence(wordpiece: Any) -> None:
    [encoded] = _encode([_tagged(["\u200b"], "O")], wordpiece)
    assert _pieces(encoded, wordpiece) == ["[CLS]", "[SEP]"]
    assert encoded.items.tolist() == []
    assert encoded.labels is not None
    assert encoded.labels.tolist() == []


@pytest.mark.parametrize("words", ["the red book on the table", "walking in the rain with friends"])
def test_words_give_the_pieces_of_their_text(wordpiece: Any, byte_level: Any, words: str) -> None:
    for tokenizer in (wordpiece, byte_level):
        [encoded] = _encode([_tagged(words)], tokenizer)
        assert encoded.ids.tolist() == tokenizer(words)["input_ids"]


def test_a_byte_level_tokenizer_reads_a_space_before_every_word_but_the_first(byte_level: Any) -> None:
    [encoded] = _encode([_tagged("red book red", "O B-place O")], byte_level)
    pieces = _pieces(encoded, byte_level)
    first, second, third = (pieces[token] for token in encoded.tokens)
    assert not first.startswith("Ġ")
    assert second.startswith("Ġ")
    assert third.startswith("Ġ")
    assert encoded.ids.tolist() == byte_level("red book red")["input_ids"]


def test_segments_are_given_where_the_model_knows_them(wordpiece: Any) -> None:
    [plain] = _encode([_text("red book")], wordpiece, KINDS)
    [paired] = _encode([_text("red book", second="blue")], wordpiece, KINDS, segments=True)
    assert plain.segments is None
    assert paired.segments is not None
    assert paired.segments.tolist() == [0, 0, 0, 0, 1, 1]
    [words] = _encode([_tagged("red book")], wordpiece, segments=True)
    assert words.segments is not None
    assert words.segments.tolist() == [0, 0, 0, 0]


def test_a_pair_is_one_sequence_with_both_texts(wordpiece: Any) -> None:
    [encoded] = _encode([_text("red book", "good", "blue sea")], wordpiece, KINDS, segments=True)
    assert _pieces(encoded, wordpiece) == ["[CLS]", "red", "book", "[SEP]", "blue", "sea", "[SEP]"]
    assert encoded.labels is not None
    assert encoded.labels.tolist() == [1]


def test_some_rows_with_and_some_without_a_second_text_are_refused(wordpiece: Any) -> None:
    with pytest.raises(Unsupported, match="some rows have a second text and some do not"):
        _encode([_text("one", second="two"), _text("three")], wordpiece, KINDS)


def test_a_text_longer_than_the_model_is_cut_at_its_end(wordpiece: Any) -> None:
    [encoded] = _encode([_text("red book blue car old man", "good")], wordpiece, KINDS, max_length=5)
    assert _pieces(encoded, wordpiece) == ["[CLS]", "red", "book", "blue", "[SEP]"]


def test_rows_keep_their_order(wordpiece: Any) -> None:
    rows = [_tagged("red"), _tagged("one two three four five time"), _tagged("blue")]
    assert [encoded.row for encoded in _encode(rows, wordpiece, max_length=6)] == [0, 1, 1, 2]


LONG = "one two three four five time town train told warm water woman word".split()


@pytest.mark.parametrize("max_length", [6, 7, 10, 14, 15, 40])
def test_every_word_of_a_long_row_stands_in_one_window_with_its_own_label(wordpiece: Any, max_length: int) -> None:
    tags = ["B-place" if place % 3 == 0 else "O" for place in range(len(LONG))]
    windows = _encode([_tagged(LONG, " ".join(tags))], wordpiece, max_length=max_length)
    assert all(len(window.ids) <= max_length for window in windows)
    assert sorted(item for window in windows for item in window.items.tolist()) == list(range(len(LONG)))
    for window in windows:
        pieces = _pieces(window, wordpiece)
        assert [pieces[token] for token in window.tokens] == [LONG[item] for item in window.items]
        assert window.labels is not None
        assert [TAGS.names[label] for label in window.labels] == [tags[item] for item in window.items]


@pytest.mark.parametrize("max_length", [6, 9, 12])
def test_a_word_is_read_in_the_window_in_which_its_nearest_edge_is_farthest(wordpiece: Any, max_length: int) -> None:
    windows = _encode([_tagged(LONG)], wordpiece, max_length=max_length)
    spans = [_words_of(window, wordpiece) for window in windows]
    assert len(spans) > 1

    def context(word: int, span: tuple[int, int]) -> float:
        first, last = span
        left = np.inf if first == 0 else word - first
        right = np.inf if last == len(LONG) - 1 else last - word
        return min(left, right)

    for window, span in zip(windows, spans, strict=True):
        for word in window.items.tolist():
            inside = [other for other in spans if other[0] <= word <= other[1]]
            assert context(word, span) == max(context(word, other) for other in inside)


def _words_of(window: Encoded, tokenizer: Any) -> tuple[int, int]:
    """First and last word that a window reads; each of LONG is one piece, and none comes twice."""
    pieces = _pieces(window, tokenizer)[1:-1]
    return LONG.index(pieces[0]), LONG.index(pieces[-1])


def test_windows_overlap(wordpiece: Any) -> None:
    spans = [_words_of(window, wordpiece) for window in _encode([_tagged(LONG)], wordpiece, max_length=10)]
    assert spans == [(0, 7), (6, 12)]


def test_a_word_longer_than_a_window_is_cut_and_stands_alone_in_its_place(wordpiece: Any) -> None:
    [before, giant, after] = _encode([_tagged(["red", "z" * 30, "blue"], "O B-place O")], wordpiece, max_length=8)
    assert len(giant.ids) == 8
    assert giant.items.tolist() == [1]
    assert giant.tokens.tolist() == [1]
    assert giant.labels is not None
    assert giant.labels.tolist() == [1]
    assert (before.items.tolist(), after.items.tolist()) == ([0], [2])


@pytest.fixture(scope="session")
def e5(assets: Callable[[str], Path]) -> Any:
    """XLM-RoBERTa's sentencepiece tokenizer: `▁` marks the start of a word."""
    return AutoTokenizer.from_pretrained(assets("e5"))


def test_chinese_characters_are_read_without_spaces(e5: Any) -> None:
    words = list("我在北京大学工作2019年")
    [encoded] = _encode([_tagged(words)], e5)
    pieces = _pieces(encoded, e5)
    assert (pieces[0], pieces[-1]) == ("<s>", "</s>")
    assert [pieces[token] for token in encoded.tokens] == words
    assert "▁" not in "".join(pieces)
    assert e5.unk_token_id not in encoded.ids


def test_chinese_words_are_read_without_spaces_and_others_with_them(e5: Any) -> None:
    [encoded] = _encode([_tagged(["我", "喜欢", "New", "York", "的", "天气"])], e5)
    assert e5.decode(encoded.ids, skip_special_tokens=True) == "我喜欢 New York 的天气"


def test_words_in_a_language_with_spaces_give_the_pieces_of_their_text(e5: Any) -> None:
    text = "Wolfgang lives in Berlin"
    [encoded] = _encode([_tagged(text)], e5)
    assert encoded.ids.tolist() == e5(text)["input_ids"]
