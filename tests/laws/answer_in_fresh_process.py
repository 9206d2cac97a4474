"""Puts states of every method onto a model and saves the answers. Run by test_methods.py."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from adaptune.core.batch import Batch
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

model, folder = sys.argv[1], Path(sys.argv[2])
backbone = load_backbone(ModelConfig(name=model))
answers = {}
for job in torch.load(folder / "jobs.pt", weights_only=True):
    method = METHODS.make(job["method"])
    assembly = Assembly(backbone, method, HEADS.make({"name": "classify"}), Labels(job["labels"]), seed=99)
    assembly.load(job["state"])
    answers[method.name] = assembly.eval().answers(Batch(**job["batch"]))
torch.save(answers, folder / "answers.pt")
