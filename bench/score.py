"""Labels scored over a long prompt that they share, beside one forward pass a label: seconds and numbers.

    python bench/score.py --model MODEL [--options 16] [--prompt 512] [--repeats 5]

The prompt is read once and every option behind it as branches of one row (models/folding.py); beside it transformers
reads prompt and option anew for each, and with --padded all of them as one padded batch. It prints one JSON; seconds
are the least of the repeats, which take turns.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adaptune.core.batch import Encoded
from adaptune.core.types import Blank, Example, Given, Labels, Prompt, Row, Sequence
from adaptune.data.batches import collate
from adaptune.data.encode import encode
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

OPTIONS = """account balance; card is lost; card payment; change of address; exchange rate; pay a bill; cash machine;
new PIN; money transfer; opening hours; close the account; interest rate; direct debit; refund of a fee;
loan application; something else; stolen phone; travel abroad; savings plan; tax statement"""
SENTENCE = "The customer wrote that the train was late and that nobody at the counter could help with the card. "


def main() -> None:
    """Measure, and print the figures."""
    options = parse()
    backbone = load_backbone(ModelConfig(name=options.model), words=True)
    names = [" ".join(one.split()) for one in OPTIONS.split(";")][: options.options]
    assembly = Assembly(
        backbone, METHODS.make({"name": "none"}), HEADS.make({"name": "verbal"}), Labels(tuple(names)), seed=0
    ).eval()
    encoded = prompt(assembly, names, options.prompt)
    ways: dict[str, Callable[[], Tensor]] = {
        "shared": lambda: shared(assembly, encoded),
        "one_forward_an_option": lambda: torch.cat([plain(assembly, [one]) for one in encoded]),
    }
    if options.padded:
        ways["one_padded_batch"] = lambda: plain(assembly, encoded)
    seconds, found = measure(ways, options.repeats)
    print(
        json.dumps(
            {
                "model": backbone.name,
                "options": len(encoded),
                "tokens": {"prompt": min(map(len_of, encoded)), "longest": max(map(len_of, encoded))},
                "threads": torch.get_num_threads(),
                "seconds": {name: round(value, 3) for name, value in seconds.items()},
                "times_as_fast": {
                    name: round(value / seconds["shared"], 1) for name, value in seconds.items() if name != "shared"
                },
                "largest_difference_of_log_probabilities": float(
                    (found["shared"] - found["one_forward_an_option"]).abs().max()
                ),
            },
            indent=2,
        )
    )


def prompt(assembly: Assembly, names: list[str], tokens: int) -> list[Encoded]:
    """One row whose prompt has about so many tokens, a sequence an option."""
    tokenizer = assembly.backbone.tokenizer
    sentence = len(tokenizer(SENTENCE, add_special_tokens=False)["input_ids"])
    text = SENTENCE * max(1, round(tokens / sentence))
    parts = (Given(text), "\nIntent: ", Blank())
    asked = Prompt(parts, tuple((name,) for name in names))
    example = Example(Row("bench", 1, {}), (Sequence(text, prompt=asked),))
    return encode([example], tokenizer, assembly.labels, max_length=assembly.backbone.max_length, segments=False)


def shared(assembly: Assembly, encoded: list[Encoded]) -> Tensor:
    """(C) the log-probability of every option, by the package."""
    return assembly.logits(collate(encoded, assembly.backbone.tokenizer.pad_token_id))[0]


@torch.inference_mode()
def plain(assembly: Assembly, encoded: list[Encoded]) -> Tensor:
    """(C) the same by transformers' own model alone."""
    width = max(map(len_of, encoded))
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, one in enumerate(encoded):
        ids[place, : len(one.ids)] = torch.from_numpy(one.ids.astype(np.int64))
        mask[place, : len(one.ids)] = 1
    model: Any = assembly.backbone.whole
    states = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    found = []
    for place, one in enumerate(encoded):
        assert one.asked is not None
        logits = model.lm_head(states[place, torch.from_numpy(one.tokens.astype(np.int64))]).log_softmax(dim=1)
        words = torch.from_numpy(one.asked[:, 0].astype(np.int64))
        found.append(logits[torch.arange(len(words)), words].sum())
    return torch.stack(found)


def measure(ways: dict[str, Callable[[], Tensor]], repeats: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Seconds and results of each way."""
    seconds = dict.fromkeys(ways, float("inf"))
    found: dict[str, Tensor] = {}
    ways["shared"]()  # the first pass of a process is slower
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            found[name] = way()
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    return seconds, found


def len_of(one: Encoded) -> int:
    """Tokens."""
    return len(one.ids)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M")
    parser.add_argument("--options", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=512, help="tokens that all options share, about")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--padded", action="store_true", help="with one padded batch as a second way beside it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
