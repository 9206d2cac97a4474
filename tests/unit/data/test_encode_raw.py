"""Raw texts as tokens: what is hidden, when, and what predicts what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from adaptune.core.batch import Encoded
from adaptune.core.types import Example, OfItself, Reading, Row, Sequence
from adaptune.data.batches import Batches, Budget
from adaptune.data.encode_raw import encode_raw, masked

TEXT = "the old bank by the river is open again and the train to the city is late"


@pytest.fixture(scope="module")
def of_bert(tiny_bert: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture(scope="module")
def reading(of_bert: Any) -> Reading:
    return Reading(of_bert.mask_token_id, vocabulary=len(of_bert), special=tuple(of_bert.all_special_ids))


def _examples(*texts: str, labelled: bool = True) -> list[Example]:
    target = OfItself() if labelled else None
    return [Example(Row("rows", n, {}), (Sequence(text, target=target),)) for n, text in enumerate(texts)]


def _originals(sequence: Encoded) -> list[int]:
    """The token ids before anything was hidden."""
    ids = sequence.ids.copy()
    assert sequence.labels is not None
    ids[sequence.tokens] = sequence.labels
    return ids.tolist()


def test_a_text_that_is_longer_than_the_model_is_cut_in_windows_that_hold_all_of_it(
    of_bert: Any, reading: Reading
) -> None:
    whole = of_bert(TEXT, add_special_tokens=False)["input_ids"]
    windows = encode_raw(_examples(TEXT), of_bert, reading, 8, segments=True)
    assert [token for window in windows for token in window.labels.tolist()] == whole  # type: ignore[union-attr]
    assert max(window.length for window in windows) == 8
    assert all(window.ids[0] == of_bert.cls_token_id and window.ids[-1] == of_bert.sep_token_id for window in windows)


def test_a_share_of_the_tokens_is_chosen_and_most_of_them_are_hidden(of_bert: Any, reading: Reading) -> None:
    (text,) = encode_raw(_examples(" ".join([TEXT] * 7)), of_bert, reading, 128, segments=True)
    drawn = [masked(text, reading, (1, epoch, 0)) for epoch in range(200)]
    assert {len(one.tokens) for one in drawn} == {round(0.15 * len(text.tokens))}
    assert all(_originals(one) == text.ids.tolist() for one in drawn)
    fates = np.concatenate([one.ids[one.tokens] for one in drawn])
    labels = np.concatenate([one.labels for one in drawn if one.labels is not None])
    hidden, kept = float(np.mean(fates == reading.mask)), float(np.mean(fates == labels))
    assert hidden == pytest.approx(0.8, abs=0.03)
    assert kept == pytest.approx(0.1, abs=0.03)
    assert not set(fates.tolist()) & (set(reading.special) - {reading.mask})


def test_every_epoch_hides_others_and_the_same_again_when_it_is_repeated(of_bert: Any, reading: Reading) -> None:
    encoded = encode_raw(_examples(TEXT, TEXT, TEXT), of_bert, reading, 64, segments=True)
    batches = Batches(encoded, Budget(tokens=4096, rows=2), pad=0, seed=3, reading=reading)
    first, again = (list(batches(0)) for _ in range(2))
    assert all((a.ids == b.ids).all() for a, b in zip(first, again, strict=True))  # type: ignore[union-attr]
    resumed = list(batches(0, skip=1))
    assert (resumed[0].ids == first[1].ids).all()  # type: ignore[union-attr]
    orders = [sorted(one.token_of.tolist() for one in batches(epoch)) for epoch in range(4)]  # type: ignore[union-attr]
    assert len({str(order) for order in orders}) == 4


def test_the_tokens_of_a_word_are_hidden_together(of_bert: Any, reading: Reading) -> None:
    reading = replace(reading, whole_words=True, share=0.3)
    (text,) = encode_raw(_examples("slowness walked trainer reading seeing calls"), of_bert, reading, 64, segments=True)
    assert len(set(text.items.tolist())) < len(text.items)
    for epoch in range(20):
        one = masked(text, reading, (0, epoch, 0))
        chosen = set(one.items.tolist())
        assert one.tokens.tolist() == text.tokens[np.isin(text.items, list(chosen))].tolist()
        assert chosen


def test_to_score_a_text_each_of_its_tokens_is_hidden_once(of_bert: Any, reading: Reading) -> None:
    (whole,) = encode_raw(_examples(TEXT), of_bert, reading, 64, segments=True)
    copies = encode_raw(_examples(TEXT, labelled=False), of_bert, reading, 64, segments=True)
    assert [copy.tokens.tolist() for copy in copies] == [[place] for place in whole.tokens.tolist()]
    for copy in copies:
        assert np.flatnonzero(copy.ids == reading.mask).tolist() == copy.tokens.tolist()
        assert _originals(copy) == whole.ids.tolist()
    some = encode_raw(_examples(TEXT, labelled=False), of_bert, replace(reading, scored=5), 64, segments=True)
    assert [copy.tokens.tolist()[0] for copy in some] == [1, 5, 9, 13, 17]


def test_a_decoder_predicts_every_token_from_those_before_and_the_end(tiny_gpt2: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_gpt2)
    whole = [*tokenizer(TEXT)["input_ids"], tokenizer.eos_token_id]
    (text,) = encode_raw(_examples(TEXT), tokenizer, Reading(None), 128, segments=False)
    assert text.ids.tolist() == whole[:-1]
    assert text.labels is not None
    assert text.labels.tolist() == whole[1:]
    windows = encode_raw(_examples(TEXT), tokenizer, Reading(None), 6, segments=False)
    assert [label for window in windows for label in window.labels.tolist()] == whole[1:]  # type: ignore[union-attr]
    assert max(window.length for window in windows) == 6
    assert all((window.ids[1:] == window.labels[:-1]).all() for window in windows)  # type: ignore[index]
