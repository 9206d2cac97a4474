"""trl's SFTTrainer with peft's LoRA: texts to be written. Documented: SFTConfig's values and those of its peft guide.

These are bf16 and gradients computed anew, on a processor too; tuned, both are off.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, TaskType
from transformers import AutoTokenizer, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from peers.hooks import Told
from peers.reading import LLAMA, RANK, Reader, learned_state, likelihoods
from peers.session import Meter, Order, Session

DOCUMENTED_RATE = 2e-4


class Watch(TrainerCallback):
    """Scores validation texts as all peers' are scored, and keeps the best weights."""

    def __init__(self, session: Session, reader: Reader, every: int) -> None:
        self.session, self.every = session, every
        self.pad = reader.tokenizer.pad_token_id
        self.features = reader.features(session.parts["valid"])
        self.best, self.state = -1.0, {}

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        """Now and then, and at the end."""
        ends = control.should_training_stop or state.global_step >= state.max_steps
        if self.session.order.measure != "quality" or not (ends or state.global_step % self.every == 0):
            return
        score = self.session.scored(likelihoods(model, self.features, self.pad))
        if score > self.best:
            self.best, self.state = score, learned_state(model)


def arguments(order: Order, folder: str, rows: int) -> tuple[SFTConfig, LoraConfig]:
    """SFTConfig's own values; we switch off what costs time on a processor and group by length."""
    total = max(1, int(-(-rows // 8) * order.passes))
    given: dict[str, Any] = {}
    if order.tuned:
        given = {
            "bf16": False,
            "gradient_checkpointing": False,
            "train_sampling_strategy": "group_by_length",
            "warmup_steps": int(0.06 * total),
        }
    config = SFTConfig(
        output_dir=folder,
        learning_rate=order.rate or DOCUMENTED_RATE,
        max_steps=total,
        save_strategy="no",
        seed=order.seed,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **given,
    )
    dropout = 0.0 if order.tuned else 0.05
    return config, LoraConfig(
        r=RANK, lora_alpha=16, lora_dropout=dropout, target_modules=LLAMA, task_type=TaskType.CAUSAL_LM
    )


def main() -> None:
    """One order."""
    session = Session()
    order, parts = session.order, session.parts
    set_seed(order.seed)
    tokenizer = AutoTokenizer.from_pretrained(order.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    reader = Reader(tokenizer, "write", parts["train"], standardised=False)
    with tempfile.TemporaryDirectory() as folder:
        config, adapter = arguments(order, folder, len(parts["train"]))
        every = max(1, -(-len(parts["train"]) // config.per_device_train_batch_size) // order.of.evaluations)
        trainer = SFTTrainer(
            model=order.model,
            args=config,
            train_dataset=Dataset.from_list([{"prompt": row.text, "completion": row.label} for row in parts["train"]]),
            processing_class=tokenizer,
            peft_config=adapter,
        )
        watch = Watch(session, reader, every)
        trainer.add_callback(Told(session, Meter(trainer.model)))
        trainer.add_callback(watch)
        trainer.train()
    if order.measure == "quality":
        trainer.model.load_state_dict(watch.state, strict=False)
        with torch.inference_mode():
            test = reader.features(parts["test"])
            session.finish(likelihoods(trainer.model, test, watch.pad) if order.tested else None)


if __name__ == "__main__":
    main()
