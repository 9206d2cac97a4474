"""One bucket a caller, filled at a constant rate."""

from __future__ import annotations

from adaptune.serve.rate import MOST_CALLERS, Rate


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_as_many_as_a_minute_allows_and_then_one_when_its_share_of_the_minute_has_passed() -> None:
    clock = Clock()
    rate = Rate(3, clock)
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 20]
    clock.now = 19.0
    assert rate.take("a") == 1
    clock.now = 20.5
    assert [rate.take("a"), rate.take("a")] == [0, 20]


def test_callers_do_not_share() -> None:
    rate = Rate(1, Clock())
    assert [rate.take("a"), rate.take("b"), rate.take("a")] == [0, 0, 60]


def test_no_more_than_so_many_callers_are_remembered() -> None:
    rate = Rate(1, Clock())
    for number in range(MOST_CALLERS + 5):
        rate.take(str(number))
    assert len(rate._buckets) == MOST_CALLERS
