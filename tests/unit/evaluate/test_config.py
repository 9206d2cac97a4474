"""The recipe's evaluate section."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from adaptune.evaluate.config import EvaluateConfig


def test_the_defaults_measure_baselines_and_write_predictions() -> None:
    config = EvaluateConfig()
    assert (config.samples, config.level, config.baselines, config.predictions) == (1000, 0.95, True, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"abstain": 95},
        {"out_of_scope": "entropy"},
        {"in_scope_kept": 0},
        {"level": 95},
        {"samples": 10},
        {"batch_tokens": 0},
        {"bootstrap": 100},
    ],
)
def test_values_out_of_range_and_unknown_keys_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EvaluateConfig.model_validate(wrong)
