"""What a comparison says: the best, those alike, the cheapest of them, and whether training is worth it."""

from __future__ import annotations

from adaptune.compare.values import Baseline, Difference, Interval, Row, Trained
from adaptune.compare.verdict import verdict_of


def _row(name: str, score: float, trained: int, seconds: float) -> Row:
    return Row(
        name=name,
        sections={},
        status="compared",
        score=score,
        interval=Interval(low=score - 0.02, high=score + 0.02),
        best_in=0.8,
        spread=0.01,
        trained=trained,
        seconds=seconds,
        bytes=2_000_000,
        runs=(Trained(seed=1, folder="runs/x", finished=True, steps=9, seconds=seconds),),
    )


def _gap(first: str, second: str, difference: float, half: float) -> Difference:
    ends = Interval(low=difference - half, high=difference + half)
    return Difference(first=first, second=second, difference=difference, interval=ends, distinct=abs(difference) > half)


LORA, FULL, BITFIT = _row("lora", 0.90, 1000, 30), _row("full", 0.91, 90_000, 60), _row("bitfit", 0.80, 50, 20)
PLAIN = Baseline(name="tfidf", score=0.7, scores={}, interval=Interval(low=0.68, high=0.72), best_in=0.0)
GAPS = (
    _gap("lora", "full", -0.01, 0.02),
    _gap("lora", "bitfit", 0.10, 0.02),
    _gap("full", "bitfit", 0.11, 0.02),
    _gap("lora", "tfidf", 0.20, 0.02),
    _gap("full", "tfidf", 0.21, 0.02),
    _gap("bitfit", "tfidf", 0.10, 0.02),
)


def test_the_cheapest_of_those_alike_is_used() -> None:
    found = verdict_of([LORA, FULL, BITFIT], [PLAIN], GAPS, metric="accuracy", level=0.95)
    assert found is not None
    assert (found.use, found.best, found.alike, found.worth_it) == ("lora", "full", ("lora", "full"), True)
    assert found.english == (
        "Use lora: it lies within one standard error of full, which scored best, and is the cheapest of those that do.",
        (
            "full scored best on test rows: accuracy 91.0, 95% interval 89.0 to 93.0, 1 seed; over test rows and seeds "
            "drawn anew it is the best in 80% of the draws."
        ),
        (
            "Not distinguishable at 95%: lora, full. The cheapest first: lora (1,000 trained parameters, 30 s, "
            "2.0 MB); full (90,000 trained parameters, 60 s, 2.0 MB)."
        ),
        "Distinctly worse: bitfit.",
    )
    assert found.chinese[0] == "使用 lora：它与得分最高的 full 相差不到一个标准误，且是其中最便宜的。"
    assert len(found.chinese) == len(found.english)


def test_one_that_is_distinctly_best_is_used_whatever_it_costs() -> None:
    gaps = (_gap("lora", "full", -0.05, 0.02), *GAPS[1:])
    found = verdict_of([LORA, FULL, BITFIT], [PLAIN], gaps, metric="accuracy", level=0.95)
    assert found is not None
    assert (found.use, found.alike, found.english[0]) == ("full", ("full",), "Use full.")


def test_a_cheap_one_that_is_far_from_the_best_is_not_used_though_few_rows_cannot_tell_them_apart() -> None:
    wide = _gap("full", "bitfit", 0.11, 0.3).model_copy(update={"error": 0.1})
    gaps = (GAPS[0].model_copy(update={"error": 0.01}), GAPS[1], wide, *GAPS[3:])
    found = verdict_of([LORA, FULL, BITFIT], [PLAIN], gaps, metric="accuracy", level=0.95)
    assert found is not None
    assert (found.use, found.alike) == ("lora", ("lora", "full", "bitfit"))
    assert "full (90,000 trained parameters, 60 s, 2.0 MB); further from the best: bitfit (50" in found.english[2]
    assert "；离最好的更远：bitfit" in found.chinese[2]


def test_training_is_not_worth_it_where_a_baseline_is_as_good() -> None:
    near = PLAIN.model_copy(update={"score": 0.905})
    gaps = (*GAPS[:3], _gap("lora", "tfidf", -0.005, 0.02), _gap("full", "tfidf", 0.005, 0.02), GAPS[5])
    found = verdict_of([LORA, FULL, BITFIT], [near], gaps, metric="accuracy", level=0.95)
    assert found is not None
    assert (found.use, found.worth_it, found.alike[0]) == ("tfidf", False, "lora")
    assert found.english[0] == (
        "Fine-tuning is not worth it here: tfidf is as good (accuracy 90.5); the best that was trained, full, has "
        "91.0, a difference of +0.5 (-1.5 to +2.5)."
    )
    assert found.chinese[0].startswith("这里不值得微调：tfidf 已同样好")


def test_a_baseline_that_is_distinctly_better_is_called_better() -> None:
    above = PLAIN.model_copy(update={"score": 0.96})
    gaps = (*GAPS[:3], _gap("lora", "tfidf", -0.08, -0.02), _gap("full", "tfidf", -0.07, -0.03), GAPS[5])
    found = verdict_of([LORA, FULL, BITFIT], [above], gaps, metric="accuracy", level=0.95)
    assert found is not None
    assert found.english[0].startswith("Fine-tuning is not worth it here: tfidf is better (accuracy 96.0)")
    assert found.chinese[0].startswith("这里不值得微调：tfidf 更好")


def test_those_without_a_score_are_named() -> None:
    stopped = Row(name="prefix", sections={}, status="stopped", valid=0.5)
    broken = Row(name="ia3", sections={}, status="failed", error="no memory")
    found = verdict_of([LORA, stopped, broken], [PLAIN], GAPS, metric="accuracy", level=0.95)
    assert found is not None
    assert found.english[-2:] == ("Stopped early, by validation rows: prefix.", "Without a result: ia3.")


def test_where_nothing_finished_there_is_no_verdict() -> None:
    assert verdict_of([Row(name="ia3", sections={}, status="failed")], [], (), metric="f1", level=0.95) is None
