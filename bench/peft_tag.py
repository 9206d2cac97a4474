"""Named entities with plain transformers + peft: the loop that their documentation teaches, and nothing of adaptune's.

Labels on the first piece of each word, dropout as the model's configuration has it, AdamW, a linear schedule,
batches of rows of like length, the epoch with the best F1 on validation rows kept.

    python bench/peft_tag.py --model FOLDER --train A --valid B --test C --learning-rate 2e-3 --seed 1 --out run.json
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities
from transformers import AutoModelForTokenClassification, AutoTokenizer, get_linear_schedule_with_warmup

Sentence = tuple[list[str], list[str]]


def main() -> None:
    """One run, its figures as JSON."""
    options = parse()
    torch.manual_seed(options.seed)
    shuffle = random.Random(options.seed)
    parts = {name: list(read(getattr(options, name))) for name in ("train", "valid", "test")}
    names = sorted({tag for _, tags in parts["train"] for tag in tags})
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    encoded = {name: [encode(tokenizer, names, row) for row in rows] for name, rows in parts.items()}
    model = AutoModelForTokenClassification.from_pretrained(options.model, num_labels=len(names))
    lora = LoraConfig(
        task_type=TaskType.TOKEN_CLS,
        r=8,
        lora_alpha=16,
        lora_dropout=0.0,
        target_modules=["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"],
    )
    model = get_peft_model(model, lora)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.learning_rate, weight_decay=0.01)
    total = options.epochs * -(-len(encoded["train"]) // options.batch_rows)
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.06 * total), total)
    started, best, curve = time.perf_counter(), (-1.0, {}), []
    for epoch in range(options.epochs):
        model.train()
        for batch in batches(encoded["train"], options.batch_rows, shuffle):
            loss = model(**collate(batch, tokenizer.pad_token_id)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        score = f1_score([tags for _, tags in parts["valid"]], answer(model, encoded["valid"], names, parts["valid"]))
        curve.append({"epoch": epoch + 1, "seconds": time.perf_counter() - started, "f1": float(score)})
        if score > best[0]:
            best = (float(score), {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad})
    seconds = time.perf_counter() - started
    model.load_state_dict(best[1], strict=False)
    predicted = answer(model, encoded["test"], names, parts["test"])
    expected = [tags for _, tags in parts["test"]]
    result = {
        "system": "transformers+peft",
        "seed": options.seed,
        "learning_rate": options.learning_rate,
        "valid_f1": best[0],
        "test_f1": float(f1_score(expected, predicted)),
        "seconds": seconds,
        "curve": curve,
        "parameters": sum(p.numel() for p in trained),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "counts": [counts(given, wanted) for given, wanted in zip(predicted, expected, strict=True)],
    }
    options.out.write_text(json.dumps(result) + "\n")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    for part in ("train", "valid", "test"):
        parser.add_argument(f"--{part}", type=Path, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-rows", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def read(path: Path) -> Iterator[Sentence]:
    """Sentences of a CoNLL file: words and BIO tags."""
    words: list[str] = []
    tags: list[str] = []
    for line in [*path.read_text(encoding="utf-8").split("\n"), ""]:
        fields = line.split()
        if fields:
            words.append(fields[0])
            tags.append(fields[-1])
        elif words:
            yield words, tags
            words, tags = [], []


def encode(tokenizer: Any, names: list[str], row: Sentence) -> dict[str, list[int]]:
    """Token ids, and labels on first pieces (-100 elsewhere)."""
    words, tags = row
    output = tokenizer(words, is_split_into_words=True, truncation=True, max_length=512)
    labels, before = [], None
    for word in output.word_ids():
        labels.append(-100 if word is None or word == before else names.index(tags[word]))
        before = word
    return {"input_ids": output["input_ids"], "labels": labels}


def batches(rows: list[Any], size: int, shuffle: random.Random) -> Iterator[list[Any]]:
    """Random batches of rows of like length."""
    order = sorted(range(len(rows)), key=lambda index: (len(rows[index]["input_ids"]), shuffle.random()))
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    shuffle.shuffle(groups)
    for group in groups:
        yield [rows[index] for index in group]


def collate(rows: list[Any], pad: int) -> dict[str, torch.Tensor]:
    """Padded tensors."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(key: str, fill: int) -> torch.Tensor:
        return torch.tensor([row[key] + [fill] * (longest - len(row[key])) for row in rows])

    ids = padded("input_ids", pad)
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    mask = (torch.arange(longest)[None, :] < lengths[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": padded("labels", -100)}


@torch.inference_mode()
def answer(model: Any, rows: list[Any], names: list[str], sentences: list[Sentence]) -> list[list[str]]:
    """The most probable tag of every word; a word beyond the model's length is outside."""
    model.eval()
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]["input_ids"]))
    found: dict[int, list[str]] = {}
    for start in range(0, len(order), 64):
        group = order[start : start + 64]
        batch = collate([rows[index] for index in group], 0)
        best = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.argmax(-1)
        for index, tags, labels in zip(group, best.tolist(), batch["labels"].tolist(), strict=True):
            given = [names[tag] for tag, label in zip(tags, labels, strict=True) if label != -100]
            found[index] = given + ["O"] * (len(sentences[index][0]) - len(given))
    return [found[index] for index in range(len(rows))]


def counts(predicted: list[str], expected: list[str]) -> list[int]:
    """Right, predicted and expected entities of one sentence."""
    given, wanted = set(get_entities(predicted)), set(get_entities(expected))
    return [len(given & wanted), len(given), len(wanted)]


if __name__ == "__main__":
    main()
