"""An assembly that learns by a loss over the vectors of a batch, whose sequences are passed in parts of like length."""

from __future__ import annotations

import torch
from torch import Tensor

from adaptune.core.approach import LossOfFeatures
from adaptune.core.batch import Batch
from adaptune.core.chosen import chosen
from adaptune.core.head import LossSum
from adaptune.models.assembly import Assembly

PART = 16
"""Sequences of a part: enough to keep a processor busy, few enough to be alike."""


class OnFeatures(Assembly):
    """The trunk of another assembly under a loss that compares all sequences of a batch with each other.

    They must stand in one batch, however long each is: passed together most of what is computed would be padding.
    """

    _loss: LossOfFeatures

    @property
    def couples_rows(self) -> bool:
        return True

    @classmethod
    def of(cls, other: Assembly, loss: LossOfFeatures, *, seed: int) -> OnFeatures:
        """Beside another assembly, whose head says what its vectors are; its layer does not learn."""
        found = cls(
            other.backbone,
            other.method,
            other.head,
            other.labels,
            seed=seed,
            dropout=other.dropout,
            approach=other.approach,
            beside=other,
        )
        found.layer.requires_grad_(False)
        found.below, found._loss = other.below, loss
        return found

    def forward(self, batch: Batch) -> LossSum:
        features = self.head.features(self.layer, self.hidden(batch), batch)
        assert features is not None and batch.labels is not None, "such heads read features of labelled rows"
        return self._loss(features, batch.labels, batch.rows)

    def _hidden(self, batch: Batch) -> Tensor:
        if len(batch.rows) <= PART or batch.decoder_ids is not None:
            return super()._hidden(batch)
        order = batch.mask.sum(dim=1).argsort(stable=True)
        found, width = [], batch.mask.shape[1]
        for places in torch.split(order, PART):
            states = super()._hidden(chosen(batch, places.tolist(), of_items=self.head.labels_items))
            found.append(torch.nn.functional.pad(states, (0, 0, 0, width - states.shape[1])))
        return torch.cat(found)[order.argsort()]
