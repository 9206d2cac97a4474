"""Registering, loading, swapping, evicting, forgetting, and what each holds in memory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from adaptune.bundle.several import load
from adaptune.core.backbone import Backbone
from adaptune.core.errors import BundleError, Unsupported
from adaptune.serve.compute import Asked, answer_all
from adaptune.serve.pool import Pool, UnknownBundle, bytes_of
from adaptune.serve.registered import Registered

TEXTS = ["the late train is quick", "a red box"]


def ask(pool: Pool, *bundles: Registered) -> list[Any]:
    asked = [
        Asked(bundle, row)
        for bundle in bundles
        for row in bundle.of(None).encode(bundle.of(None).examples(TEXTS), pool.backbone, pool.backbone.tokenizer)
    ]
    return answer_all(pool, asked, batch_tokens=512)


def test_a_registered_bundle_is_read_when_it_is_first_asked_for(make: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    found = pool.register(make("reviews", "classify", "lora"), "reviews")
    assert not pool.is_hot(found)
    assert pool.memory().hot == 0
    ask(pool, found)
    assert pool.is_hot(found)


def test_a_bundle_costs_its_own_weights_alone(make: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    pool.load(make("reviews", "classify", "lora", rank=2, targets="query_value"), "reviews")
    of_lora = 2 * 2 * (2 * 32 + 2 * 32)  # layers, matrices, A and B of rank 2
    of_head = 3 * 32 + 3
    assert pool.memory().hot == 4 * (of_lora + of_head)
    assert pool.memory().base == bytes_of(bert.whole.parameters())


def test_the_least_recently_used_make_room(make: Any, bert: Backbone) -> None:
    pool = Pool(bert, most_hot=2)
    one, two, three = (pool.register(make(name, "classify", "lora"), name) for name in ("one", "two", "three"))
    ask(pool, one)
    ask(pool, two)
    ask(pool, one)
    ask(pool, three)
    assert [pool.is_hot(bundle) for bundle in (one, two, three)] == [True, False, True]


def test_hundreds_of_names_stand_on_one_base(make: Any, bert: Backbone) -> None:
    pool = Pool(bert, most_hot=4)
    folder = make("reviews", "classify", "lora")
    bundles = [pool.register(folder, f"reviews-{number}") for number in range(300)]
    assert len(pool.names()) == 300
    alone = ask(pool, bundles[0])
    assert all(found.value == alone[place % 2].value for place, found in enumerate(ask(pool, *bundles[::30])))
    assert pool.count_hot() == 4


def test_a_new_version_takes_the_name_over_and_the_old_one_stays_to_be_had(make: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    old = pool.load(make("one", "classify", "lora", seed=1), "reviews")
    before = ask(pool, old)
    new = pool.load(make("two", "classify", "lora", seed=2), "reviews")
    assert pool.find("reviews") is new
    assert pool.find(f"reviews@{old.version}") is old
    assert [found.probability for found in ask(pool, old)] == pytest.approx([found.probability for found in before])
    assert ask(pool, new)[0].probability != pytest.approx(before[0].probability, abs=1e-4)


def test_no_more_versions_stay_than_asked_for(make: Any, bert: Backbone) -> None:
    pool = Pool(bert, versions=2)
    loaded = [pool.load(make(f"v{seed}", "classify", "lora", seed=seed), "reviews") for seed in (1, 2, 3)]
    pool.sweep(busy=())
    assert pool.versions_of("reviews") == loaded[1:]
    assert not pool.is_hot(loaded[0])


def test_what_is_in_use_is_not_swept(make: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    found = pool.load(make("one", "classify", "lora"), "reviews")
    assert pool.remove("reviews") == [found]
    pool.sweep(busy=[found])
    assert pool.is_hot(found)
    pool.sweep(busy=[])
    assert not pool.is_hot(found)
    assert pool.memory().hot == 0


def test_loading_the_same_version_again_changes_nothing(make: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    folder = make("one", "classify", "lora")
    assert pool.load(folder, "reviews") is pool.load(folder, "reviews")
    assert len(pool.versions_of("reviews")) == 1


def test_the_same_version_in_another_folder_takes_the_place_of_the_first(make: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    first = make("one", "classify", "lora")
    old = pool.load(first, "reviews")
    new = pool.load(shutil.copytree(first, first.with_name("two")), "reviews")
    assert new is not old
    assert pool.versions_of("reviews") == [new]


def test_unknown_names_and_versions_are_told_with_what_there_is(make: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    found = pool.register(make("one", "classify", "lora"), "reviews")
    with pytest.raises(UnknownBundle, match="did you mean 'reviews'"):
        pool.find("reviewz")
    with pytest.raises(UnknownBundle, match=found.version):
        pool.find("reviews@000000000000")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "a@b", ".hidden", "x" * 101, "é"])
def test_a_name_is_never_a_path(make: Any, bert: Backbone, name: str) -> None:
    with pytest.raises(BundleError, match="no name for a bundle"):
        Pool(bert).register(make("one", "classify", "lora"), name)


def test_the_bases_own_name_is_no_bundles(make: Any, bert: Backbone) -> None:
    with pytest.raises(BundleError, match="the base model's own name"):
        Pool(bert).register(make("one", "classify", "lora"), "base")


def test_a_folder_that_changes_while_it_is_read_is_not_served(
    make: Any, bert: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make("one", "classify", "lora", seed=1)

    def read_late(*given: Any, **more: Any) -> Any:
        make("one", "classify", "lora", seed=2)
        return load(*given, **more)

    monkeypatch.setattr("adaptune.serve.pool.load", read_late)
    with pytest.raises(BundleError, match="another version"):
        Pool(bert).load(folder, "reviews")


def test_a_corrupt_bundle_is_refused_and_the_old_version_stays(make: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    old = pool.load(make("one", "classify", "lora", seed=1), "reviews")
    broken = make("two", "classify", "lora", seed=2)
    file = broken / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match="damaged"):
        pool.load(broken, "reviews")
    assert pool.find("reviews") is old
    assert not [bundle for bundle in pool.versions_of("reviews") if bundle is not old]


def test_a_folder_that_changed_or_vanished_is_told_and_neighbours_are_answered(make: Any, bert: Backbone) -> None:
    pool = Pool(bert)
    gone, changed, stays = (pool.register(make(name, "classify", "lora"), name) for name in ("a", "b", "c"))
    shutil.rmtree(gone.folder)
    make("b", "classify", "lora", seed=5)
    found = ask(pool, gone, changed, stays)
    assert [type(one).__name__ for one in found] == ["BundleError"] * 4 + ["Answer"] * 2
    assert "has no manifest.json any more" in str(found[0])
    assert "holds another version" in str(found[2])


def test_a_bundle_of_another_base_is_refused(make: Any, bert: Backbone, tiny_llama: Path) -> None:
    from adaptune.models.config import ModelConfig
    from adaptune.models.load import load_backbone

    folder = make("one", "classify", "lora")
    with pytest.raises(BundleError, match="was trained on"):
        Pool(load_backbone(ModelConfig(name=str(tiny_llama)))).register(folder, "one")


@pytest.mark.parametrize("method", ["full", "top_layers"])
def test_copies_of_the_base_are_refused_unless_allowed_and_then_counted(make: Any, bert: Backbone, method: str) -> None:
    folder = make("one", "classify", method)
    with pytest.raises(Unsupported, match="--allow-copies"):
        Pool(bert).load(folder, "one")
    pool = Pool(bert, allow_copies=True)
    found = pool.load(folder, "one")
    assert pool.memory().copies == pool.memory().hot > 4 * 32 * 64
    assert len(ask(pool, found)) == 2


def test_serving_writes_nothing_into_the_base(make: Any, bert: Backbone) -> None:
    before = {name: tensor.clone() for name, tensor in bert.whole.state_dict().items()}
    pool = Pool(bert, most_hot=2)
    names = ("lora", "norms", "bitfit", "adapter", "prompt")
    bundles = [pool.load(make(method, "classify", method), method) for method in names]
    ask(pool, *bundles)
    assert all(torch.equal(before[name], tensor) for name, tensor in bert.whole.state_dict().items())
