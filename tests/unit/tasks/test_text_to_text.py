from __future__ import annotations

import random

import numpy as np
import pytest
from pydantic import ValidationError
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from adaptune.core.types import Example, Row, Sequence
from adaptune.evaluate.intervals import interval, paired_interval
from adaptune.tasks import TASKS
from adaptune.tasks._text_scores import bleu_counts, bleu_of, rouge
from adaptune.tasks.summarise import sentences

WORDS = "the cat sat on a mat with big red dogs and ran don't it's 7,5".split()


def _texts(seed: int, count: int, least: int = 1) -> list[str]:
    choose = random.Random(seed)
    return [" ".join(choose.choices(WORDS, k=choose.randint(least, 12))) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_bleu_of_summed_counts_is_sacrebleus_of_the_corpus(seed: int) -> None:
    rows = seed % 4 + 1
    written, expected = _texts(seed, rows, least=0), _texts(seed + 100, rows)
    theirs = BLEU().corpus_score(written, [expected]).score / 100
    assert float(bleu_of(bleu_counts(written, expected, "auto").sum(axis=0))) == pytest.approx(theirs)


def test_several_references_count_as_in_sacrebleu() -> None:
    written, one, two = _texts(1, 5), _texts(2, 5), _texts(3, 5)
    expected = [*zip(one[:4], two[:4], strict=True), one[4]]
    streams = [one, [*two[:4], None]]
    scores = TASKS.make({"name": "write"}).score(written, expected).values
    assert scores["bleu"] == pytest.approx(BLEU().corpus_score(written, streams).score / 100)
    assert scores["chrf"] == pytest.approx(CHRF().corpus_score(written, streams).score / 100)


def test_chinese_references_are_read_by_character() -> None:
    written, expected = ["我们昨天在公园里看到很多人"], ["昨天我们在公园里看到了很多人"]
    auto = TASKS.make({"name": "translate"}).score(written, expected).values
    assert auto["bleu"] == pytest.approx(BLEU(tokenize="zh").corpus_score(written, [expected]).score / 100)
    assert (
        auto["bleu"]
        > TASKS.make({"name": "translate", "bleu_tokenizer": "13a"}).score(written, expected).values["bleu"]
    )
    by_hand = RougeScorer(["rougeL"], tokenizer=_Characters()).score(expected[0], written[0])["rougeL"].fmeasure
    assert auto["rougeL"] == pytest.approx(by_hand)


class _Characters:
    def tokenize(self, text: str) -> list[str]:
        return list(text)


def test_rouge_of_english_is_that_of_rouge_score() -> None:
    written, expected = _texts(5, 20), _texts(6, 20)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    theirs = [[found.fmeasure for found in scorer.score(b, a).values()] for a, b in zip(written, expected, strict=True)]
    assert np.allclose(rouge(written, expected), theirs)


def test_an_empty_text_scores_nothing() -> None:
    assert TASKS.make({"name": "write"}).score([""], ["a text of four words"]).values["bleu"] == 0.0


@pytest.mark.parametrize("name", ["write", "summarise"])
def test_the_interval_holds_the_score_and_a_better_model_gains(name: str) -> None:
    task = TASKS.make({"name": name})
    expected = _texts(8, 60, least=6)
    near = [text.replace("cat", "dog") for text in expected]
    far = [" ".join(reversed(text.split())) for text in expected]
    low, high = interval(task, far, expected)
    assert low < task.score(far, expected).values[task.metric] < high
    assert paired_interval(task, near, far, expected)[0] > 0


def test_a_template_must_have_a_place_for_the_source() -> None:
    with pytest.raises(ValidationError, match=r"must hold \{source\} once"):
        TASKS.make({"name": "write", "template": "Write."})


def test_the_lead_of_a_text_is_as_long_as_summaries_are() -> None:
    task = TASKS.make({"name": "summarise"})
    train = [Example(Row("rows", 1, {}), (Sequence("x"),), "One. Two!")]
    test = [Example(Row("rows", 1, {}), (Sequence("First. Second? Third."),), "y")]
    assert task.baselines(train, test) == {"lead_2": ["First. Second?"]}


def test_sentences_end_at_full_stops_of_either_script() -> None:
    assert sentences("Good... Is it? 是的。好！") == ["Good... ", "Is it? ", "是的。", "好！"]
