"""Texts of many requests grow side by side: each is the one that its bundle writes alone."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from adaptune.bundle.load import load_bundle
from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.types import Answer, Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.drafts import Draft, Lane
from adaptune.serve.app import make_app
from adaptune.serve.batcher import Batcher, Busy, Closing, Queueing, TooLate
from adaptune.serve.compute import Asked, answer_all
from adaptune.serve.config import ServeConfig
from adaptune.serve.errors import Unavailable
from adaptune.serve.generation import Generation
from adaptune.serve.keys import Keys
from adaptune.serve.pool import Pool
from adaptune.serve.registered import Registered
from adaptune.serve.running import Running, sheet_of
from adaptune.serve.writing import Completion, Wish
from adaptune.tasks import TASKS

PROMPTS = ("the late train is quick", "a red box", "we came back from the old town by the river", "john")
BUNDLES: dict[str, dict[str, Any]] = {
    "one": {"name": "lora", "rank": 4},
    "two": {"name": "lora", "rank": 2, "targets": "all"},
    "scaled": {"name": "ia3"},
    "prompted": {"name": "prompt", "length": 4},
    "prefixed": {"name": "prefix", "length": 4},
}


def make(folder: Path, llama: Backbone, method: dict[str, Any], *, seed: int, **head: Any) -> Path:
    made = HEADS.make({"name": "generate", "max_new_tokens": 16, **head})
    assembly = Assembly(llama, METHODS.make(method), made, Labels(()), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in assembly.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    save_bundle(folder, assembly, TASKS.make({"name": "write"}), columns={}, max_length=100, scores={})
    return folder


@pytest.fixture(scope="module")
def shelf(llama: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("texts")
    for seed, (name, method) in enumerate(BUNDLES.items(), start=1):
        make(root / name, llama, method, seed=seed)
    return root


@pytest.fixture(scope="module")
def alone(llama: Backbone, shelf: Path) -> dict[str, list[str]]:
    """What every bundle writes by itself."""
    return {
        name: [one["text"] for one in load_bundle(shelf / name, backbone=llama).predict(list(PROMPTS))]
        for name in BUNDLES
    }


class Desk:
    """A pool with what answers from it, and what it was asked."""

    def __init__(self, llama: Backbone, shelf: Path, *, most_hot: int = 64, **queueing: Any) -> None:
        self.pool = Pool(llama, most_hot=most_hot)
        for name in BUNDLES:
            self.pool.register(shelf / name, name)
        self.batcher = Batcher(partial(answer_all, self.pool, batch_tokens=4096), Queueing(**queueing))
        self.generation = Generation(self.pool, self.batcher)
        self.most_running = 0

    def asked(self, bundle: Registered | str, prompts: Sequence[str], wish: Wish | None = None) -> list[Asked]:
        found = self.pool.find(bundle) if isinstance(bundle, str) else bundle
        task = found.of(None)
        most = None if wish is None else wish.most
        rows = task.encode(task.examples(prompts), self.pool.backbone, self.pool.backbone.tokenizer, most=most)
        return [Asked(found, row, wish=wish) for row in rows]

    async def texts(self, bundle: Registered | str, prompts: Sequence[str], wish: Wish | None = None) -> list[str]:
        """Of the request, as answers or completions have them."""
        found = await self.generation.write(self.asked(bundle, prompts, wish), seconds=60)
        self.most_running = max(self.most_running, self.generation.running)
        return [str(one.value) if isinstance(one, Answer) else one.text for one in found]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not true():
                await asyncio.sleep(0.001)

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Within a loop of its own."""

        async def all_of_it() -> None:
            self.batcher.start()
            self.generation.start()
            try:
                await work()
            finally:
                self.batcher.refuse()
                await self.generation.close()
                await self.batcher.close()

        asyncio.run(all_of_it())


