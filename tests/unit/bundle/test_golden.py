"""Golden examples: what counts as the same answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adaptune.bundle.golden import SENTENCES, check_golden
from adaptune.bundle.manifest import Golden
from adaptune.core.calibration import Abstention, Calibration, Scope
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


BY = Calibration(abstain=Abstention(accuracy=0.9, below=0.6), scope=Scope(score="energy", kept=0.95, above=-2.0))
VERDICT = SURE.model_copy(update={"probability": 0.7, "probabilities": (), "abstained": False, "out_of_scope": True})


def test_verdicts_of_thresholds_are_compared() -> None:
    same = Answer("good", 0.7, abstained=False, scope=-1.5, out_of_scope=True)
    check_golden([VERDICT], [same], exact=True, by=BY)
    for changed, told in (
        (replace(same, abstained=True), "abstained True, expected False"),
        (replace(same, abstained=None), "abstained None, expected False"),
        (replace(same, out_of_scope=False), "out_of_scope False, expected True"),
    ):
        with pytest.raises(BundleError, match=f"gave the verdict {told}"):
            check_golden([VERDICT], [changed], exact=True, by=BY)
    with pytest.raises(BundleError, match="gave the verdict abstained None"):
        check_golden([VERDICT], [replace(same, abstained=None)], exact=True, by=None)
    check_golden([SURE], [Answer("good", 0.9, (0.9, 0.1), abstained=True)], exact=True, by=BY)  # an older record


def test_a_verdict_may_fall_either_way_where_it_lies_on_the_threshold() -> None:
    on_it = VERDICT.model_copy(update={"probability": 0.60005})
    found = Answer("good", 0.59995, abstained=True, scope=-2.00005, out_of_scope=False)
    check_golden([on_it], [found], exact=True, by=BY)
    with pytest.raises(BundleError, match="gave the verdict out_of_scope"):
        check_golden([on_it], [replace(found, scope=-2.1)], exact=True, by=BY)


def test_made_up_sentences_are_all_different() -> None:
    assert len(set(SENTENCES)) == len(SENTENCES) == 5
