"""A loop by hand on PyTorch and peft, as good as we know how to write one: nothing of adaptune's.

Batches are cut by tokens from windows sorted by length; pooled or labelled positions alone reach the output layer;
fused AdamW; prediction in batches of like lengths; the best weights by validation are kept. Documented: dropout and
rates as peft's quicktour and the model's configuration have them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

from peers.reading import IGNORED, Feature, Reader, by_length, collate, learned_state, likelihoods, loading, lora
from peers.session import Order, Session

TOKENS, ROWS = 1024, 64
WINDOW = 50
"""Batches' worth of shuffled rows that are sorted together."""


class Model(nn.Module):
    """The adapted trunk and an output layer, or for texts the model's own."""

    def __init__(self, order: Order, reader: Reader) -> None:
        super().__init__()
        self.kind = reader.kind
        self.smoothing = 0.1 if order.tuned else 0.0
        given = loading(order)
        if self.kind == "write":
            whole = AutoModelForCausalLM.from_pretrained(order.model, **given)
            self.trunk: Any = get_peft_model(whole, lora(order))
        else:
            base = AutoModel.from_pretrained(order.model, add_pooling_layer=False, **given)
            self.trunk = get_peft_model(base, lora(order))
            self.head = nn.Linear(base.config.hidden_size, max(1, len(reader.names)))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """() the mean loss over labelled items."""
        labels = batch["labels"]
        if self.kind == "write":
            whole = self.trunk.get_base_model()
            hidden = whole.model(batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)[0]
            learned = labels[:, 1:] != IGNORED
            logits = whole.lm_head(hidden[:, :-1][learned])
            return cross_entropy(logits.float(), labels[:, 1:][learned])
        outputs = self.outputs(batch)
        if self.kind == "regress":
            return mse_loss(outputs[:, 0], labels.float())
        if self.kind == "tag":
            labels = labels[labels != IGNORED]
        return cross_entropy(outputs, labels, label_smoothing=self.smoothing)

    def outputs(self, batch: dict[str, Tensor]) -> Tensor:
        """(N, C) of every labelled word, or of every sequence by the mean of its tokens."""
        hidden = self.trunk(**{name: given for name, given in batch.items() if name != "labels"})[0]
        if self.kind == "tag":
            return self.head(hidden[batch["labels"] != IGNORED])
        mask = batch["attention_mask"][..., None].to(hidden.dtype)
        return self.head((hidden * mask).sum(1) / mask.sum(1))

    @torch.inference_mode()
    def answer(self, rows: Sequence[Any], features: Sequence[Feature], reader: Reader) -> list[Any]:
        """One answer a row, as peers.scores reads them."""
        pad = reader.tokenizer.pad_token_id
        if self.kind == "write":
            return likelihoods(self.trunk, features, pad)
        self.eval()
        found: dict[int, Any] = {}
        for indices in by_length(features, 8192, 512):
            batch = collate([features[index] for index in indices], pad)
            outputs = self.outputs(batch)
            if self.kind == "tag":
                counts = [int((row != IGNORED).sum()) for row in batch["labels"]]
                for index, tags in zip(indices, outputs.argmax(-1).split(counts), strict=True):
                    words = [reader.names[tag] for tag in tags.tolist()]
                    found[index] = words + ["O"] * (len(rows[index].text) - len(words))
            elif self.kind == "regress":
                found |= dict(zip(indices, outputs[:, 0].tolist(), strict=True))
            else:
                chosen = outputs.argmax(-1).tolist()
                found |= {index: reader.names[label] for index, label in zip(indices, chosen, strict=True)}
        self.train()
        return [found[index] for index in range(len(rows))]


def plan(features: Sequence[Feature], shuffle: random.Random, rows: int = ROWS) -> list[list[int]]:
    """The batches of one epoch, in a random order; `rows`: at most in one."""
    order = list(range(len(features)))
    shuffle.shuffle(order)
    mean = sum(len(feature["input_ids"]) for feature in features) / len(features)
    window = WINDOW * max(1, min(rows, int(TOKENS / mean)))
    batches = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        pieces = by_length([features[index] for index in part], TOKENS, rows)
        batches += [[part[index] for index in piece] for piece in pieces]
    shuffle.shuffle(batches)
    return batches


def train(session: Session, model: Model, reader: Reader, features: list[Feature]) -> Iterator[bool]:
    """Step after step; gives whether it is time to evaluate."""
    order = session.order
    shuffle = random.Random(order.seed)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=order.rate or 1e-3, weight_decay=0.01, fused=True)
    rows = order.batch_rows or ROWS
    batches, done = plan(features, shuffle, rows), 0
    total = max(1, int(len(batches) * order.passes))
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.06 * total) if order.tuned else 0, total)
    every = max(1, len(batches) // order.of.evaluations)
    model.train()
    while done < total:
        for indices in batches[: total - done]:
            batch = collate([features[index] for index in indices], reader.tokenizer.pad_token_id)
            model(batch).backward()
            nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            done += 1
            ends = session.step(int(batch["attention_mask"].sum())) or done == total
            yield ends or done % every == 0
            if ends:
                return
        batches = plan(features, shuffle, rows)


def main() -> None:
    """One order."""
    session = Session()
    order, parts = session.order, session.parts
    torch.manual_seed(order.seed)
    tokenizer = AutoTokenizer.from_pretrained(order.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    reader = Reader(tokenizer, order.of.kind, parts["train"], standardised=True)
    features = {part: reader.features(rows) for part, rows in parts.items()}
    model = Model(order, reader)
    best, state = -1.0, learned_state(model)
    for due in train(session, model, reader, features["train"]):
        if due and order.measure == "quality":
            score = session.scored(model.answer(parts["valid"], features["valid"], reader))
            if score > best:
                best, state = score, learned_state(model)
    if order.measure == "quality":
        model.load_state_dict(state, strict=False)
        session.finish(model.answer(parts["test"], features["test"], reader) if order.tested else None)


if __name__ == "__main__":
    main()