def test_texts_of_many_bundles_that_join_midway_are_those_of_each_alone(
    llama: Backbone, shelf: Path, alone: dict[str, list[str]]
) -> None:
    desk = Desk(llama, shelf, running=7)

    async def work() -> None:
        async def ask(name: str, place: int) -> None:
            await asyncio.sleep(0.004 * place)
            assert await desk.texts(name, [PROMPTS[place % 4]]) == [alone[name][place % 4]], name

        await asyncio.gather(*(ask(name, place) for place in range(8) for name in BUNDLES))

    desk.run(work)
    assert 1 < desk.most_running <= 7


def test_bundles_of_one_mixture_share_every_pass(llama: Backbone, shelf: Path) -> None:
    desk = Desk(llama, shelf)
    passes: list[int] = []

    async def work() -> None:
        await desk.texts("one", PROMPTS[:1])
        kind = desk.pool.hot(desk.pool.find("one")).kind
        assert kind is desk.pool.hot(desk.pool.find("two")).kind is desk.pool.hot(desk.pool.find("scaled")).kind
        trunk = desk.pool.mixture(kind).trunk([None])  # type: ignore[arg-type]
        trunk.register_forward_pre_hook(
            lambda _module, _given, named: passes.append(len(named["input_ids"])), with_kwargs=True
        )
        await asyncio.gather(*(desk.texts(name, PROMPTS, Wish(16, stop=())) for name in ("one", "two", "scaled")))

    desk.run(work)
    assert max(passes) == 12
    assert len(passes) <= 16 + 6  # a token each, and the prompts, alike in length


def test_what_is_drawn_is_the_same_alone_and_beside_others(llama: Backbone, shelf: Path) -> None:
    desk, found = Desk(llama, shelf), {}
    wish = Wish(16, temperature=1.5, seed=5)

    async def work() -> None:
        found["alone"] = await desk.texts("one", PROMPTS[:2], wish)
        others = [desk.texts(name, PROMPTS, Wish(16, temperature=1.5, seed=seed)) for seed, name in enumerate(BUNDLES)]
        *_, found["beside"] = await asyncio.gather(*others, desk.texts("one", PROMPTS[:2], wish))
        [found["second"]] = await desk.texts("one", PROMPTS[1:2], Wish(16, temperature=1.5, seed=6))
        found["other"] = await desk.texts("one", PROMPTS[:2], Wish(16, temperature=1.5, seed=9))

    desk.run(work)
    assert found["alone"] == found["beside"] != found["other"]
    assert found["alone"][1] == found["second"], "text i is drawn with seed + i"


def test_a_text_ends_with_the_version_that_it_began_with(
    llama: Backbone, shelf: Path, alone: dict[str, list[str]], tmp_path: Path
) -> None:
    desk = Desk(llama, shelf)
    anew = make(tmp_path / "anew", llama, BUNDLES["one"], seed=77)
    expected = [one["text"] for one in load_bundle(anew, backbone=llama).predict(list(PROMPTS))]
    assert expected != alone["one"]

    async def work() -> None:
        old = desk.pool.find("one")
        begun = asyncio.ensure_future(desk.texts(old, PROMPTS))
        await desk.until(lambda: desk.generation.running > 0)
        new = await desk.batcher.alone(lambda: desk.pool.load(anew, "one"))
        await desk.batcher.alone(lambda: desk.pool.remove(old.full_name))
        await desk.batcher.alone(lambda: desk.pool.sweep(()))
        assert not begun.done()
        assert desk.pool.is_hot(old), "its texts are not whole"
        assert await desk.texts(new, PROMPTS) == expected
        assert await begun == alone["one"]
        await desk.batcher.alone(lambda: desk.pool.sweep(()))
        assert not desk.pool.is_hot(old)

    desk.run(work)


def test_no_more_bundles_are_written_with_than_may_be_in_memory(
    llama: Backbone, shelf: Path, alone: dict[str, list[str]]
) -> None:
    desk, hot = Desk(llama, shelf, most_hot=2), []

    async def work() -> None:
        async def look() -> None:
            while True:
                hot.append(desk.pool.count_hot())
                await asyncio.sleep(0.001)

        looking = asyncio.ensure_future(look())
        found = await asyncio.gather(*(desk.texts(name, PROMPTS) for name in BUNDLES))
        looking.cancel()
        assert dict(zip(BUNDLES, found, strict=True)) == alone

    desk.run(work)
    assert max(hot) == 2


