"""Thirty-two mixed requests for texts of unequal length on four LoRA bundles of one decoder, written in three ways.

    python bench/generating.py --model FOLDER

`side by side` is what `adaptune serve` does: a text joins between two tokens of the others. `in batches` is what it
does for models that cannot: one bundle's texts together, until the longest is written. `one at a time` is every request
by itself. All requests come at once, to the queue of one process without HTTP, and one thread computes; a text ends
with its first full stop or after 32 tokens. Rounds go over all ways by turns, the figures are medians over rounds, and
all ways must write the same texts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.serve.batcher import Batcher, Queueing
from adaptune.serve.compute import Asked, answer_all
from adaptune.serve.generation import Generation
from adaptune.serve.pool import Pool
from adaptune.serve.registered import Registered
from adaptune.serve.writing import Completion, Listener, Wish
from adaptune.tasks import TASKS

BUNDLES, REQUESTS, MOST = 4, 32, 32
THINGS = ("train", "house", "book", "river", "school", "market", "letter", "garden")
BEGINNINGS = (
    "The old",
    "Yesterday we saw a",
    "Nobody in the town knew the",
    "In short: the",
    "My sister's",
    "A",
    "By the",
)


@dataclass(slots=True)
class Round:
    """What one way took for all requests."""

    seconds: float
    first: list[float] = field(default_factory=list)
    """Until each text's first token."""
    texts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)


class Clock(Listener):
    """Notes when a text has its first token."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.at: float | None = None

    def show(self, text: str, stop: object) -> None:
        self.at = self.at or time.perf_counter()


class InBatches(Pool):
    """Every bundle's texts with a trunk of its own, batch after batch."""

    def writes_by_token(self, registered: Registered) -> bool:
        return False


WAYS: dict[str, tuple[type[Pool], int]] = {
    "side by side": (Pool, 4096),
    "in batches": (InBatches, 4096),
    "one at a time": (InBatches, 1),
}
"""The pool, and most tokens of one batch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/generating.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = load_backbone(ModelConfig(name=options.model), words=True)
    rounds: dict[str, list[Round]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        make_bundles(Path(folder), backbone)
        for _ in range(options.rounds):
            for name, (kind, batch_tokens) in WAYS.items():
                rounds[name].append(asyncio.run(measure(kind(backbone), Path(folder), batch_tokens)))
                print(f"{name}: {rounds[name][-1].seconds:.1f} s", file=sys.stderr, flush=True)
                check(rounds)
    figures = {name: summary(some, rounds["one at a time"]) for name, some in rounds.items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    show(figures, rounds["side by side"][0].tokens)


def make_bundles(folder: Path, backbone: Backbone) -> None:
    """Adapters a little away from their start: the texts differ by bundle, and read like the base's."""
    for seed in range(BUNDLES):
        head = HEADS.make({"name": "generate", "max_new_tokens": MOST, "stop": ["."]})
        assembly = Assembly(backbone, METHODS.make({"name": "lora", "rank": 8}), head, Labels(()), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in (one for one in assembly.parameters() if one.requires_grad):
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
        save_bundle(folder / f"b{seed}", assembly, TASKS.make({"name": "write"}), columns={}, max_length=256, scores={})


async def measure(pool: Pool, folder: Path, batch_tokens: int) -> Round:
    """All requests at once; bundles are in memory before."""
    bundles = [pool.load(folder / f"b{number}", f"b{number}") for number in range(BUNDLES)]
    asked = [request(pool, bundles[number % BUNDLES], number) for number in range(REQUESTS)]
    batcher = Batcher(partial(answer_all, pool, batch_tokens=4096), Queueing(batch_tokens=batch_tokens))
    generation = Generation(pool, batcher)
    batcher.start()
    generation.start()
    clocks = [Clock() for _ in asked]
    started = time.perf_counter()
    found = await asyncio.gather(
        *(
            generation.answer([replace(one, listener=clock)], [one.sequences[0].length], seconds=3600)
            for one, clock in zip(asked, clocks, strict=True)
        )
    )
    took = Round(time.perf_counter() - started, [(clock.at or started) - started for clock in clocks])
    for [text] in found:
        assert isinstance(text, Completion)
        took.texts.append(text.text)
        took.tokens.append(text.tokens)
    batcher.refuse()
    await generation.close()
    await batcher.close()
    return took


def request(pool: Pool, bundle: Registered, number: int) -> Asked:
    """One prompt."""
    prompt = f"{BEGINNINGS[number % len(BEGINNINGS)]} {THINGS[number % len(THINGS)]}"
    task = bundle.of(None)
    [row] = task.encode(task.examples([prompt]), pool.backbone, pool.backbone.tokenizer)
    return Asked(bundle, row, wish=Wish(MOST))


def check(rounds: dict[str, list[Round]]) -> None:
    """Stop where two ways write differently."""
    texts = [one.texts for some in rounds.values() for one in some]
    for other in texts[1:]:
        for number, (expected, found) in enumerate(zip(texts[0], other, strict=True)):
            if expected != found:
                raise SystemExit(f"request {number} was written as {expected!r} and as {found!r}")


def summary(rounds: list[Round], slow: list[Round]) -> dict[str, float]:
    """Medians over rounds; `slow` are those of the way that others are compared with, round by round."""
    return {
        "times_as_fast": statistics.median(
            other.seconds / one.seconds for one, other in zip(rounds, slow, strict=True)
        ),
        "requests_per_second": statistics.median(REQUESTS / one.seconds for one in rounds),
        "tokens_per_second": statistics.median(sum(one.tokens) / one.seconds for one in rounds),
        "first_token_seconds": statistics.median(statistics.fmean(one.first) for one in rounds),
        "fastest": max(REQUESTS / one.seconds for one in rounds),
        "slowest": min(REQUESTS / one.seconds for one in rounds),
    }


def show(figures: dict[str, dict[str, float]], tokens: list[int]) -> None:
    """As a table."""
    print(f"{REQUESTS} texts of {min(tokens)} to {max(tokens)} tokens, {statistics.fmean(tokens):.1f} on average")
    print("| written | requests/s (slowest to fastest round) | times as fast | tokens/s | seconds to the first token |")
    print("| --- | --- | --- | --- | --- |")
    for name, one in figures.items():
        span = f"{one['requests_per_second']:.2f} ({one['slowest']:.2f} to {one['fastest']:.2f})"
        speed = f"{one['times_as_fast']:.1f} | {one['tokens_per_second']:.1f}"
        print(f"| {name} | {span} | {speed} | {one['first_token_seconds']:.2f} |")


if __name__ == "__main__":
    main()
