"""Bundles of several tasks: each task answers as it does offline, and what all read alike passes the trunk once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adaptune.bundle.several import load_tasks
from adaptune.core.backbone import Backbone
from adaptune.core.errors import BundleError, Unsupported
from adaptune.serve.compute import Asked, answer_all
from adaptune.serve.config import ServeConfig
from adaptune.serve.pool import Pool, bytes_of
from adaptune.serve.registered import Registered
from adaptune.serve.server import Holding, fill_pool

TEXTS = ["the late train is quick", "a red box", "we came back from the old town"]
METHODS = [("lora", {"rank": 2}), ("prompt", {"length": 3}), ("head_only", {})]


@pytest.mark.parametrize(("method", "settings"), METHODS, ids=[name for name, _ in METHODS])
def test_every_task_answers_as_it_does_offline(
    make_of_several: Any, client: Any, bert: Backbone, tmp_path: Path, method: str, settings: dict[str, Any]
) -> None:
    folder = make_of_several("both", method, "classify", "tag", "regress", **settings)
    offline = load_tasks(folder, backbone=bert)
    service = client(root=tmp_path / "bundles")
    told = service.post("/v1/predict", json={"bundle": "both", "inputs": TEXTS}).json()
    assert told["task"] == "several"
    assert list(told["tasks"]) == ["the-classify", "the-tag", "the-regress"]
    for name, found in told["tasks"].items():
        expected = offline.predict(TEXTS, task=name)
        assert all(map(same, found["answers"], expected)), name
        alone = service.post("/v1/predict", json={"bundle": "both", "task": name, "inputs": TEXTS}).json()
        assert alone["task"] == found["task"] == name.removeprefix("the-")
        assert all(map(same, alone["answers"], expected)), name


def test_what_tasks_read_alike_passes_the_trunk_once(make_of_several: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    bundle = pool.load(make_of_several("both", "head_only", "classify", "regress"), "both")
    asked = [Asked(bundle, row, place=one.place) for one in bundle.tasks for row in rows(bundle, one.place, bert)]
    read = []
    pool.plain.trunk.register_forward_pre_hook(
        lambda _module, _given, named: read.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    found = answer_all(pool, asked, batch_tokens=512)
    assert len(found) == 2 * len(TEXTS)
    assert sum(sequences for sequences, _ in read) == len(TEXTS)


def test_tasks_of_one_bundle_share_the_memory_of_its_adapter(make_of_several: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    pool.load(make_of_several("both", "lora", "classify", "tag", rank=2, targets="query_value"), "both")
    of_lora = 2 * 2 * (2 * 32 + 2 * 32)  # layers, matrices, A and B of rank 2
    of_heads = 2 * (3 * 32 + 3)
    assert pool.memory().hot == 4 * (of_lora + of_heads)
    assert pool.memory().base == bytes_of(bert.whole.parameters())


def test_it_starts_beside_bundles_of_one_task(make: Any, make_of_several: Any, tmp_path: Path) -> None:
    make("reviews", "classify", "lora")
    make_of_several("both", "lora", "classify", "tag")
    pool = fill_pool(ServeConfig(root=tmp_path / "bundles"), Holding(), model=None)
    assert pool.names() == ["both", "reviews"]
    assert pool.count_hot() == 2
    assert pool.hot(pool.find("both")).kind is pool.hot(pool.find("reviews")).kind is not None


def test_it_is_shown_with_each_of_its_tasks(make_of_several: Any, client: Any, tmp_path: Path) -> None:
    make_of_several("both", "lora", "classify", "tag")
    service = client(root=tmp_path / "bundles")
    shown = service.get("/v1/bundles/both").json()
    assert (shown["task"], shown["labels"], shown["scores"]) == ("several", [], {})
    scores = {"test": {"accuracy": 0.5}}
    columns = {name: task.pop("columns") for name, task in shown["tasks"].items()}
    assert {name: [column["name"] for column in found] for name, found in columns.items()} == {
        "the-classify": ["text", "pair"],
        "the-tag": ["tokens", "text"],
    }
    assert shown["tasks"] == {
        "the-classify": {"task": "classify", "labels": ["bad", "good", "neither"], "scores": scores},
        "the-tag": {"task": "tag", "labels": ["O", "B-place", "I-place"], "scores": scores},
    }
    assert len(service.post("/v1/embeddings", json={"model": "both", "input": TEXTS}).json()["data"]) == len(TEXTS)


def test_a_task_that_is_not_there_is_refused(make: Any, make_of_several: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    several = pool.register(make_of_several("both", "lora", "classify", "tag"), "both")
    with pytest.raises(BundleError, match="has no task 'the-tig'; did you mean 'the-tag'"):
        several.of("the-tig")
    with pytest.raises(BundleError, match=r"one of its tasks .*the-classify, the-tag"):
        several.of(None)
    with pytest.raises(BundleError, match="without a name; leave it out"):
        pool.register(make("reviews", "classify", "lora"), "reviews").of("the-tag")
    with pytest.raises(Unsupported, match="writes no texts"):
        several.writer()


def rows(bundle: Registered, place: int, bert: Backbone) -> list[Any]:
    one = bundle.tasks[place]
    return one.encode(one.examples(TEXTS), bert, bert.tokenizer)


def same(found: Any, expected: Any) -> bool:
    """As JSON, without what is null; numbers within 1e-5."""
    if isinstance(expected, dict):
        found = {key: value for key, value in found.items() if value is not None}
        return found.keys() == expected.keys() and all(same(found[key], value) for key, value in expected.items())
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return abs(found - expected) <= 1e-5 * max(1.0, abs(expected))
    return bool(found == expected)
