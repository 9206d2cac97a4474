"""What this machine can do at most: products of the sizes that a model is made of, and nothing else. Not a peer.

A step is one pass over the layers' matrices with so many tokens as a batch has; it reports operations (a multiplication
and an addition are two) where peers report tokens. It also says how many operations one real token of the task's
training rows calls for:

    4 P  +  6 A  +  12 L W S  +  4 V s

P numbers in the layers' matrices: 2 forward, 2 backward through activations, since frozen matrices have no gradient. A
numbers in adapters of rank 8: 2 forward, 4 backward. L layers whose attention is W wide, over S tokens: of the sequence
that a token stands in, on average. V numbers in the output layer over words, where texts are written, s the share of
tokens that are predicted. Heads of other tasks, norms, embeddings and the optimizer are left out.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from peers.reading import BERT, IGNORED, LLAMA, RANK, Reader
from peers.session import Session

TOKENS = 1024
Shapes = dict[str, tuple[int, int]]


def shapes_of(config: Any) -> Shapes:
    """(in, out) by name of every matrix in a layer; all tokens pass each of them."""
    with torch.device("meta"):
        whole = AutoModel.from_config(config)
    named = ((name, part) for name, part in whole.named_modules() if isinstance(part, torch.nn.Linear))
    return {name: (part.in_features, part.out_features) for name, part in named if "pooler" not in name}


def operations(config: Any, shapes: Shapes, lengths: list[int], labelled: int) -> float:
    """For one real token; `labelled`: how many tokens the output layer over words predicts."""
    adapted = [size for name, size in shapes.items() if name.endswith(tuple(BERT + LLAMA))]
    matrices = sum(wide * out for wide, out in shapes.values())
    adapters = RANK * sum(wide + out for wide, out in adapted)
    tokens = sum(lengths)
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    attention = config.num_hidden_layers * width * sum(length**2 for length in lengths) / tokens
    words = config.vocab_size * config.hidden_size * labelled / tokens
    return 4 * matrices + 6 * adapters + 12 * attention + 4 * words


def main() -> None:
    """One order."""
    session = Session()
    order, train = session.order, session.parts["train"]
    config = AutoConfig.from_pretrained(order.model)
    shapes = shapes_of(config)
    reader = Reader(AutoTokenizer.from_pretrained(order.model), order.of.kind, train, standardised=False)
    features = reader.features(train)
    written = [label for f in features for label in f["labels"] if label != IGNORED] if reader.kind == "write" else []
    lengths = [len(feature["input_ids"]) for feature in features]
    session.about = {"operations_per_token": operations(config, shapes, lengths, len(written))}
    torch.manual_seed(0)
    sizes = list(shapes.values())
    inputs = {wide: torch.randn(TOKENS, wide) for wide, _ in set(sizes)}
    weights = {size: torch.randn(size) for size in set(sizes)}
    of_a_pass = sum(2 * TOKENS * wide * out for wide, out in sizes)
    ends = False
    while not ends:
        for size in sizes:
            torch.mm(inputs[size[0]], weights[size])
        ends = session.step(of_a_pass)


if __name__ == "__main__":
    main()