@pytest.mark.parametrize("queueing", [{"running": 2}, {"cache_tokens": 80}])
def test_texts_wait_for_a_place_and_for_room_of_keys_and_values(
    llama: Backbone, shelf: Path, alone: dict[str, list[str]], queueing: dict[str, int]
) -> None:
    desk, seen = Desk(llama, shelf, **queueing), []

    async def work() -> None:
        task = asyncio.ensure_future(desk.texts("one", PROMPTS * 2))
        while not task.done():
            in_work = list(desk.generation._in_work)
            seen.append((len(in_work), len(in_work) * max((one.positions for one in in_work), default=0)))
            await asyncio.sleep(0.001)
        assert await task == alone["one"] * 2

    desk.run(work)
    most, positions = (max(one) for one in zip(*seen, strict=True))
    assert 2 <= most <= queueing.get("running", 4)
    assert positions <= queueing.get("cache_tokens", 200)


def test_one_text_that_needs_more_than_all_the_room_is_written_alone(
    llama: Backbone, shelf: Path, alone: dict[str, list[str]]
) -> None:
    desk = Desk(llama, shelf, cache_tokens=3)
    desk.run(lambda: _check(desk.texts("one", PROMPTS), alone["one"]))


async def _check(found: Coroutine[Any, Any, list[str]], expected: list[str]) -> None:
    assert await found == expected


def test_a_request_that_is_cancelled_or_late_frees_its_places_at_the_next_token(
    llama: Backbone, shelf: Path, alone: dict[str, list[str]]
) -> None:
    desk = Desk(llama, shelf, running=4)

    async def work() -> None:
        long = Wish(80)
        left = asyncio.ensure_future(desk.texts("one", PROMPTS, long))
        await desk.until(lambda: desk.generation.running == 4)
        left.cancel()
        assert await desk.texts("two", PROMPTS) == alone["two"]
        assert desk.generation.running <= 4
        with pytest.raises(TooLate, match="no answer within"):
            await desk.generation.write(desk.asked("one", PROMPTS, long), seconds=0.02)
        await desk.until(lambda: desk.generation.running == 0)
        assert (desk.batcher.rows, desk.batcher.tokens, desk.generation.waiting) == (0, 0, 0)
        assert len(desk.generation._running) == 0

    desk.run(work)


def test_a_bundle_that_cannot_be_read_takes_no_other_down(
    llama: Backbone, shelf: Path, alone: dict[str, list[str]], tmp_path: Path
) -> None:
    desk = Desk(llama, shelf)
    gone = desk.pool.register(Path(shutil.copytree(shelf / "two", tmp_path / "gone")), "gone")
    shutil.rmtree(tmp_path / "gone")

    async def work() -> None:
        failing = desk.texts(gone, PROMPTS)
        found = await asyncio.gather(desk.texts("one", PROMPTS), failing, return_exceptions=True)
        assert found[0] == alone["one"]
        assert isinstance(found[1], Unavailable)
        assert await desk.texts("one", PROMPTS) == alone["one"]

    desk.run(work)


