"""Trains as one of several processes; the first of them saves the weights. Run by test_engine.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch

from adaptune.core.batch import Batch, Encoded
from adaptune.core.types import Labels
from adaptune.data.batches import collate
from adaptune.engine.config import TrainConfig
from adaptune.engine.loop import train
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

folder, jobs, out = sys.argv[1:]
backbone = load_backbone(ModelConfig(name=folder))


class Fixed:
    """The same batches in every epoch."""

    def __init__(self, batches: list[list[Encoded]]) -> None:
        self.batches = batches

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        return (collate(rows, backbone.tokenizer.pad_token_id) for rows in self.batches[skip:])

    def per_epoch(self) -> int:
        return len(self.batches)


results = []
for job in torch.load(jobs, weights_only=False):
    method, head = METHODS.make(job["method"]), HEADS.make({"name": job["head"]})
    assembly = Assembly(backbone, method, head, Labels(job["labels"]), seed=0)
    for module in assembly.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    steps = train(assembly, Fixed(job["batches"]), TrainConfig.model_validate(job["train"]), seed=0)
    results.append({"losses": [step.loss for step in steps], "state": assembly.state()})
if torch.distributed.get_rank() == 0:
    torch.save(results, out)
torch.distributed.destroy_process_group()
