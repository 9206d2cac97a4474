"""Rows as token ids, what carries loss, where LoRA stands: what the peers on transformers and peft have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft import LoraConfig

from peers.rows import Kind, Row, names_of
from peers.session import Order

IGNORED = -100
BERT = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj"]
RANK = 8
Feature = dict[str, Any]


def lora(order: Order, **more: Any) -> LoraConfig:
    """Rank 8 on all matrices of attention; documented: the other values are those of peft's quicktour."""
    alpha, dropout = (16, 0.0) if order.without_dropout else (32, 0.1)
    targets = LLAMA if order.of.kind == "write" else BERT
    return LoraConfig(r=RANK, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets, **more)


def loading(order: Order) -> dict[str, Any]:
    """Arguments of from_pretrained. Where we tune: no dropout in the frozen model, weights in fp32."""
    if not order.without_dropout:
        return {}
    off = {"attention_dropout": 0.0} if order.of.kind == "write" else {}
    if order.of.kind != "write":
        off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return {"dtype": torch.float32, **off}


class Reader:
    """Rows of one task as features: `input_ids`, `labels` and what else the tokenizer gives."""

    def __init__(self, tokenizer: Any, kind: Kind, train: Sequence[Row], *, standardised: bool) -> None:
        """`standardised`: numbers have mean 0 and deviation 1 over the training rows."""
        self.tokenizer, self.kind = tokenizer, kind
        self.names = names_of(kind, list(train))
        self._index = {name: index for index, name in enumerate(self.names)}
        self.mean, self.deviation = 0.0, 1.0
        if kind == "regress" and standardised:
            numbers = [row.label for row in train]
            self.mean = math.fsum(numbers) / len(numbers)
            self.deviation = math.sqrt(math.fsum((x - self.mean) ** 2 for x in numbers) / len(numbers))

    def features(self, rows: Sequence[Row]) -> list[Feature]:
        """One a row, in order. Labels that no training row has cannot be learned: those are of test rows alone."""
        if self.kind == "write":
            return self._to_write(rows)
        words = self.kind == "tag"
        pairs = [row.pair for row in rows] if self.kind == "regress" else None
        output = self.tokenizer(
            [row.text for row in rows], pairs, is_split_into_words=words, truncation=True, max_length=512
        )
        return [
            {**{name: output[name][index] for name in output}, "labels": self._label(row, output, index)}
            for index, row in enumerate(rows)
        ]

    def _label(self, row: Row, output: Any, index: int) -> Any:
        if self.kind == "regress":
            return (row.label - self.mean) / self.deviation
        if self.kind == "classify":
            return self._index.get(row.label, 0)
        before, labels = None, []
        for word in output.word_ids(index):
            first = word is not None and word != before
            labels.append(self._index.get(row.label[word], 0) if first else IGNORED)
            before = word
        return labels

    def _to_write(self, rows: Sequence[Row]) -> list[Feature]:
        """Prompt, target and end; only the last two are learned."""
        prompts = self.tokenizer([row.text for row in rows], add_special_tokens=False)["input_ids"]
        targets = self.tokenizer([row.label for row in rows], add_special_tokens=False)["input_ids"]
        found = []
        for prompt, target in zip(prompts, targets, strict=True):
            goal = [*target, self.tokenizer.eos_token_id]
            ids = prompt + goal
            labels = [IGNORED] * len(prompt) + goal
            found.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
        return found

    def tags(self, chosen: Sequence[int], labels: Sequence[int], words: int) -> list[str]:
        """One tag a word from what was chosen at every token; a word that was cut off is outside."""
        found = [self.names[tag] for tag, label in zip(chosen, labels, strict=False) if label != IGNORED]
        return found + ["O"] * (words - len(found))


def by_length(features: Sequence[Feature], tokens: int, rows: int) -> Iterator[list[int]]:
    """Indices in batches of like lengths, each of at most so many tokens, padding included, and rows."""
    batch: list[int] = []
    for index in sorted(range(len(features)), key=lambda index: len(features[index]["input_ids"])):
        length = len(features[index]["input_ids"])
        if batch and (len(batch) == rows or (len(batch) + 1) * length > tokens):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def collate(features: Sequence[Feature], pad: int) -> dict[str, torch.Tensor]:
    """Padded on the right to the longest."""
    longest = max(len(feature["input_ids"]) for feature in features)
    fills = {"input_ids": pad, "labels": IGNORED}
    found = {}
    for name, first in features[0].items():
        if isinstance(first, list):
            fill = fills.get(name, 0)
            found[name] = torch.tensor([f[name] + [fill] * (longest - len(f[name])) for f in features])
        else:
            found[name] = torch.tensor([feature[name] for feature in features])
    return found


@torch.inference_mode()
def likelihoods(model: Any, features: Sequence[Feature], pad: int) -> list[tuple[float, int]]:
    """Of each text the summed log-probability of its tokens, and their number; `model` gives logits."""
    was = model.training
    model.eval()
    found: dict[int, tuple[float, int]] = {}
    for indices in by_length(features, 2048, 32):
        batch = collate([features[index] for index in indices], pad)
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        goal = batch["labels"][:, 1:]
        learned = goal != IGNORED
        chosen = logits[:, :-1].float().log_softmax(-1).gather(-1, goal.clamp(min=0)[..., None])[..., 0]
        totals = (chosen * learned).sum(1).tolist()
        for index, total, number in zip(indices, totals, learned.sum(1).tolist(), strict=True):
            found[index] = (total, number)
    model.train(was)
    return [found[index] for index in range(len(features))]


def learned_state(model: Any) -> dict[str, torch.Tensor]:
    """Copies of what learns."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