def test_a_text_that_goes_while_others_leave_goes_at_the_next_token(
    llama: Backbone, shelf: Path, alone: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(llama, shelf)
    running = Running(desk.pool, batch_tokens=4096)
    going, *staying = [sheet_of(one, desk.pool) for one in desk.asked("one", PROMPTS)]
    leave = Lane.leave

    def left_before(lane: Lane) -> list[Draft]:
        found = leave(lane)
        going.draft.gone = True
        return found

    monkeypatch.setattr(Lane, "leave", left_before)
    assert running.turn([going, *staying]) == {}
    monkeypatch.undo()
    assert running.turn([]) == {going: None}
    found = {}
    while len(running):
        found |= running.turn([])
    assert [found[sheet].value for sheet in staying] == alone["one"][1:]  # type: ignore[union-attr]


def test_a_pass_that_fails_takes_the_texts_of_other_trunks_not_down(
    llama: Backbone, shelf: Path, alone: dict[str, list[str]]
) -> None:
    desk = Desk(llama, shelf)

    async def work() -> None:
        prompted = desk.pool.find("prompted")
        [assembly] = (await desk.batcher.alone(lambda: desk.pool.hot(prompted))).assemblies
        broken = assembly.trunk.register_forward_pre_hook(_break, with_kwargs=True)
        found = await asyncio.gather(
            desk.texts("one", PROMPTS), desk.texts("prompted", PROMPTS), return_exceptions=True
        )
        assert found[0] == alone["one"]
        assert isinstance(found[1], RuntimeError)
        broken.remove()
        assert await desk.texts("prompted", PROMPTS) == alone["prompted"]

    desk.run(work)


def _break(_module: Any, _given: Any, named: Any) -> None:
    if named["past_key_values"].get_seq_length() > 12:
        raise RuntimeError("no memory left")


def test_more_than_may_wait_is_refused_and_nothing_new_is_taken_while_closing(
    llama: Backbone, shelf: Path, alone: dict[str, list[str]]
) -> None:
    desk = Desk(llama, shelf, most_rows=4)

    async def work() -> None:
        first = asyncio.ensure_future(desk.texts("one", PROMPTS))
        await desk.until(lambda: desk.generation.running > 0)
        with pytest.raises(Busy):
            await desk.texts("two", PROMPTS[:1])
        desk.batcher.refuse()
        with pytest.raises(Closing):
            await desk.texts("two", PROMPTS[:1])
        assert await first == alone["one"], "what was begun is finished"

    desk.run(work)


def test_a_search_with_beams_is_written_as_it_is_offline(llama: Backbone, tmp_path: Path) -> None:
    folder = make(tmp_path / "beams", llama, BUNDLES["one"], seed=3, beams=3)
    pool = Pool(llama)
    found = pool.register(folder, "beams")
    assert not pool.writes_by_token(found)
    with TestClient(make_app(pool, ServeConfig(root=tmp_path), keys=Keys({}))) as client:
        told = client.post("/v1/predict", json={"bundle": "beams", "inputs": list(PROMPTS)}).json()
    offline = load_bundle(folder, backbone=llama).predict(list(PROMPTS))
    assert [one["text"] for one in told["answers"]] == [one["text"] for one in offline]
    with pytest.raises(ValueError, match="beams"):
        sheet_of(Desk.asked(_Only(pool), found, PROMPTS)[0], pool)  # type: ignore[arg-type]


class _Only:
    """A pool alone."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool


def test_metrics_tell_what_is_written(llama: Backbone, shelf: Path) -> None:
    pool = Pool(llama)
    pool.register(shelf / "one", "one")
    asked = {"model": "one", "prompt": list(PROMPTS), "temperature": 1.0, "seed": 3}
    with TestClient(make_app(pool, ServeConfig(root=shelf), keys=Keys({}))) as client:
        told = client.post("/v1/completions", json=asked).json()
        assert client.post("/v1/completions", json=asked).json()["choices"] == told["choices"]
        assert client.post("/v1/completions", json={**asked, "seed": 4}).json()["choices"] != told["choices"]
        lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
        written = float(lines['adaptune_written_tokens_total{bundle="one"}'])
    assert written >= 2 * told["usage"]["completion_tokens"]
    assert float(lines["adaptune_first_token_seconds_count"]) == 3 * len(PROMPTS)
    for name in ("adaptune_running_sequences", "adaptune_waiting_sequences", "adaptune_tokens_per_second"):
        assert float(lines[name]) == 0.0


def test_completions_say_how_they_ended(llama: Backbone, shelf: Path) -> None:
    desk = Desk(llama, shelf)

    async def work() -> None:
        found = await desk.generation.write(desk.asked("one", PROMPTS, Wish(3)), seconds=60)
        assert [(one.tokens, one.finish) for one in found if isinstance(one, Completion)] == [(3, "length")] * 4

    desk.run(work)
