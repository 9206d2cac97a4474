"""Texts as words."""

from __future__ import annotations

import pytest

from adaptune.core.words import Word, locate, split, split_on_spaces, unspaced


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Meet at 7pm, OK?", ["Meet", "at", "7pm", ",", "OK", "?"]),
        ("It's U.S. e-mail", ["It", "'", "s", "U", ".", "S", ".", "e", "-", "mail"]),
        ("高勇：男，1966年", ["高", "勇", "：", "男", "，", "1966", "年"]),
        ("iPhone手机", ["iPhone", "手", "机"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("cafe\u0301 na\u00efve", ["cafe\u0301", "na\u00efve"]),
        ("👍🏽 ok", ["👍", "🏽", "ok"]),
        ("  ", []),
    ],
)
def test_texts_are_split_at_signs_and_between_chinese_characters(text: str, words: list[str]) -> None:
    assert [word.text for word in split(text)] == words


def test_words_know_where_they_stand() -> None:
    text = " 张三 at\u3000home."
    assert all(text[word.start : word.end] == word.text for word in split(text))
    assert split(text)[2] == Word("at", 4, 6)


def test_nothing_but_white_space_stands_between_words() -> None:
    text = "Ünïcode—mixed 中文,с текстом\tและ ไทย 🙂!"
    assert "".join(word.text for word in split(text)) == "".join(text.split())


def test_pieces_between_spaces_keep_their_signs() -> None:
    assert split_on_spaces("Hello, world ") == [Word("Hello,", 0, 6), Word("world", 7, 12)]


@pytest.mark.parametrize(
    ("text", "answer"),
    [("查询余额", True), ("用iPhone很好", True), ("plain English 中", False), ("한국어 문장", False)],
)
def test_scripts_without_spaces_are_known(text: str, answer: bool) -> None:
    assert unspaced(text) is answer


def test_words_are_located_in_their_text() -> None:
    assert locate(["It", "'s", "7", "pm"], "It's 7pm") == [
        Word("It", 0, 2),
        Word("'s", 2, 4),
        Word("7", 5, 6),
        Word("pm", 6, 8),
    ]


@pytest.mark.parametrize("words", [["a", "c"], ["a", "b", "c"], ["b", "a"]])
def test_words_that_do_not_make_up_the_text_are_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="does not stand at character"):
        locate(words, "a b")
