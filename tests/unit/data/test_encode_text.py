from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from adaptune.core.batch import Encoded
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Example, OfText, Row, Sequence, Writing
from adaptune.data.batches import collate
from adaptune.data.encode_text import Written, encode_written


@pytest.fixture(scope="session")
def byte_level(tiny_gpt2: Path) -> Any:
    """No special tokens around a text; <|endoftext|> ends one."""
    return AutoTokenizer.from_pretrained(tiny_gpt2)


@pytest.fixture(scope="session")
def wordpiece(tiny_bert: Path) -> Any:
    """[CLS] … [SEP] around a text."""
    return AutoTokenizer.from_pretrained(tiny_bert)


def _example(source: str, target: str | None = None, number: int = 1, template: str | None = None) -> Example:
    written = None if target is None else OfText(target)
    return Example(Row("rows.csv", number, {}), (Sequence(source, target=written, template=template),), target)


def _encode(examples: list[Example], tokenizer: Any, max_length: int = 64, **changes: Any) -> Written:
    settings = {"start": None, "most": 16, "cut": "right", "long_target": "refuse"} | changes
    return encode_written(examples, tokenizer, Writing(**settings), max_length)


def _texts(tokenizer: Any, ids: Any) -> list[str]:
    return [tokenizer.decode([token]) for token in ids.tolist()]


def _predicted(one: Encoded) -> list[int]:
    """What is read at the labelled positions."""
    return one.ids[one.tokens].tolist() if one.decoder_ids is None else one.decoder_ids[one.tokens].tolist()


def test_a_decoder_reads_prompt_and_target_as_one_and_learns_the_target_alone(byte_level: Any) -> None:
    (one,) = _encode([_example("the bank", "is open")], byte_level).encoded
    assert one.labels is not None
    assert byte_level.decode(one.ids) == "the bank\nis open"
    assert byte_level.decode(one.labels) == "is open<|endoftext|>"
    # Each token is predicted where the one before it is read: the first at the prompt's last.
    assert byte_level.decode(_predicted(one)[0]) == "\n"
    assert _predicted(one)[1:] == one.labels[:-1].tolist()
    assert one.items.tolist() == list(range(len(one.labels)))


def test_two_stacks_read_the_source_and_the_target_one_token_late(wordpiece: Any) -> None:
    (one,) = _encode([_example("the bank", "is open")], wordpiece, start=7).encoded
    assert one.labels is not None
    assert one.decoder_ids is not None
    assert wordpiece.convert_ids_to_tokens(one.ids) == ["[CLS]", "the", "bank", "[SEP]"]
    assert wordpiece.convert_ids_to_tokens(one.labels) == ["[CLS]", "is", "open", "[SEP]"]
    assert one.decoder_ids.tolist() == [7, *one.labels[:-1].tolist()]
    assert one.tokens.tolist() == [0, 1, 2, 3]
    assert one.length == 8


def test_a_template_stands_around_the_source(byte_level: Any, wordpiece: Any) -> None:
    (one,) = _encode([_example("the bank", template="Write: {source} ->")], byte_level).encoded
    assert byte_level.decode(one.ids) == "Write: the bank ->"
    (two,) = _encode([_example("the bank", template="write: {source}")], wordpiece, start=0).encoded
    assert wordpiece.decode(two.ids, skip_special_tokens=True) == "write : the bank"


def test_a_row_without_target_is_its_prompt(byte_level: Any, wordpiece: Any) -> None:
    (one,) = _encode([_example("the bank")], byte_level).encoded
    assert (byte_level.decode(one.ids), one.labels, len(one.tokens)) == ("the bank\n", None, 0)
    (two,) = _encode([_example("the bank")], wordpiece, start=7).encoded
    assert two.decoder_ids is None


@pytest.mark.parametrize(("side", "kept"), [("right", "one two"), ("left", "seven eight")])
def test_a_long_source_is_cut_at_one_end_and_the_template_stays(byte_level: Any, side: str, kept: str) -> None:
    source = "one two three four five six seven eight"
    found = _encode([_example(source, "yes", 5, "Q: {source} A:")], byte_level, max_length=22, most=8, cut=side)
    (one,) = found.encoded
    prompt = byte_level.decode(one.ids[: int(one.tokens[0]) + 1])
    assert prompt.startswith("Q:")
    assert prompt.endswith("A:")
    assert kept in prompt
    assert source not in prompt
    assert len(one.ids[: int(one.tokens[0]) + 1]) <= 14
    assert found.cut_sources == ["rows.csv, row 5"]
    assert [str(finding) for finding in found.findings()] == [
        "1 source is cut to fit; raise model.max_length where the model allows it [rows.csv, row 5]"
    ]


def test_the_same_prompt_is_read_with_a_target_and_without(byte_level: Any) -> None:
    source = " ".join(["street"] * 40)
    (with_target,) = _encode([_example(source, "yes it is")], byte_level, max_length=40).encoded
    (without,) = _encode([_example(source)], byte_level, max_length=40).encoded
    assert with_target.ids[: int(with_target.tokens[0]) + 1].tolist() == without.ids.tolist()


def test_a_template_without_room_is_refused(byte_level: Any) -> None:
    with pytest.raises(Unsupported, match=r"task\.template alone has \d+ tokens, and there is room for 4"):
        _encode([_example("a", template="this is a very long template {source}")], byte_level, max_length=20)
    with pytest.raises(Unsupported, match="which leaves no room for a prompt; lower it"):
        _encode([_example("a")], byte_level, max_length=16)


LONG = [_example("a", "short", 1), _example("b", "a text of far too many words for so little room", 2)]


def test_targets_that_are_too_long_are_refused_by_row(byte_level: Any) -> None:
    with pytest.raises(DataError, match=r"1 target has more than 8 tokens \(rows.csv, row 2: \d+\); raise head.max"):
        _encode(LONG, byte_level, most=8)


def test_targets_that_are_too_long_lose_their_ends_where_the_recipe_says_so(byte_level: Any) -> None:
    found = _encode(LONG, byte_level, most=8, long_target="cut")
    labels = found.encoded[1].labels
    assert labels is not None
    assert len(labels) == 8
    assert byte_level.eos_token_id not in labels  # it did not end there
    assert found.cut_targets == ["rows.csv, row 2"]


def test_targets_that_are_too_long_are_left_out_where_the_recipe_says_so(byte_level: Any) -> None:
    found = _encode(LONG, byte_level, most=8, long_target="skip")
    assert [one.row for one in found.encoded] == [0]
    assert found.skipped == ["rows.csv, row 2"]
    with pytest.raises(DataError, match="no row is left: every target has more than 2 tokens"):
        _encode(LONG, byte_level, most=2, long_target="skip")


def test_a_batch_pads_both_stacks(wordpiece: Any) -> None:
    rows = [_example("the bank", "is open"), _example("we", "will walk to the river now")]
    batch = collate(_encode(rows, wordpiece, start=7).encoded, wordpiece.pad_token_id)
    assert batch.decoder_ids is not None
    assert batch.decoder_mask is not None
    assert batch.mask.sum(dim=1).tolist() == [4, 3]
    assert batch.decoder_mask.sum(dim=1).tolist() == [4, 8]
    assert batch.tokens == 19
    assert batch.sequence_of is not None
    assert batch.sequence_of.tolist() == [0] * 4 + [1] * 8
