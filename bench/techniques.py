"""What each technique of speed is worth alone: the same work with it and without, on rows of BANKING77.

    ADAPTUNE_DATA=FOLDER python bench/techniques.py --model MODEL [--only NAME ...] [--results results/bench]

Short work takes turns, with and without, and medians count; whole trainings are made once each, one after another.
One thread, whose seconds on the processor are counted, so that a busy machine can be measured on, too. Prints each
figure and writes results/bench/techniques/PART.json, of which bench/report.py makes a section of docs/bench.md.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from adaptune.core.backbone import Backbone
from adaptune.core.heap import keep_freed_memory
from adaptune.core.run_folder import RunDir
from adaptune.engine.loop import train
from adaptune.evaluate.predict import predict
from adaptune.methods import _one_product
from adaptune.models.dropout import QuickDropout
from adaptune.models.load import load_backbone
from adaptune.prepare import Prepared, prepare
from adaptune.recipe import load_recipe
from adaptune.run.kitchen import Kitchen, set_up
from adaptune.run.training import learn
from peers.rows import banking77
from quiet import machine

ROOT = Path(__file__).resolve().parent.parent
VALID = 500
NUMBERS = 1024 * 384
"""In one hidden state of a batch."""
Figures = dict[str, Any]
OneProduct: Callable[..., bool] = _one_product._does


@dataclass(slots=True)
class Place:
    """The rows, the model, and where runs go."""

    folder: Path
    model: str
    rows: int
    settle: float
    prepared: Prepared | None = None
    backbone: Backbone | None = None

    def write(self, data: Path) -> None:
        """Rows at equal distances, so that all classes are among them."""
        found = banking77(data)
        for part, most in (("train", self.rows), ("valid", VALID)):
            rows = found[part]
            some = [rows[place * len(rows) // most] for place in range(min(most, len(rows)))]
            lines = [json.dumps({"text": row.text, "label": row.label}) for row in some]
            (self.folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.folder / "recipe.yaml").write_text(
            f"task: classify\nmodel: {self.model}\nmethod: lora\nout: {self.folder / 'run'}\n"
            f"data: {{train: {self.folder}/train.jsonl, valid: {self.folder}/valid.jsonl}}\n"
            "train: {epochs: 5, patience: null, device: cpu}\n",
            encoding="utf-8",
        )

    def kitchen(self, *given: str) -> Kitchen:
        """With settings by path."""
        recipe = load_recipe(self.folder / "recipe.yaml", given)
        self.prepared = self.prepared or prepare(recipe)
        self.backbone = self.backbone or load_backbone(recipe.model)
        return set_up(recipe, self.prepared, self.backbone)

    def trained(self, *given: str) -> Figures:
        """One whole training."""
        kitchen = self.kitchen(*given)
        folder = RunDir(self.folder / "run")
        folder.begin(kitchen.recipe.as_yaml(), {}, overwrite=True)
        began = time.process_time()
        fit = learn(kitchen, folder, resume=False)
        seconds = time.process_time() - began
        return {"seconds": seconds, "score": fit.best.score, "tokens": fit.tokens, "settled": list(fit.settled)}


def main() -> None:
    """Measure, print and write, one figure after another."""
    options = parse()
    torch.set_num_threads(1)
    keep_freed_memory()  # as every run does
    out: Path = options.results / "techniques"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        os.environ["ADAPTUNE_CACHE"] = str(Path(name) / "cache")
        place = Place(Path(name), options.model, options.rows, options.settle)
        place.write(options.data)
        for part in options.only or PARTS:
            found = {"machine": machine(), "model": Path(options.model).name, "rows": options.rows}
            figures = []
            for one in PARTS[part](place):
                print(json.dumps(one), flush=True)
                figures.append(one)
            found |= {"load": os.getloadavg()[0], "figures": figures}
            (out / f"{part}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """What is measured, and where."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--model", required=True, help="a model's name or folder")
    given.add_argument("--data", type=Path, default=os.environ.get("ADAPTUNE_DATA"), help="the folder of all data sets")
    given.add_argument("--results", type=Path, default=ROOT / "results" / "bench")
    given.add_argument("--only", nargs="+", choices=list(PARTS))
    given.add_argument("--rows", type=int, default=1500, help="for training")
    given.add_argument("--settle", type=float, default=0.5, help="train.settle of the training with it")
    options = given.parse_args()
    if options.data is None:
        given.error("say where the data are: ADAPTUNE_DATA=FOLDER, or --data FOLDER")
    return options


