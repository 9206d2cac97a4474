"""adaptune, by its own functions. Documented: a recipe with nothing but task, data, model and method in it."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from adaptune.bundle.answers import encoder_of
from adaptune.core.run_folder import RunDir, read_json_lines
from adaptune.data.batches import Budget, by_rows, collate
from adaptune.data.tokens import encoded_all
from adaptune.engine.loop import train
from adaptune.heads.generate import log_probabilities
from adaptune.prepare import prepare
from adaptune.recipe import Recipe, load_recipe
from adaptune.run.kitchen import Kitchen, set_up
from adaptune.run.training import learn
from peers.rows import PARTS, Row
from peers.session import Order, Session

APART = "adaptune_apart"
"""The peer that reads both texts of a pair by themselves."""
UPPER = "adaptune_upper"
"""The peer that lets the upper two thirds of the layers learn alone."""
METHODS = {UPPER: "{name: lora, skip_layers: 2}"}
TASKS = {
    "classify": "classify",
    "tag": "tag",
    "regress": "regress",
    "write": "{name: write, template: '{source}'}",
    APART: "{name: match, kind: score, encoder: bi}",
}
COLUMNS = {"classify": "{text: text, label: label}", "write": "{source: source, target: target}"}
"""Of those tasks whose columns cannot be guessed from all that a file holds."""


def write_rows(folder: Path, parts: dict[str, list[Row]]) -> None:
    """The rows as files, which a recipe names."""
    for part in PARTS:
        with (folder / f"{part}.jsonl").open("w", encoding="utf-8") as file:
            for row in parts[part]:
                file.write(json.dumps(_values(row), ensure_ascii=False) + "\n")


def _values(row: Row) -> dict[str, Any]:
    if isinstance(row.text, list):
        return {"words": row.text, "tags": row.label}
    if row.pair is not None:
        return {"text": row.text, "pair": row.pair, "score": row.label}
    return {"source": row.text, "target": row.label, "text": row.text, "label": row.label}


def recipe_of(order: Order, folder: Path) -> Recipe:
    """The recipe of an order."""
    kind = order.of.kind
    lines = [
        f"task: {TASKS[order.peer if order.peer == APART else kind]}",
        f"model: {order.model}",
        f"method: {METHODS.get(order.peer, 'lora')}",
        f"out: {folder / 'run'}",
        "data:",
        *(f"  {part}: {folder / part}.jsonl" for part in PARTS),
        *([f"  columns: {COLUMNS[kind]}"] if kind in COLUMNS else []),
    ]
    file = folder / "recipe.yaml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    given = [f"seed={order.seed}", f"train.epochs={order.passes}"]
    if order.max_steps is not None and order.measure != "profile":  # which has so few steps as it looks at
        given.append(f"train.max_steps={order.max_steps}")
    if order.rate is not None:
        given.append(f"train.learning_rate={order.rate}")
    if order.measure != "quality":
        given.append("train.warm_start=false")
    else:
        given.append(f"train.max_seconds={max(1.0, order.max_seconds)}")
    if order.batch_rows is not None:
        given.append(f"train.batch_rows={order.batch_rows}")
    if order.of.kind == "regress":
        given.append(f"train.metric={order.of.metric}")
    return load_recipe(file, given)


def more_often(kitchen: Kitchen, evaluations: int) -> Kitchen:
    """Evaluated several times in a pass, as other peers are; as patient in passes as before."""
    own = kitchen.recipe.train
    every = max(1, kitchen.batches().per_epoch() // evaluations)
    patience = own.patience and own.patience * evaluations
    settings = own.model_copy(update={"evaluate_every": every, "patience": patience})
    return replace(kitchen, recipe=kitchen.recipe.model_copy(update={"train": settings}))


def likelihoods(kitchen: Kitchen, part: str) -> list[tuple[float, int]]:
    """Of each text the summed log-probability of its tokens, and their number."""
    assembly = kitchen.assembly
    encoded = encoded_all(kitchen.examples(part), encoder_of(assembly), cache=False)
    totals = torch.zeros(len(encoded), 2, dtype=torch.float64)
    assembly.eval()
    with torch.inference_mode():
        for indices in by_rows(encoded, Budget(tokens=2048, rows=32)):
            batch = collate([encoded[index] for index in indices], assembly.backbone.tokenizer.pad_token_id)
            found = log_probabilities(assembly.layer, assembly.hidden(batch), batch).double()
            assert batch.sequence_of is not None
            rows = batch.rows[batch.sequence_of]
            totals.index_add_(0, rows, torch.stack([found, torch.ones_like(found)], dim=1))
    return [(total, int(tokens)) for total, tokens in totals.tolist()]


def answers(kitchen: Kitchen, part: str) -> list[Any]:
    """As peers.scores reads them."""
    if kitchen.assembly.head.writes:
        return likelihoods(kitchen, part)
    found = [answer.value for answer in kitchen.predict(part)]
    if kitchen.recipe.task.name == "tag":
        lengths = [len(example.expected) for example in kitchen.examples(part)]
        return [[*tags, *["O"] * (length - len(tags))] for tags, length in zip(found, lengths, strict=True)]
    return found


def in_windows(session: Session, kitchen: Kitchen) -> None:
    """Steps without an end of their own."""
    for step in train(kitchen.assembly, kitchen.batches(), kitchen.recipe.train, seed=session.order.seed):
        if session.step(step.tokens):
            return


def to_the_end(session: Session, kitchen: Kitchen) -> None:
    """One whole training, as `adaptune train` goes, and what its log says of it."""
    folder = RunDir(kitchen.recipe.out)
    folder.begin(kitchen.recipe.as_yaml(), {})
    offset = session.seconds
    fit = learn(kitchen, folder, resume=False)
    session.steps, session.tokens = fit.loop.step, fit.tokens
    session.capped = fit.ended.startswith("time limit")
    metric = {"write": "log_likelihood"}.get(session.order.of.kind, session.order.of.metric)
    for line in read_json_lines(folder.scores):
        value = float(torch.tensor(line[metric]).exp()) if metric == "log_likelihood" else line[metric]
        session.point(value, offset + line["seconds"], line["step"])
    session.finish(answers(kitchen, "test") if session.order.tested else None, ended=fit.ended)


def main() -> None:
    """One order."""
    session = Session()
    order = session.order
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ADAPTUNE_CACHE"] = str(folder / "cache")  # tokens of an earlier run would be read for nothing
        write_rows(folder, session.parts)
        recipe = recipe_of(order, folder)
        kitchen = set_up(recipe, prepare(recipe))
        if order.measure != "quality":
            in_windows(session, kitchen)
        else:
            to_the_end(session, more_often(kitchen, order.of.evaluations))


if __name__ == "__main__":
    main()
