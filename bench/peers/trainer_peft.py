"""transformers' Trainer with peft's LoRA. Documented: as peft's quicktour and transformers' guides configure it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from peft import TaskType, get_peft_model
from torch.utils.data import Sampler, SequentialSampler
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    EvalPrediction,
    Trainer,
    TrainingArguments,
    set_seed,
)

from peers.hooks import Told
from peers.reading import IGNORED, Feature, Reader, loading, lora
from peers.rows import Row
from peers.session import Meter, Order, Session

ROWS = 32
GUIDE, GUIDE_ROWS, GUIDE_LENGTH = "guide_batches", 16, 128
"""Of the batches of many a guide, which pads whatever it reads to one length."""


class InOrder(Trainer):
    """Grouping by length is for training rows; others come in our order."""

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler[int]:
        return SequentialSampler(eval_dataset)


def build(order: Order, reader: Reader) -> Any:
    """The model that the guide of the task uses, with LoRA on it."""
    kind, given = reader.kind, loading(order)
    if kind == "write":
        model = AutoModelForCausalLM.from_pretrained(order.model, **given)
        return get_peft_model(model, lora(order, task_type=TaskType.CAUSAL_LM))
    if kind == "tag":
        model = AutoModelForTokenClassification.from_pretrained(order.model, num_labels=len(reader.names), **given)
        return get_peft_model(model, lora(order, task_type=TaskType.TOKEN_CLS))
    model = AutoModelForSequenceClassification.from_pretrained(
        order.model, num_labels=max(1, len(reader.names)), **given
    )
    return get_peft_model(model, lora(order, task_type=TaskType.SEQ_CLS))


def arguments(order: Order, folder: str, rows: int) -> TrainingArguments:
    """Documented: quicktour's; we add grouping by length, a short warm-up and smoothed labels."""
    size = GUIDE_ROWS if order.peer == GUIDE else order.batch_rows or ROWS
    steps_per_epoch = -(-rows // size)
    quality = order.measure == "quality"
    every = max(1, steps_per_epoch // order.of.evaluations)
    total = max(1, int(steps_per_epoch * order.passes))
    tuned = {"train_sampling_strategy": "group_by_length", "warmup_steps": int(0.06 * total)} if order.tuned else {}
    if order.tuned and order.of.kind in ("classify", "tag"):
        tuned["label_smoothing_factor"] = 0.1  # as the loop by hand has
    return TrainingArguments(
        output_dir=folder,
        learning_rate=order.rate or 1e-3,
        per_device_train_batch_size=size,
        per_device_eval_batch_size=ROWS,
        max_steps=total,
        weight_decay=0.01,
        eval_strategy="steps" if quality else "no",
        eval_steps=every,
        save_strategy="steps" if quality else "no",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=quality,
        metric_for_best_model="score",
        greater_is_better=True,
        label_names=["labels"],
        seed=order.seed,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **tuned,
    )


def collator(reader: Reader, order: Order) -> Any:
    """Padding to the longest of the batch."""
    if order.peer == GUIDE:
        kind = DataCollatorForTokenClassification if reader.kind == "tag" else DataCollatorWithPadding
        return kind(reader.tokenizer, padding="max_length", max_length=GUIDE_LENGTH)
    if reader.kind == "write":
        return DataCollatorForSeq2Seq(reader.tokenizer, label_pad_token_id=IGNORED)
    if reader.kind == "tag":
        return DataCollatorForTokenClassification(reader.tokenizer)
    return DataCollatorWithPadding(reader.tokenizer)


def reduced(kind: str) -> Any:
    """What is kept of the logits of an evaluation: labels, numbers, or log-probabilities of the right tokens."""

    def reduce(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if kind == "regress":
            return logits[:, 0]
        if kind != "write":
            return logits.argmax(-1)
        goal = labels[:, 1:].clamp(min=0)[..., None]
        return logits[:, :-1].float().log_softmax(-1).gather(-1, goal)[..., 0]

    return reduce


class Answers:
    """Rows of a part in the order in which they are evaluated, and their answers in the order of the part."""

    def __init__(self, rows: Sequence[Row], features: list[Feature], reader: Reader, *, grouped: bool) -> None:
        self.rows, self.reader = rows, reader
        lengths = [len(feature["input_ids"]) for feature in features]
        self.order = sorted(range(len(rows)), key=lambda i: lengths[i]) if grouped else list(range(len(rows)))
        self.features = [features[index] for index in self.order]

    def read(self, found: Any, labels: Any) -> list[Any]:
        """As peers.scores reads them."""
        answers = {index: self._one(index, found[i], labels[i]) for i, index in enumerate(self.order)}
        return [answers[index] for index in range(len(self.rows))]

    def _one(self, index: int, found: Any, labels: Any) -> Any:
        kind = self.reader.kind
        if kind == "regress":
            return float(found)
        if kind == "classify":
            return self.reader.names[int(found)]
        if kind == "tag":
            return self.reader.tags(found.tolist(), labels.tolist(), len(self.rows[index].text))
        learned = labels[1:] != IGNORED
        return float(found[: len(learned)][learned].sum()), int(learned.sum())


def main() -> None:
    """One order."""
    session = Session()
    order, parts = session.order, session.parts
    set_seed(order.seed)
    tokenizer = AutoTokenizer.from_pretrained(order.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    reader = Reader(tokenizer, order.of.kind, parts["train"], standardised=order.tuned)
    features = {part: reader.features(rows) for part, rows in parts.items()}
    valid, test = (Answers(parts[part], features[part], reader, grouped=order.tuned) for part in ("valid", "test"))
    model = build(order, reader)

    def score(given: EvalPrediction) -> dict[str, float]:
        return {"score": session.scored(valid.read(np.asarray(given.predictions), np.asarray(given.label_ids)))}

    with tempfile.TemporaryDirectory() as folder:
        trainer = InOrder(
            model=model,
            args=arguments(order, folder, len(parts["train"])),
            train_dataset=features["train"],
            eval_dataset=valid.features,
            data_collator=collator(reader, order),
            processing_class=tokenizer,
            compute_metrics=score,
            preprocess_logits_for_metrics=reduced(reader.kind),
            callbacks=[Told(session, Meter(model))],
        )
        trainer.train()
        if order.measure == "quality":
            trainer.compute_metrics = None
            found = trainer.predict(test.features) if order.tested else None
            session.finish(found and test.read(found.predictions, found.label_ids))


if __name__ == "__main__":
    main()