def in_turn(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way of doing the same, in turn, after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, work in ways.items():
            seconds = work()
            if number:
                found[name].append(seconds)
    return found


def timed(work: Callable[[], object]) -> float:
    """Seconds on the processor."""
    began = time.process_time()
    work()
    return time.process_time() - began


def figure(name: str, unit: str, without: Sequence[float], with_it: Sequence[float], **more: Any) -> Figures:
    """One line of the table; ways that take turns do the same work in a round, another in the next."""
    ratio = median(after / before for before, after in zip(without, with_it, strict=True))
    return {"name": name, "unit": unit, "without": list(without), "with": list(with_it), "ratio": ratio} | more


def masks(_: Place) -> Iterator[Figures]:
    """Dropout of one hidden state, there and back, by PyTorch's masks and by ours."""

    def through(layer: nn.Module) -> Callable[[], float]:
        x = torch.randn(NUMBERS, requires_grad=True)
        gradient = torch.randn(NUMBERS)
        return lambda: timed(lambda: torch.autograd.grad(layer(x), x, gradient)) / NUMBERS * 1e9

    found = in_turn({"torch": through(nn.Dropout(0.1)), "ours": through(QuickDropout(0.1))}, 15)
    yield figure("quick dropout: a mask, used twice", "ns a number", found["torch"], found["ours"])


def steps(place: Place) -> Iterator[Figures]:
    """Steps of lora on the same batches: dropout by either mask, and one product for a matrix and its change."""
    plain, off = Steps(place.kitchen()), Steps(place.kitchen(), does=lambda *_: False)
    lora = [Steps(place.kitchen("method.dropout=0.1"), torch_masks=torch_masks) for torch_masks in (True, False)]
    trunk = [Steps(place.kitchen("train.dropout=true"), torch_masks=torch_masks) for torch_masks in (True, False)]
    found = in_turn({str(number): one for number, one in enumerate((plain, off, *lora, *trunk))}, 7)
    without, unfolded, lora_torch, lora_quick, trunk_torch, trunk_quick = found.values()
    unit = "seconds a step"
    yield figure("one product for a matrix and its change", unit, unfolded, without)
    yield figure("quick dropout, method.dropout=0.1", unit, lora_torch, lora_quick)
    yield figure("quick dropout, train.dropout=true", unit, trunk_torch, trunk_quick)
    yield figure("no dropout, instead of method.dropout=0.1 by quick masks", unit, lora_quick, without)
    yield figure("no dropout, instead of train.dropout=true by quick masks", unit, trunk_quick, without)


class Steps:
    """A training that goes on by a step at each call, which returns its seconds."""

    def __init__(self, kitchen: Kitchen, *, torch_masks: bool = False, does: Callable[..., bool] = OneProduct) -> None:
        for module in kitchen.assembly.modules() if torch_masks else ():
            if type(module) is QuickDropout:
                module.__class__ = nn.Dropout
        config = kitchen.recipe.train.model_copy(update={"epochs": 1000.0})
        self._steps, self._does = train(kitchen.assembly, kitchen.batches(), config, seed=1), does

    def __call__(self) -> float:
        _one_product._does = self._does
        try:
            return timed(lambda: next(self._steps))
        finally:
            _one_product._does = OneProduct


def evaluation(place: Place) -> Iterator[Figures]:
    """The validation rows, answered in batches that fit a processor's caches, and in large ones."""
    kitchen = place.kitchen()
    rows = kitchen.encoded["valid"]

    def asked(tokens: int) -> Callable[[], float]:
        return lambda: timed(lambda: predict(kitchen.assembly, rows, batch_tokens=tokens, rows=len(rows)))

    found = in_turn({"large": asked(8192), "small": asked(1024)}, 3)
    yield figure("evaluation in batches of 1,024 tokens, not 8,192", "seconds", found["large"], found["small"])


def depth(place: Place) -> Iterator[Figures]:
    """Whole trainings: layers that settle, rows that are left out."""
    plain = place.trained("train.average=0")  # as it is with settle
    settled = place.trained(f"train.settle={place.settle}")
    yield of_trainings(place, f"train.settle={place.settle:g}", plain, settled, settled=settled["settled"])
    yield of_trainings(place, "train.prune=0.5", plain, place.trained("train.prune=0.5", "train.average=0"))


def start(place: Place) -> Iterator[Figures]:
    """Whole trainings: averages of weights, and where the fitted head begins."""
    plain = place.trained()
    yield of_trainings(place, "train.average=auto, instead of 0", place.trained("train.average=0"), plain)
    yield of_trainings(place, "train.head_scale=auto, instead of 1", place.trained("train.head_scale=1"), plain)
    yield of_trainings(
        place, "train.warm_start, instead of a fresh head", place.trained("train.warm_start=false"), plain
    )


def precision(_: Place) -> Iterator[Figures]:
    """A product of the model's largest matrix and a batch, in bf16: without instructions for it, a loss."""

    def product(dtype: torch.dtype) -> Callable[[], float]:
        batch, matrix = torch.randn(1024, 384).to(dtype), torch.randn(1536, 384).to(dtype)
        return lambda: 1e3 * timed(lambda: nn.functional.linear(batch, matrix))

    found = in_turn({"fp32": product(torch.float32), "bf16": product(torch.bfloat16)}, 15)
    yield figure("matrix products in bf16 (on this processor, not used)", "ms a product", found["fp32"], found["bf16"])


def cache(place: Place) -> Iterator[Figures]:
    """A whole training of the upper layers, with what the lower ones give computed once."""
    upper = "method.skip_layers=4"
    without, kept = place.trained(upper, "train.trunk_cache=off"), place.trained(upper)
    yield of_trainings(place, f"train.trunk_cache, with {upper}", without, kept)


def of_trainings(place: Place, name: str, without: Figures, with_it: Figures, **more: Any) -> Figures:
    """Seconds and validation scores."""
    scores = {"scores": [without["score"], with_it["score"]]}
    return figure(name, f"seconds, {place.rows:,} rows", [without["seconds"]], [with_it["seconds"]], **scores, **more)


PARTS: dict[str, Callable[[Place], Iterator[Figures]]] = {
    "masks": masks,
    "evaluation": evaluation,
    "steps": steps,
    "start": start,
    "depth": depth,
    "cache": cache,
    "precision": precision,
}

if __name__ == "__main__":
    main()
