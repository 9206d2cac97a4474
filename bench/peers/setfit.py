"""SetFit: the whole sentence encoder learns from pairs of sentences, then logistic regression on its vectors.

Documented: eight sentences a label, as its quickstart has it, and its own values for the rest. Tuned: about a thousand
sentences in pairs, at least sixteen a label, and the regression over all training rows. All weights of the encoder
learn: SetFit has no LoRA of its own.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments
from transformers import TrainerCallback

from peers.hooks import Told
from peers.rows import Row
from peers.session import Meter, Order, Session

PER_LABEL, LEAST, ABOUT = 8, 16, 1000
POINTS = 4
"""Of the curve, before the last one."""


def drawn(rows: Sequence[Row], order: Order) -> list[Row]:
    """The sentences that pairs are made of."""
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    number = max(LEAST, ABOUT // len(by_label)) if order.tuned else PER_LABEL
    chance = random.Random(order.seed)
    return [row for found in by_label.values() for row in chance.sample(found, min(number, len(found)))]


def as_dataset(rows: Sequence[Row]) -> Dataset:
    """text, label"""
    return Dataset.from_dict({"text": [row.text for row in rows], "label": [row.label for row in rows]})


def arguments(order: Order, folder: str) -> TrainingArguments:
    """SetFit's own values; we draw five pairs of each kind a sentence instead of all there are."""
    tuned = {"num_iterations": 5} if order.tuned else {}
    rate = {"body_learning_rate": order.rate} if order.rate else {}
    endless = {"num_epochs": int(order.passes)} if order.measure != "quality" else {}
    few = {"max_steps": order.max_steps} if order.max_steps and order.measure == "quality" else {}
    return TrainingArguments(
        output_dir=folder,
        save_strategy="no",
        report_to="none",
        show_progress_bar=False,
        seed=order.seed,
        **tuned,
        **rate,
        **endless,
        **few,
    )


class Classifier:
    """The regression on top of the encoder as it stands."""

    def __init__(self, session: Session, trainer: Trainer, rows: Sequence[Row]) -> None:
        self.session, self.trainer = session, trainer
        self.texts, self.labels = [row.text for row in rows], [row.label for row in rows]

    def fit(self) -> None:
        """To its optimum."""
        body = self.trainer.model.model_body
        was = body.training
        self.trainer.train_classifier(self.texts, self.labels)
        body.train(was)

    def answer(self, part: str) -> list[str]:
        """One label a row."""
        body = self.trainer.model.model_body
        was = body.training
        found = self.trainer.model.predict([row.text for row in self.session.parts[part]], as_numpy=True)
        body.train(was)
        return [str(label) for label in found]


class Watch(TrainerCallback):
    """Points of the curve: the score if the regression were fitted now, the time of that included.

    SetFit does no such thing before its end: the work itself is not on its clock.
    """

    def __init__(self, session: Session, classifier: Classifier) -> None:
        self.session, self.classifier = session, classifier

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """A few times in a run."""
        every = max(1, state.max_steps // (POINTS + 1))
        if self.session.order.measure != "quality" or state.global_step % every or control.should_training_stop:
            return
        began = time.monotonic()
        self.classifier.fit()
        self.session.scored(self.classifier.answer("valid"))
        self.session.paused += time.monotonic() - began


def main() -> None:
    """One order."""
    session = Session()
    order, rows = session.order, session.parts["train"]
    some = drawn(rows, order)
    torch.manual_seed(order.seed)
    model = SetFitModel.from_pretrained(order.model)
    if order.tuned:
        for module in model.model_body.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(model=model, args=arguments(order, folder), train_dataset=as_dataset(some))
        classifier = Classifier(session, trainer, rows if order.tuned else some)
        trainer.add_callback(Told(session, Meter(model.model_body[0])))
        trainer.add_callback(Watch(session, classifier))
        trainer.train_embeddings(*trainer.dataset_to_parameters(trainer.train_dataset), args=trainer.args)
        if order.measure == "quality":
            classifier.fit()
            session.scored(classifier.answer("valid"))
            session.finish(classifier.answer("test") if order.tested else None, pairs_of=len(some))


if __name__ == "__main__":
    main()
