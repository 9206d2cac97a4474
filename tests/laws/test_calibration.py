"""What every head that gives logits must keep when its probabilities are calibrated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from adaptune.core.batch import Batch
from adaptune.core.calibration import Calibrated, Calibration
from adaptune.core.errors import Unsupported
from adaptune.core.head import LogitHead
from adaptune.heads import HEADS
from adaptune.models.assembly import Assembly

CALIBRATED = [name for name in HEADS.names() if issubclass(HEADS.get(name), LogitHead)]
TEMPERATURES = (0.05, 0.5, 1.0, 3.0, 20.0)


@pytest.fixture(params=CALIBRATED)
def assembly(
    request: pytest.FixtureRequest, assemble: Callable[..., Assembly], scatter: Callable[..., Assembly]
) -> Assembly:
    return scatter(assemble("bert", {"name": "head_only"}, request.param)).eval()


def test_a_temperature_changes_no_value_and_none_is_that_of_one(
    assembly: Assembly, batch_for: Callable[..., Batch]
) -> None:
    batch = batch_for(assembly, rows=12)
    plain = assembly.answers(batch)
    for temperature in TEMPERATURES:
        assembly.calibrated = Calibrated(Calibration(temperature=temperature))
        found = assembly.answers(batch)
        assert {row: (one.value, one.span) for row, one in found.items()} == {
            row: (one.value, one.span) for row, one in plain.items()
        }
        assert (found == plain) == (temperature == 1.0)
        assert all(0 < (one.probability or 0) <= 1 for one in found.values())


def test_logits_and_targets_have_the_loss_that_the_head_learns(
    assembly: Assembly, batch_for: Callable[..., Batch]
) -> None:
    batch = batch_for(assembly, rows=12)
    head = assembly.head
    assert isinstance(head, LogitHead)
    with assembly.recording() as seen:
        assembly.answers(batch)
    [(logits, targets)] = seen
    if head.link == "sigmoid":
        own = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets) * logits.shape[1]
    else:
        own = torch.nn.functional.cross_entropy(logits, targets)
    with torch.inference_mode():
        linear, features = head.linear(assembly.layer), assembly.features(batch)
        if linear is None:
            found = assembly(batch)
            learned = found.total / found.items
        else:
            assert features is not None
            learned = head.convex_loss(assembly.layer, linear(features), batch.labels)
    assert float(own) == pytest.approx(float(learned), rel=1e-5)


def test_a_divided_layer_gives_the_calibrated_probabilities(
    assembly: Assembly, batch_for: Callable[..., Batch]
) -> None:
    batch = batch_for(assembly, rows=12)
    assert isinstance(assembly.head, LogitHead)
    assembly.calibrated = Calibrated(Calibration(temperature=1.7))
    expected = assembly.answers(batch)
    if assembly.head.reads_words:
        with pytest.raises(Unsupported, match="the base's own output layer"):
            assembly.head.divide(assembly.layer, 1.7)
        return
    assembly.head.divide(assembly.layer, 1.7)
    assembly.calibrated = None
    for row, one in assembly.answers(batch).items():
        assert one.probabilities == pytest.approx(expected[row].probabilities, abs=1e-6)
        assert dataclasses.replace(one, probability=0, probabilities=(), of_each=()) == dataclasses.replace(
            expected[row], probability=0, probabilities=(), of_each=()
        )
