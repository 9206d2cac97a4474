"""Conditions as trees, and what is said of those that do not read."""

from __future__ import annotations

import pytest

from adaptune.serve.watch.durations import as_text, seconds_of
from adaptune.serve.watch.grammar import Call, Compare, Joined, Not, Number, calls_of, parse
from adaptune.serve.watch.tokens import ConditionError, tokens_of


def test_a_condition_becomes_a_tree_in_which_every_value_has_its_window() -> None:
    found = parse("share(label=negative, window=15m) > 0.4 and n >= 50")
    share = Call("share", "label", "negative", window=900.0, column=1)
    assert found == Joined(
        "and",
        (Compare(share, ">", Number(0.4)), Compare(Call("n", window=900.0, column=45), ">=", Number(50.0))),
    )


def test_and_binds_more_than_or_and_not_more_than_both() -> None:
    found = parse("n > 1 or not n > 2 and n > 3", 60)
    one, two, three = (
        Compare(Call("n", window=60.0, column=column), ">", Number(value))
        for column, value in ((1, 1.0), (14, 2.0), (24, 3.0))
    )
    assert found == Joined("or", (one, Joined("and", (Not(two), three))))


def test_brackets_come_first() -> None:
    found = parse("(n > 1 or n > 2) and n > 3", 60)
    assert isinstance(found, Joined)
    assert found.how == "and"
    assert [type(part) for part in found.parts] == [Joined, Compare]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.4", 0.4), ("40%", 0.4), ("250ms", 0.25), ("2s", 2.0), ("1h", 3600.0), ("7d", 604_800.0)],
)
def test_numbers_have_units(text: str, value: float) -> None:
    found = parse(f"n > {text}", 60)
    assert isinstance(found, Compare)
    assert isinstance(found.right, Number)
    assert found.right.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("condition", "shown"),
    [
        ("share(label='very negative') > 0", "share(label=very negative, window=1m)"),
        ("share(label=3) > 0", "share(label=3, window=1m)"),
        ("share(label=负面) > 0", "share(label=负面, window=1m)"),
        ("share(label=and) > 0", "share(label=and, window=1m)"),
        ("share(errors) > 0", "share(errors, window=1m)"),
        ("mean(latency, window=90s) > 0", "mean(latency, window=90s)"),
        ("drift(embedding) > 0", "drift(embedding, window=1m)"),
        ("latency > 0", "latency(quantile=0.95, window=1m)"),
        ("0 < latency(quantile=0.5)", "latency(quantile=0.5, window=1m)"),
    ],
)
def test_every_value_says_what_it_is(condition: str, shown: str) -> None:
    assert [str(call) for call in calls_of(parse(condition, 60))] == [shown]


@pytest.mark.parametrize(
    ("condition", "column", "message"),
    [
        ("", 1, "expected a number or a value such as n, found the end"),
        ("n", 2, "expected one of < <= > >= == !=, found the end"),
        ("n > ", 5, "expected a number or a value"),
        ("n > 5 n", 7, "expected `and`, `or` or the end, found 'n'"),
        ("n > 5 and", 10, "found the end"),
        ("(n > 5", 7, "expected ')' to close the bracket"),
        ("5 > 4", 3, "two numbers are compared"),
        ("shares(label=a) > 1", 1, "there is no value 'shares'; did you mean 'share'?"),
        ("share(lable=a) > 1", 7, "share has no argument 'lable'; did you mean 'label'?"),
        ("share > 1", 1, "share needs to know of what: label=..., errors, unknown"),
        ("share(label) > 1", 1, "share needs to know of what"),
        ("share(label=a, errors) > 1", 16, "'label' or of 'errors', one of the two"),
        ("share(label=a, label=b) > 1", 16, "'label' stands twice"),
        ("drift(lenght) > 1", 7, "drift has no argument 'lenght'; did you mean 'length'?"),
        ("n(of) > 1", 3, "n has no argument 'of'; it has none without `=`"),
        ("n(window=15) > 1", 10, "a window lasts from 10s to 30d"),
        ("n(window=1s) > 1", 10, "a window lasts from 10s to 30d"),
        ("n(window=15x) > 1", 10, "has the unit 'x'; expected one of %, ms, s, m, h, d"),
        ("latency(quantile=95) > 1", 18, "a quantile lies between 0 and 1"),
        ("n(window=1m > 1", 13, "expected ',' or ')' after an argument of n"),
        ("n > 1 & n > 2", 7, "'&' has no place in a condition"),
        ("__import__('os').system('x') > 1", 17, "'.' has no place in a condition"),
        ("n(window=1m) > 1 and n(window=2m) > 1 and n > 2", 43, "several windows are named; say which n() has"),
        ("n > 2", 1, "no window is named; say which n() has"),
        ("not " * 60 + "n > 1", 201, "more than 50 brackets"),
    ],
)
def test_what_does_not_read_is_named_with_its_place(condition: str, column: int, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse(condition)
    assert message in str(caught.value)
    assert caught.value.column == column


def test_a_rules_window_is_that_of_values_without_one() -> None:
    windows = [call.window for call in calls_of(parse("n(window=5m) > 1 and n > 2", 3600))]
    assert windows == [300.0, 3600.0]


def test_tokens_know_their_columns() -> None:
    assert [(token.kind, token.text, token.column) for token in tokens_of('n >= 50% "a b"')] == [
        ("word", "n", 1),
        ("sign", ">=", 3),
        ("number", "50%", 6),
        ("text", "a b", 10),
        ("end", "", 15),
    ]


@pytest.mark.parametrize("text", ["30s", "15m", "1h", "36h", "7d", "250ms"])
def test_lengths_of_time_read_back(text: str) -> None:
    assert as_text(seconds_of(text)) == text


@pytest.mark.parametrize("text", ["", "15", "m", "1h30m", "-5m", "5 m", "1e3s"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        seconds_of(text)
