"""Golden examples: what counts as the same answer."""

from __future__ import annotations

import pytest

from adaptune.bundle.golden import SENTENCES, check_golden
from adaptune.bundle.manifest import Golden
from adaptune.core.errors import BundleError
from adaptune.core.types import Answer

SURE = Golden(values={"text": "Good morning!"}, answer="good", probability=0.9, probabilities=(0.9, 0.1))
CLOSE = Golden(values={"text": "Good morning!"}, answer="good", probability=0.51, probabilities=(0.51, 0.49))


def test_probabilities_within_the_tolerance_pass() -> None:
    check_golden([SURE], [Answer("good", 0.90009, (0.90009, 0.09991))], exact=True)
    check_golden([SURE], [Answer("good", 0.86, (0.86, 0.14))], exact=False)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer("good", 0.9002, (0.9002, 0.0999)), r"the probability 0\.900200, expected 0\.900000 within 0\.0001"),
        (Answer("bad", 0.9, (0.9, 0.1)), "the answer 'bad', expected 'good'"),
        (Answer("good", float("nan"), (float("nan"), 0.1)), "the probability nan, expected 0.9"),
        (Answer("good", 0.9, (0.9, 0.1, 0.0)), "3 probabilities, expected 2"),
    ],
    ids=["probability", "answer", "not a number", "another number of labels"],
)
def test_anything_else_is_refused_in_fp32(answer: Answer, told: str) -> None:
    with pytest.raises(BundleError, match=rf"golden example 1 .*Good morning.* gave {told}"):
        check_golden([SURE], [answer], exact=True)


def test_in_lower_precision_a_tie_may_fall_either_way_and_a_sure_answer_may_not() -> None:
    turned = Answer("bad", 0.505, (0.495, 0.505))
    check_golden([CLOSE], [turned], exact=False)
    with pytest.raises(BundleError, match="the answer 'bad', expected 'good'"):
        check_golden([CLOSE], [turned], exact=True)
    with pytest.raises(BundleError, match="the answer 'bad', expected 'good'"):
        check_golden([SURE], [Answer("bad", 0.88, (0.88, 0.12))], exact=False)


def test_tags_are_compared_word_by_word() -> None:
    recorded = Golden(values={"text": "in Paris"}, answer=["O", "B-place"], probability=0.9, probabilities=(0.9, 0.9))
    check_golden([recorded], [Answer(("O", "B-place"), 0.9, (0.9, 0.9))], exact=True)
    with pytest.raises(BundleError, match=r"the answer \['O', 'O'\], expected \['O', 'B-place'\]"):
        check_golden([recorded], [Answer(("O", "O"), 0.9, (0.9, 0.9))], exact=True)


@pytest.mark.parametrize(
    ("ranking", "same"),
    [
        ((("a", 0.50003), ("b", 0.49998)), True),
        ((("b", 0.50001), ("a", 0.49999)), True),
        ((("a", 0.501), ("b", 0.5)), False),
        ((("a", 0.5), ("c", 0.5)), False),
        ((("a", 0.5),), False),
    ],
    ids=["nearly the same scores", "a tie that falls the other way", "another score", "another text", "fewer"],
)
def test_ranked_texts_are_compared_by_their_scores(ranking: tuple[tuple[str, float], ...], same: bool) -> None:
    recorded = Golden(values={"query": "q"}, answer=[["a", 0.5], ["b", 0.5]], probability=0.5, probabilities=())
    if same:
        check_golden([recorded], [Answer(ranking, 0.5)], exact=True)
        return
    with pytest.raises(BundleError, match=r"golden example 1 .* gave the answer .*, expected \[\['a', 0\.5\]"):
        check_golden([recorded], [Answer(ranking, 0.5)], exact=True)


def test_made_up_sentences_are_all_different() -> None:
    assert len(set(SENTENCES)) == len(SENTENCES) == 5
