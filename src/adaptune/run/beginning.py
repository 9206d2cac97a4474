"""What an approach does before the first step, with the rows and the model of a run. Knows no approach by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from adaptune.approaches.finetune import Finetune
from adaptune.bundle.answers import encoder_of
from adaptune.core.approach import LossOfFeatures, Taken
from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import Interrupted, Unsupported
from adaptune.core.head import Head
from adaptune.core.log import Progress, notice
from adaptune.core.run_folder import RunDir
from adaptune.core.types import Array, Example, Labels, OfSequence, Row
from adaptune.core.types import Sequence as Text
from adaptune.data.batches import Budget, by_rows, collate
from adaptune.engine.loop import train
from adaptune.engine.signals import Stop
from adaptune.engine.warm_start import collect, fit_head
from adaptune.evaluate.predict import batch_tokens_of
from adaptune.models.in_parts import OnFeatures
from adaptune.run.kitchen import Kitchen


def begin(kitchen: Kitchen, folder: RunDir | None, stop: Stop) -> None:
    """Let the approach do what comes before the warm start, step by step; no folder: logged nowhere.

    Raises Interrupted.
    """
    approach, last = kitchen.assembly.approach, None
    with ExitStack() as shown:
        progress: Progress | None = None
        for taken in approach.before(Beginning(kitchen)):
            if progress is None:
                progress = shown.enter_context(Progress(approach.name, taken.total, unit="steps"))
            if folder is not None:
                folder.log_step({"step": 0, "approach": approach.name} | asdict(taken))
            progress.advance(tokens=taken.tokens, loss=taken.loss)
            last = taken
            if stop.signal is not None:
                raise Interrupted(
                    f"stopped in step {taken.number} of {taken.total} of approach {approach.name!r}, which comes "
                    "before training and is not saved; give the same command again to begin anew",
                    stop.signal,
                )
    if last is not None:
        notice(f"approach {approach.name!r} took {last.number} of {last.total} steps; its last loss is {last.loss:.4f}")


class Beginning:
    """A run's rows through its assembly as it stands: the `Start` of its approach."""

    def __init__(self, kitchen: Kitchen) -> None:
        self._kitchen = kitchen
        self._added: list[Encoded] = []
        """Sequences that follow the training rows, numbered on from these."""
        self._was: dict[str, Tensor] = {}
        """The method's weights before they learned."""

    @property
    def labels(self) -> Labels:
        return self._kitchen.assembly.labels

    @property
    def head(self) -> Head:
        return self._kitchen.assembly.head

    @property
    def layer(self) -> nn.Module:
        return self._kitchen.assembly.layer

    @property
    def seed(self) -> int:
        return self._kitchen.recipe.seed

    def rows(self, part: Literal["train", "valid"]) -> int:
        return len(self._kitchen.examples(part))

    def targets(self) -> Array:
        labels = [one.labels for one in self._training]
        return np.concatenate([label for label in labels if label is not None])

    def features(self, part: Literal["train", "valid"]) -> tuple[Tensor, Tensor]:
        rows: list[Tensor] = []
        features, targets = collect(self._kitchen.assembly, _noting(self._in_order(part), rows))
        order = torch.cat(rows).argsort(stable=True).to(features.device)
        return (features[order], targets[order]) if len(order) == len(features) else (features, targets)

    @torch.inference_mode()
    def features_of(self, texts: Sequence[str]) -> Tensor:
        assembly = self._kitchen.assembly.eval()
        encoded = self._encoded([Text(text) for text in texts])
        device, pad = next(assembly.parameters()).device, assembly.backbone.tokenizer.pad_token_id
        found: dict[int, Tensor] = {}
        tokens = batch_tokens_of(assembly, self._kitchen.recipe.evaluate.batch_tokens)
        for indices in by_rows(encoded, Budget(tokens=tokens, rows=512)):
            batch = collate([encoded[index] for index in indices], pad).to(device)
            features = assembly.features(batch)
            assert features is not None, "texts are read by a head that has features"
            found |= dict(zip(batch.rows.tolist(), features, strict=True))
        return torch.stack([found[row] for row in range(len(texts))])

    def score(self) -> float:
        return self._kitchen.watch()[self._kitchen.metric]

    def choose(self, ways: Sequence[Callable[[], None]]) -> int:
        best = 0
        if len(ways) > 1:
            with self._kitchen.assembly.remembering():  # all are judged on the same rows
                scores = [self._scored(way) for way in ways]
            best = max(range(len(ways)), key=lambda place: scores[place])
        ways[best]()
        return best

    def _scored(self, way: Callable[[], None]) -> float:
        way()
        return self.score()

    def fit(self, strength: float) -> None:
        fit_head(self._kitchen.assembly, self._in_order("train"), strength)

    def add(self, texts: Sequence[tuple[str, str]]) -> None:
        first = self.rows("train") + len(self._added)
        found = self._encoded([Text(text, None, OfSequence(label)) for text, label in texts])
        self._added += [replace(one, row=first + one.row) for one in found]

    def learn(self, loss: LossOfFeatures, plan: Sequence[Array], *, learning_rate: float | None) -> Iterator[Taken]:
        kitchen, own = self._kitchen, self._kitchen.assembly
        self._was = {name: tensor.detach().clone() for name, tensor in own.method.state(own.trunk).items()}
        under = OnFeatures.of(own, loss, seed=self.seed)
        batches = _Planned(self._training, plan, own.backbone.tokenizer.pad_token_id)
        settings = {"epochs": 1, "max_steps": None, "accumulate": 1, "prune": 0.0, "unfreeze": 0.0}
        settings |= {"learning_rate": learning_rate} if learning_rate is not None else {}
        for step in train(under, batches, kitchen.recipe.train.model_copy(update=settings), seed=self.seed):
            yield Taken(step.number, step.total, step.loss, step.tokens)

    def keep(self, share: float) -> None:
        own = self._kitchen.assembly
        now = own.method.state(own.trunk)
        between = {name: was + share * (now[name] - was) for name, was in self._was.items()}
        own.method.load(own.trunk, between)

    @property
    def _training(self) -> list[Encoded]:
        if self._kitchen.tokens is not None:
            raise Unsupported(
                f"approach {self._kitchen.assembly.approach.name!r} draws among all training rows, which are streamed; "
                "set data.shots, or data.stream=never where they fit into memory"
            )
        most = self._kitchen.recipe.train.warm_start_rows
        if most is not None and most < self.rows("train"):
            raise Unsupported(
                f"train.warm_start_rows is {most:,}, and approach {self._kitchen.assembly.approach.name!r} learns from "
                f"all {self.rows('train'):,} training rows; leave it out, or set data.train_rows"
            )
        return [*self._kitchen.encoded["train"], *self._added]

    def _in_order(self, part: Literal["train", "valid"]) -> Iterator[Batch]:
        yield from self._kitchen.in_order(part)
        if part == "train" and self._added:
            yield collate(self._added, self._kitchen.assembly.backbone.tokenizer.pad_token_id)

    def _encoded(self, texts: Sequence[Text]) -> list[Encoded]:
        """Texts as they are, whatever the approach makes of rows."""
        rows = [Example(Row("texts", number, {}), (text,)) for number, text in enumerate(texts, start=1)]
        return replace(encoder_of(self._kitchen.assembly), approach=Finetune())(rows)


def _noting(batches: Iterator[Batch], rows: list[Tensor]) -> Iterator[Batch]:
    """The same batches; the row of each of their sequences is put into a list."""
    for batch in batches:
        rows.append(batch.rows)
        yield batch


class _Planned:
    """Batches as planned, in one pass; their rows are the plan's indices."""

    def __init__(self, encoded: Sequence[Encoded], plan: Sequence[Array], pad: int) -> None:
        self._encoded, self._plan, self._pad = encoded, plan, pad

    def __call__(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        for indices in self._plan[skip:]:
            batch = collate([self._encoded[index] for index in indices.tolist()], self._pad)
            yield replace(batch, rows=torch.from_numpy(indices))

    def per_epoch(self) -> int:
        return len(self._plan)
