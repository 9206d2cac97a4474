"""Rule files: read strictly, every fault told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.core.errors import RecipeError
from adaptune.serve.watch.rules import read_rules

GOOD = """
rules:
  - name: too negative
    bundle: reviews
    when: share(label=negative, window=15m) > 0.4 and n >= 50
    cooldown: 1h
    severity: critical
  - {name: other texts, bundle: reviews, when: "drift(length) > 0.2", window: 6h}
"""

TOLD = [
    "line 1: rule 5 is 'just text', expected a mapping with name, bundle and when",
    (
        "line 4: rule 1 'a', when, column 7: share has no argument 'lable'; did you mean 'label'? "
        "(it has: label, window)"
    ),
    (
        "line 8: rule 2 'b', severty: there is no such key; did you mean 'severity'? "
        "(a rule has: name, bundle, task, when, window, cooldown, severity)"
    ),
    "line 9: rule 2 'b', cooldown: Input should be a valid string",
    (
        "line 13: there is no key 'rulez'; did you mean 'rules'?; "
        "rules stand in a mapping with the one key `rules`, a list of {name, bundle, when, ...}"
    ),
    "2 rules are called 'c'; give each a name of its own",
]


def written(folder: Path, text: str) -> Path:
    file = folder / "rules.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_rules_read_with_their_defaults(tmp_path: Path) -> None:
    first, second = read_rules(written(tmp_path, GOOD))
    assert (first.name, first.bundle, first.severity, first.silence) == ("too negative", "reviews", "critical", 3600)
    assert (first.windows, second.windows) == ({900.0}, {21_600.0})
    assert (second.severity, second.silence, second.task) == ("warning", 1800, None)


def test_every_fault_is_told_with_its_line_its_rule_and_its_place(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "rules:\n"
        "  - name: a\n"
        "    bundle: reviews\n"
        "    when: share(lable=x, window=15m) > 0.4\n"
        "  - name: b\n"
        "    bundle: reviews\n"
        "    when: n(window=15m) > 4\n"
        "    severty: warning\n"
        "    cooldown: 30\n"
        "  - {name: c, bundle: reviews, when: n(window=15m) > 4}\n"
        "  - {name: c, bundle: reviews, when: n(window=15m) > 4}\n"
        "  - just text\n"
        "rulez: []\n",
    )
    with pytest.raises(RecipeError) as caught:
        read_rules(file)
    assert list(caught.value.problems) == TOLD


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "rules stand in a mapping"),
        ("- a", "rules stand in a mapping"),
        ("rules: []", "there are no rules"),
        ("rules: [{name: a, bundle: b}]", "rule 1 'a', when: Field required"),
        ("rules: [{name: a, bundle: b, when: n > 1, window: 5y}]", "rule 1 'a', window: '5y' is no length of time"),
        (
            "rules: [{name: a, bundle: b, when: n > 1, window: 1s}]",
            "'a', window: a window lasts from 10s to 30d",
        ),
        ("rules: [{name: a, bundle: b, when: n > 1, cooldown: x, window: 1m}]", "cooldown: 'x' is no length of time"),
        ("rules: [{name: a, bundle: b, when: n > 1, severity: bad, window: 1m}]", "severity: Input should be 'info'"),
        ("rules: [", "line 1, column 9"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_rules(written(tmp_path, text))
    assert message in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        read_rules(tmp_path / "none.yaml")
