"""Two runs side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.unit.history.conftest import DIGESTS, Write

from adaptune.cli.listed import print_difference
from adaptune.core.errors import AdaptuneError
from adaptune.history.difference import Change, difference

RIGHT = ["good", "bad"] * 20
WRONG = ["bad"] * 10 + RIGHT[10:]
"""5 of 40 answers are wrong."""


def test_only_what_differs_is_told(write: Write) -> None:
    first = write("first", predicted=RIGHT, accuracy=1.0)
    second = write("second", predicted=RIGHT, method={"rank": 16}, digests=DIGESTS | {"train": "c" * 64})
    found = difference(first.path, second.path)
    assert found.recipe == (Change("method.rank", 8, 16),)
    assert found.data == (Change("data.train, SHA-256", "a" * 64, "c" * 64),)
    assert found.environment == ()
    assert [(score.part, score.first, score.second) for score in found.scores] == [
        ("test", 1.0, 0.5),
        ("valid", 0.8, 0.8),
    ]


def test_a_difference_on_the_same_rows_has_an_interval(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    first = write("first", predicted=WRONG)
    second = write("second", predicted=RIGHT)
    found = difference(first.path, second.path)
    [paired] = found.paired
    assert (paired.rows, paired.differ, paired.difference) == (40, 5, pytest.approx(5 / 40))
    generator, gained = np.random.default_rng(7), np.array([1] * 5 + [0] * 35)
    drawn = np.mean(generator.choice(gained, (20_000, 40)), axis=1)  # a second bootstrap, row by row
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (paired.low, paired.high) == pytest.approx((low, high), abs=0.026)
    assert paired.distinct
    print_difference(found)
    assert "second less first: +0.1250" in capsys.readouterr().out


def test_without_the_same_rows_it_says_why_there_is_none(write: Write) -> None:
    first = write("first", predicted=RIGHT)
    other = write("other", predicted=RIGHT, digests=DIGESTS | {"test": "d" * 64})
    assert difference(first.path, other.path).unpaired == ("the files that test rows come from differ",)
    fewer = write("fewer", predicted=RIGHT[:10])
    assert difference(first.path, fewer.path).unpaired == ("the test rows are not the same ones (40 and 10)",)
    fewer.predictions.unlink()
    assert "keeps no predictions.jsonl" in difference(first.path, fewer.path).unpaired[0]


def test_a_folder_that_is_no_run_is_refused(write: Write, tmp_path: Path) -> None:
    first = write("first")
    with pytest.raises(AdaptuneError, match="holds 1 runs and is none itself; name one of them"):
        difference(first.path, tmp_path / "runs")
    with pytest.raises(AdaptuneError, match=r"is no run folder: it holds no environment\.json"):
        difference(first.path, tmp_path / "nowhere")
