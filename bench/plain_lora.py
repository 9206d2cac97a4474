"""LoRA with transformers' Trainer and peft, as their guides have it, on a recipe's rows: how long five epochs take.

    python bench/plain_lora.py recipes/banking77.yaml --model FOLDER --out plain.json data.train_rows=2000

Batches of 16 rows of like lengths, the model's own dropout, an evaluation an epoch; nothing of adaptune but the reading
of the rows, so that both see the same ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from adaptune.core.types import Example
from adaptune.prepare import prepare
from adaptune.recipe import load_recipe

EPOCHS, ROWS, IGNORED = 5, 16, -100


def main() -> None:
    """One run, its seconds as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, [*options.overrides, f"model.name={options.model}"])
    splits = prepare(recipe).splits
    tags = recipe.task.name == "tag"
    names = recipe.task.labels(splits.train).names
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    read = _tagged if tags else _classified
    rows = {
        part: read(examples, tokenizer, names, recipe.model.max_length)
        for part, examples in (("train", splits.train), ("valid", splits.valid))
    }
    auto = AutoModelForTokenClassification if tags else AutoModelForSequenceClassification
    model = get_peft_model(
        auto.from_pretrained(options.model, num_labels=len(names)),
        LoraConfig(task_type=TaskType.TOKEN_CLS if tags else TaskType.SEQ_CLS, r=8, lora_alpha=16),
    )
    collator = DataCollatorForTokenClassification if tags else DataCollatorWithPadding
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model,
            _arguments(scratch, options.epochs),
            train_dataset=rows["train"],
            eval_dataset=rows["valid"],
            data_collator=collator(tokenizer),
        )
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    figures = {
        "system": "transformers Trainer + peft",
        "recipe": Path(options.recipe).stem,
        "overrides": options.overrides,
        "epochs": options.epochs,
        "rows": len(rows["train"]),
        "seconds": seconds,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures) + "\n", encoding="utf-8")


def _arguments(folder: str, epochs: float) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=epochs,
        learning_rate=1e-3,
        per_device_train_batch_size=ROWS,
        per_device_eval_batch_size=ROWS,
        weight_decay=0.01,
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        seed=1,
    )


def _classified(
    examples: Sequence[Example], tokenizer: Any, names: Sequence[str], most: int | None
) -> list[dict[str, Any]]:
    texts = [str(example.sequences[0].first) for example in examples]
    found = tokenizer(texts, truncation=True, max_length=most or min(512, tokenizer.model_max_length))
    return [
        {"input_ids": ids, "attention_mask": mask, "labels": names.index(example.expected)}
        for ids, mask, example in zip(found["input_ids"], found["attention_mask"], examples, strict=True)
    ]


def _tagged(
    examples: Sequence[Example], tokenizer: Any, names: Sequence[str], most: int | None
) -> list[dict[str, Any]]:
    """The first piece of each word has its tag."""
    found = []
    for example in examples:
        most = most or min(512, tokenizer.model_max_length)
        words = list(example.sequences[0].first)
        one = tokenizer(words, is_split_into_words=True, truncation=True, max_length=most)
        labels, before = [], None
        for word in one.word_ids():
            labels.append(IGNORED if word is None or word == before else names.index(example.expected[word]))
            before = word
        found.append({"input_ids": one["input_ids"], "attention_mask": one["attention_mask"], "labels": labels})
    return found


if __name__ == "__main__":
    main()
