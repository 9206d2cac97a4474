"""Prompts as tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from adaptune.core.batch import Encoded
from adaptune.core.errors import Unsupported
from adaptune.core.types import Blank, Example, Given, Labels, OfPrompt, Prompt, Row, Sequence, Soft
from adaptune.data.encode import encode
from adaptune.data.encode_prompt import prompt_findings
from adaptune.data.packed import pack, unpack

LABELS = Labels(("no", "yes"))


def read(tokenizer: Any, *prompts: Prompt, right: int | None = 1, max_length: int = 64) -> list[Encoded]:
    target = None if right is None else OfPrompt(right)
    examples = [
        Example(Row("rows", number, {}), (Sequence("it", target=target, prompt=prompt),))
        for number, prompt in enumerate(prompts)
    ]
    return encode(examples, tokenizer, LABELS, max_length=max_length, segments=False)


@pytest.fixture(scope="module")
def bert(tiny_bert: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture(scope="module")
def llama(tiny_llama: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_llama)


def test_a_blank_is_hidden_and_every_word_is_asked_there(bert: Any) -> None:
    answers = (("no", "never"), ("yes",))
    [one] = read(bert, Prompt((Given("the red box"), " is it? ", Blank(1), "."), answers))
    assert bert.convert_ids_to_tokens(one.ids) == "[CLS] the red box is it ? [MASK] . [SEP]".split()
    assert one.tokens.tolist() == [7, 7, 7]
    assert one.items.tolist() == [0, 1, 2]
    assert one.asked is not None
    assert bert.convert_ids_to_tokens(one.asked[:, 0].astype(int)) == ["no", "never", "yes"]
    assert one.asked[:, 1:].tolist() == [[0, 1], [0, 1], [1, 1]]
    assert one.labels is not None
    assert one.labels.tolist() == [1]


def test_words_of_two_tokens_fill_a_blank_of_two(bert: Any) -> None:
    [one] = read(bert, Prompt(("is it ", Blank(2), " ", Given("rain")), (("not now",), ("this time",))))
    assert bert.convert_ids_to_tokens(one.ids) == "[CLS] is it [MASK] [MASK] rain [SEP]".split()
    assert one.tokens.tolist() == [3, 4, 3, 4]
    assert one.items.tolist() == [0, 0, 1, 1]


def test_a_word_that_does_not_fit_its_blank_is_refused_with_its_pieces(bert: Any) -> None:
    with pytest.raises(
        Unsupported, match=r"blank has 1 token, and the vocabulary writes 1 .*'walking' is 2: walk ##ing"
    ):
        read(bert, Prompt((Given("rain"), Blank(1)), (("walking",), ("yes",))))


def test_every_word_follows_its_prompt_and_its_last_token_is_not_read(llama: Any) -> None:
    answers = (("not late",), ("late",))
    first, second = read(llama, Prompt((Given("the train"), " : ", Blank()), answers, per="token"))
    words = [llama(f" {word}", add_special_tokens=False)["input_ids"] for word in ("not late", "late")]
    start = llama("the train :", add_special_tokens=False)["input_ids"]
    assert len(words[0]) > 1
    for number, (one, word) in enumerate(zip((first, second), words, strict=True)):
        assert one.ids.tolist() == start + word[:-1]
        assert one.tokens.tolist() == list(range(len(start) - 1, len(start) - 1 + len(word)))
        assert set(one.items.tolist()) == {number}
        assert one.asked is not None
        assert one.asked[:, 0].tolist() == word
        assert one.asked[:, 2] == pytest.approx(1 / len(word))
    assert (first.fresh, second.fresh) == (len(first.ids), len(words[1]) - 1)


def test_a_word_weighs_by_its_bytes_where_that_is_asked(llama: Any) -> None:
    [one, _] = read(llama, Prompt((Given("a"), " : ", Blank()), (("迟到",), ("late",)), per="byte"))
    assert one.asked is not None
    assert one.asked[:, 2] == pytest.approx(1 / 6)


def test_what_all_rows_begin_with_is_fresh_in_none(llama: Any) -> None:
    parts = ((Given(text), " : ", Blank()) for text in ("1", "2"))
    encoded = read(llama, *(Prompt(one, (("a",), ("b",)), before="the bank is late\n") for one in parts))
    common = len(llama("the bank is late\n", add_special_tokens=False)["input_ids"])
    assert encoded[0].fresh == len(encoded[0].ids) - common
    assert encoded[1].fresh == 0


def test_own_tokens_keep_places_of_the_vocabulary(bert: Any) -> None:
    [one] = read(bert, Prompt((Given("rain"), " ", Soft(2), " ", Blank(1)), (("no",), ("yes",))))
    assert bert.convert_ids_to_tokens(one.ids) == "[CLS] rain [UNK] [UNK] [MASK] [SEP]".split()
    assert one.tokens.tolist() == [2, 3, 4, 4]
    assert one.items.tolist() == [0, 1, 2, 3]


def test_a_mask_in_a_text_is_no_blank(bert: Any) -> None:
    [one] = read(bert, Prompt((Given("a [MASK] box"), " is ", Blank(1)), (("no",), ("yes",))))
    assert one.tokens.tolist() == [5, 5]


def test_demonstrations_go_first_and_texts_lose_their_ends_where_there_is_no_room(bert: Any) -> None:
    prompt = Prompt((Given("red " * 20), "? ", Blank(1)), (("no",), ("yes",)), shots=("one . ", "two . "), before="so ")
    [one] = read(bert, prompt, max_length=27)
    assert bert.convert_ids_to_tokens(one.ids) == ["[CLS]", "so", "two", ".", *["red"] * 20, "?", "[MASK]", "[SEP]"]
    [one] = read(bert, prompt, max_length=10)
    assert bert.convert_ids_to_tokens(one.ids) == ["[CLS]", "so", *["red"] * 5, "?", "[MASK]", "[SEP]"]
    with pytest.raises(Unsupported, match=r"approach.template alone has 3 tokens, and the model has room for 2"):
        read(bert, prompt, max_length=4)


def test_unlabelled_rows_have_no_labels(bert: Any) -> None:
    [one] = read(bert, Prompt((Given("rain"), Blank(1)), (("no",), ("yes",))), right=None)
    assert one.labels is None


def test_sequences_are_the_same_out_of_bytes(llama: Any) -> None:
    encoded = read(llama, Prompt((Given("the train"), " : ", Blank()), (("not late",), ("late",))))
    for one, other in zip(encoded, unpack(pack(encoded), 0), strict=True):
        assert (one.fresh, one.ids.tolist()) == (other.fresh, other.ids.tolist())
        np.testing.assert_array_equal(one.asked, other.asked)  # type: ignore[arg-type]


def test_what_has_no_room_is_told_by_row(bert: Any) -> None:
    short, long = (
        Prompt((Given(text), "? ", Blank(1)), (("no",), ("yes",)), shots=("one . ",)) for text in ("red", "red " * 9)
    )
    examples = [Example(Row("rows", place, {}), (Sequence("", prompt=one),)) for place, one in enumerate((short, long))]
    assert prompt_findings(examples, bert, 64) == []
    [shots] = prompt_findings(examples, bert, 13)
    assert (shots.rows, shots.text.partition(";")[0]) == (("rows, row 1",), "1 row has no room for all demonstrations")
    shots, ends = prompt_findings(examples, bert, 6)
    assert shots.rows == ("rows, row 0", "rows, row 1")
    assert (ends.rows, ends.text.partition(";")[0]) == (
        ("rows, row 1",),
        "1 row is longer and loses the end of its text",
    )
