"""Named entities as a hasty guide has them: everything padded to 128 tokens, tag i at token i, all weights at 2e-5.

The n-th tag of a sentence is given to its n-th token, whatever word that is a piece of, and the n-th answer is read
back as the n-th word's. One row beside the others, on WNUT17, to show what that costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoModelForTokenClassification, AutoTokenizer

from peers.rows import Row, names_of
from peers.session import Meter, Session

LENGTH, ROWS, RATE = 128, 16, 2e-5


def tensors(tokenizer: Any, names: list[str], rows: Sequence[Row]) -> TensorDataset:
    """(R, 128) ids, mask, labels."""
    output = tokenizer(
        [row.text for row in rows],
        is_split_into_words=True,
        padding="max_length",
        truncation=True,
        max_length=LENGTH,
        return_tensors="pt",
    )
    labels = torch.full((len(rows), LENGTH), -100)
    for index, row in enumerate(rows):
        tags = [names.index(tag) if tag in names else 0 for tag in row.label[:LENGTH]]
        labels[index, : len(tags)] = torch.tensor(tags)
    return TensorDataset(output["input_ids"], output["attention_mask"], labels)


@torch.no_grad()
def answer(model: torch.nn.Module, data: TensorDataset, names: list[str], rows: Sequence[Row]) -> list[list[str]]:
    """The n-th answer is the n-th word's."""
    model.eval()
    found: list[list[str]] = []
    for ids, mask, _ in DataLoader(data, batch_size=ROWS):
        for chosen in model(input_ids=ids, attention_mask=mask).logits.argmax(-1).tolist():
            words = len(rows[len(found)].text)
            tags = [names[tag] for tag in chosen[:words]]
            found.append(tags + ["O"] * (words - len(tags)))
    model.train()
    return found


def main() -> None:
    """One order."""
    session = Session()
    order, parts = session.order, session.parts
    torch.manual_seed(order.seed)
    names = names_of("tag", parts["train"])
    tokenizer = AutoTokenizer.from_pretrained(order.model)
    data = {part: tensors(tokenizer, names, rows) for part, rows in parts.items()}
    model = AutoModelForTokenClassification.from_pretrained(order.model, num_labels=len(names))
    meter = Meter(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    model.train()
    ends, epoch = False, 0
    while not ends and epoch < order.passes:
        for ids, mask, labels in DataLoader(data["train"], batch_size=ROWS, shuffle=True):
            model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if ends := session.step(meter.read()):
                break
        epoch += 1
        if order.measure == "quality":
            session.scored(answer(model, data["valid"], names, parts["valid"]))
    if order.measure == "quality":
        session.finish(answer(model, data["test"], names, parts["test"]) if order.tested else None)


if __name__ == "__main__":
    main()
