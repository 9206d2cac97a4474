"""Answers of a model in the order of rows, whatever the batches."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from adaptune.core.batch import Batch, Encoded
from adaptune.core.types import Answer, Example, Labels, Row
from adaptune.data.encode import encode
from adaptune.evaluate.predict import batch_tokens_of, predict, stream
from adaptune.heads.tag import TagHead
from adaptune.methods.head_only import HeadOnly
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks.tag import Tag

LABELS = Labels(("O", "B-name", "I-name"))
WINDOW = 24
"""Tokens of a window: short, so that long rows have several."""


@pytest.fixture(scope="module")
def assembly(tiny_bert: Path) -> Assembly:
    backbone = load_backbone(ModelConfig(name=str(tiny_bert)))
    return Assembly(backbone, HeadOnly(), TagHead(), LABELS, seed=0)


@pytest.fixture(scope="module")
def encoded(assembly: Assembly) -> list[Encoded]:
    words = "the bank gave john a new card in york and he went home by train again".split()
    lengths = [3, 60, 1, 16, 100, 7, 7, 30]
    examples: list[Example] = []
    for row, length in enumerate(lengths):
        tokens = [words[(row + place) % len(words)] for place in range(length)]
        examples.append(Tag().example(Row("x", row, {"tokens": tokens})))
    return encode(examples, assembly.backbone.tokenizer, LABELS, max_length=WINDOW, segments=True)


def close(one: list[Answer], other: list[Answer]) -> bool:
    return all(
        a.value == b.value and a.probabilities == pytest.approx(b.probabilities, abs=1e-5)
        for a, b in zip(one, other, strict=True)
    )


def test_answers_come_in_the_order_of_rows_a_tag_a_word(assembly: Assembly, encoded: list[Encoded]) -> None:
    answers = predict(assembly, encoded, batch_tokens=512, rows=8)
    assert [len(answer.value) for answer in answers] == [3, 60, 1, 16, 100, 7, 7, 30]


def test_answers_do_not_depend_on_the_size_of_batches(assembly: Assembly, encoded: list[Encoded]) -> None:
    together = predict(assembly, encoded, batch_tokens=100_000, rows=8)
    alone = predict(assembly, encoded, batch_tokens=1, rows=8)
    assert close(together, alone)


def test_all_windows_of_a_row_stand_in_one_batch(
    assembly: Assembly, encoded: list[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[int]] = []
    answer = assembly.answers

    def watched(batch: Batch) -> dict[int, Answer]:
        seen.append(set(batch.rows.tolist()))
        return answer(batch)

    monkeypatch.setattr(assembly, "answers", watched)
    predict(assembly, encoded, batch_tokens=60, rows=8)
    assert len(seen) > 3
    assert sorted(row for rows in seen for row in rows) == list(range(8))


def test_a_batch_suits_the_device_where_nothing_is_asked_for(assembly: Assembly) -> None:
    assert batch_tokens_of(assembly, None) == 1024
    assert batch_tokens_of(assembly, None, writes=True) == 8192
    assert batch_tokens_of(assembly, 77) == batch_tokens_of(assembly, 77, writes=True) == 77
    assert batch_tokens_of(deepcopy(assembly).to("meta"), None) == 8192


def test_a_stream_gives_the_same_answers_in_order(assembly: Assembly, encoded: list[Encoded]) -> None:
    streamed = list(stream(assembly, iter(encoded), batch_tokens=512, ahead=3))
    assert [row for row, _ in streamed] == list(range(8))
    assert close([answer for _, answer in streamed], predict(assembly, encoded, batch_tokens=512, rows=8))


def test_a_stream_reads_no_further_than_it_must(assembly: Assembly, encoded: list[Encoded]) -> None:
    read: list[int] = []

    def source() -> Iterator[Encoded]:
        for sequence in encoded:
            read.append(sequence.row)
            yield sequence

    answers = stream(assembly, source(), batch_tokens=512, ahead=2)
    assert next(answers)[0] == 0
    assert max(read) == 2


def test_the_mode_of_the_model_is_as_before(assembly: Assembly, encoded: list[Encoded]) -> None:
    assembly.train()
    predict(assembly, encoded, batch_tokens=512, rows=8)
    assert assembly.training
    assembly.eval()
    predict(assembly, encoded, batch_tokens=512, rows=8)
    assert not assembly.training


def test_a_row_without_a_sequence_is_an_error(assembly: Assembly, encoded: list[Encoded]) -> None:
    with pytest.raises(ValueError, match=r"expected sequences of rows 0 to 8; got 8 rows, without \[8\]"):
        predict(assembly, encoded, batch_tokens=512, rows=9)


def test_no_rows_give_no_answers(assembly: Assembly) -> None:
    assert predict(assembly, [], batch_tokens=512, rows=0) == []
