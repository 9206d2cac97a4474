"""Running averages of weights: what they are, that they are what is judged and kept, and where they would be wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptune.core.batch import Encoded
from adaptune.core.errors import Unsupported
from adaptune.data.batches import Batches, Budget
from adaptune.engine.averaging import USUAL, averaged_share
from adaptune.engine.checkpoint import load_checkpoint, save_checkpoint
from adaptune.engine.config import TrainConfig
from adaptune.engine.fit import Evaluation, Fit
from adaptune.models.assembly import Assembly

Assemble = Callable[..., Assembly]
Rows = Callable[..., list[Encoded]]
LORA = {"name": "lora", "rank": 4}


def _fit(assembly: Assembly, encoded: list[Encoded], evaluate: Callable[[], float], **more: Any) -> Fit:
    resumed = more.pop("resumed", None)
    config = TrainConfig.model_validate(
        {"epochs": 4, "device": "cpu", "patience": None, "warm_start": False, "learning_rate": 0.05, **more}
    )
    batches = Batches(encoded, Budget(tokens=1024, rows=8), pad=assembly.backbone.tokenizer.pad_token_id, seed=3)
    return Fit(
        assembly, batches, config, seed=3, metric="f1", evaluate=lambda: {"f1": evaluate()}, resumed=resumed, run="r"
    )


def _copy(assembly: Assembly) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in assembly.state().items()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor], within: float = 0.0) -> bool:
    return all(tensor.allclose(other[name], rtol=0, atol=within) for name, tensor in one.items())


@pytest.mark.parametrize("schedule", ["constant", "linear"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_averages_are_judged_and_kept_and_training_goes_on_with_the_last_weights(
    assemble: Assemble, encoded_for: Rows, share: float, schedule: str
) -> None:
    assembly = assemble("bert", LORA)
    encoded = encoded_for(assembly, rows=24)
    judged: list[dict[str, Tensor]] = []
    last: list[dict[str, Tensor]] = []
    rates: list[float] = []

    def evaluate() -> float:
        judged.append(_copy(assembly))
        return float(len(judged))

    given = {"schedule": schedule, "warmup": 0}
    fit = _fit(assembly, encoded, evaluate, average=share, **given)
    for event in fit:
        if not isinstance(event, Evaluation):
            last.append(_copy(assembly))
            rates.append(event.rate)
    assert len(last) == 12
    assert rates == pytest.approx([1.0] * 12 if schedule == "constant" else [(12 - step) / 12 for step in range(12)])
    average = last[0]
    for step, weights in enumerate(last[1:], start=2):
        part = 1 / (1 + rates[step - 1] * share * (step - 1))
        average = {name: (1 - part) * average[name] + part * weights[name] for name in weights}
    assert _same(judged[-1], average, within=1e-5)
    assert _same(judged[-1], last[-1]) == (share == 0)
    if share == 1.0 and schedule == "constant":
        mean = {name: torch.stack([weights[name] for weights in last]).mean(dim=0) for name in average}
        assert _same(average, mean, within=1e-5)
    assert _same(_copy(assembly), judged[-1]), "what was judged best is what stands at the end"
    plain = assemble("bert", LORA)
    without: list[dict[str, Tensor]] = []
    for event in _fit(plain, encoded, lambda: 0.0, average=0, **given):
        if not isinstance(event, Evaluation):
            without.append(_copy(plain))
    assert all(_same(one, other) for one, other in zip(last, without, strict=True)), "the way is the same"


def test_a_training_that_goes_on_has_the_same_averages(assemble: Assemble, encoded_for: Rows, tmp_path: Path) -> None:
    whole, scores = assemble("bert", LORA), iter([0.1, 0.2, 0.3, 0.4, 0.5])
    encoded = encoded_for(whole, rows=24)
    list(_fit(whole, encoded, lambda: next(scores), average=0.3))
    halved, again = assemble("bert", LORA), iter([0.1, 0.2, 0.3, 0.4, 0.5])
    first = _fit(halved, encoded, lambda: next(again), average=0.3)
    for event in first:
        if not isinstance(event, Evaluation) and event.number == 5:
            save_checkpoint(tmp_path, first.checkpoint())
            break
    rest = assemble("bert", LORA)
    resumed = load_checkpoint(tmp_path, "r")
    list(_fit(rest, encoded, lambda: next(again), average=0.3, resumed=resumed))
    assert _same(_copy(whole), _copy(rest))


def test_auto_averages_where_little_learns_and_nothing_is_against_it(assemble: Assemble) -> None:
    usual = TrainConfig()
    assert averaged_share(assemble("bert", {"name": "bitfit"}), usual) == USUAL
    assert averaged_share(assemble("bert", {"name": "full"}), usual) == 0
    assert averaged_share(assemble("bert", {"name": "bitfit"}), TrainConfig(settle=0.5)) == 0
    assert averaged_share(assemble("bert", {"name": "adalora", "initial_rank": 2, "rank": 1}), usual) == 0


def test_where_averages_would_be_wrong_they_are_refused(assemble: Assemble) -> None:
    with pytest.raises(Unsupported, match="'adalora' decides at steps which weights there are"):
        averaged_share(assemble("bert", {"name": "adalora"}), TrainConfig(average=0.1))
    with pytest.raises(Unsupported, match=r"train\.settle is 0\.5"):
        averaged_share(assemble("bert", LORA), TrainConfig(average=0.1, settle=0.5))
    assert math.isclose(averaged_share(assemble("bert", {"name": "full"}), TrainConfig(average=0.1)), 0.1)
