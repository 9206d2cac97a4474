"""The page in a real browser, as a person uses it: look at runs, compare, start, watch, stop and resume them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from adaptune.recipe.source import write_text
from adaptune.ui.app import make_app
from adaptune.ui.places import Places

PATIENCE = 120_000
"""Milliseconds; machines that run tests are busy."""
HTML = "<img src=x onerror=window.hit=1>"


class Shown:
    """The page of a folder, in a thread of this process."""

    def __init__(self, runs: Path) -> None:
        self._app = make_app(Places(runs, runs.parent))
        self._server = uvicorn.Server(uvicorn.Config(self._app, log_level="error", ws="none"))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
        for child in self._app.state.jobs._children.values():
            child.wait()  # no process outlives the test


@pytest.fixture
def shown(runs: Path, make_run: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    make_run("reviews/small", score=0.81, method={"name": "bitfit"})
    make_run("reviews/large", score=0.93, method={"name": "lora", "rank": 16}, seed=2)
    make_run("odd", model={"name": HTML}, task={"name": "tag"})
    monkeypatch.chdir(runs.parent)
    things = ("film", "book", "train", "house", "river", "phone", "game", "shop")
    rows = [
        f"the {one} and the {two} was {word},{word}" for one in things for two in things for word in ("good", "bad")
    ]
    (runs.parent / "train.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    found = Shown(runs)
    yield found
    found.stop()


@pytest.fixture
def visit(browser: Any, shown: Shown) -> Iterator[Callable[..., Any]]:
    """visit("#/new", locale="zh-CN"): the page; in the end nothing was asked of others, and the console is clean."""
    opened: list[tuple[Any, list[str], list[str], tuple[str, ...]]] = []

    def open_page(address: str = "", *, expected: tuple[str, ...] = (), **more: Any) -> Any:
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 900}, **more})
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        requests: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        opened.append((context, requests, errors, expected))
        page.goto(f"{shown.url}/{address}")
        page.wait_for_selector("#content h1")
        return page

    yield open_page
    for context, requests, errors, expected in opened:
        context.close()
        assert requests
        assert [one for one in requests if not one.startswith(shown.url)] == []
        assert [one for one in errors if not any(part in one for part in expected)] == []


def write_recipe(file: Path, model: Path, *, epochs: int) -> None:
    sections = {"task": "classify", "data": {"train": "train.csv"}, "model": str(model)}
    file.write_text("# mine\n" + write_text(sections | {"train": {"epochs": epochs, "patience": None}}))


def until(page: Any, holds: Callable[[], bool]) -> None:
    """Playwright's own waiting for a condition is refused by the page's policy."""
    for _ in range(PATIENCE // 100):
        if holds():
            return
        page.wait_for_timeout(100)
    pytest.fail("it never holds")


def names(page: Any) -> list[str]:
    return [one.get_attribute("data-name") for one in page.locator("table.runs tbody tr").all()]


def test_runs_are_found_ordered_opened_and_compared(visit: Any, contrast: str) -> None:
    page = visit()
    page.wait_for_selector("table.runs")
    assert sorted(names(page)) == ["odd", "reviews/large", "reviews/small"]
    assert page.locator(".count").text_content() == "3 of 3 runs"
    page.click("button.sort:has-text('Score')")
    assert names(page) == ["reviews/large", "reviews/small", "odd"]
    page.click("button.sort:has-text('Score')")
    assert names(page)[-1] == "reviews/large"
    page.select_option("[name=state]", "finished")
    page.fill("[name=words]", "lora class")
    assert names(page) == ["reviews/large"]
    assert "0.930" in page.locator("tr[data-name='reviews/large']").text_content()
    page.fill("[name=words]", "")
    page.select_option("[name=state]", "")
    assert page.evaluate(contrast) == []

    page.click("a:has-text('reviews/large')")
    page.wait_for_selector(".chart svg")
    losses, accuracies = page.locator(".chart polyline").all()
    assert len(losses.get_attribute("points").split()) == 4
    assert len(accuracies.get_attribute("points").split()) == 2
    heights = [float(one.split(",")[1]) for one in losses.get_attribute("points").split()]
    assert heights == sorted(heights), "the loss falls"
    assert page.locator(".big-score strong").text_content() == "0.930"
    assert page.locator(".spans .name").all_text_contents() == ["test rows", "Baseline: most frequent"]
    page.click("summary:has-text('Recipe')")
    assert "rank: 16" in page.locator("details[open] pre").text_content()
    assert page.evaluate(contrast) == []

    page.click("#ways a >> nth=0")
    for name in ("reviews/small", "reviews/large"):
        page.check(f"tr[data-name='{name}'] input")
    page.click("a:has-text('Compare')")
    page.wait_for_selector("table.differences")
    rows = [row.locator("th, td").all_text_contents() for row in page.locator("table.differences tbody tr").all()]
    assert rows == [["method.name", "bitfit", "lora"], ["method.rank", "–", "16"], ["seed", "1", "2"]]
    assert page.locator(".chart").first.locator("polyline").count() == 2
    assert page.evaluate(contrast) == []


def test_what_strangers_wrote_stays_text_on_a_phone_and_in_the_dark(visit: Any, contrast: str) -> None:
    page = visit("#/run/odd", viewport={"width": 390, "height": 800}, color_scheme="dark")
    page.wait_for_selector(".chart svg")
    page.click("summary:has-text('Recipe')")
    assert HTML in page.locator("details[open] pre").text_content()
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 1, "the sign of the page alone"
    assert page.evaluate("document.scrollingElement.scrollWidth") == 390
    assert page.evaluate(contrast) == []
    page.goto(page.url.partition("#")[0] + "#/new")
    page.wait_for_selector(".editor")
    assert page.evaluate("document.scrollingElement.scrollWidth") == 390
    assert page.evaluate(contrast) == []


def test_the_page_speaks_chinese_to_those_who_do(visit: Any) -> None:
    page = visit(locale="zh-CN")
    page.wait_for_selector("table.runs")
    assert page.locator("h1").text_content() == "运行"
    assert page.locator(".chip").all_text_contents().count("已完成") == 2
    page.select_option("#language", "en")
    page.wait_for_selector("h1:has-text('Runs')")


@pytest.mark.slow
def test_a_run_is_started_from_a_form_watched_to_its_end_and_compared(
    visit: Any, runs: Path, tiny_bert: Path, contrast: str
) -> None:
    write_recipe(runs.parent / "mine.yaml", tiny_bert, epochs=3)
    page = visit("#/new")
    page.select_option(".head select", "mine.yaml")
    page.wait_for_selector("[data-path='train.epochs']")
    assert page.input_value("[data-path='data.train']") == "train.csv"
    assert page.input_value("[data-path='train.epochs']") == "3"
    assert page.input_value("[name=name]") == "mine"

    page.select_option("[data-path='method.name']", "lora")
    page.fill("[data-path='method.rank']", "none")
    page.press("[data-path='method.rank']", "Tab")
    fault = page.wait_for_selector("[data-fault='method.rank']:not(:empty)")
    assert fault.text_content() == "method.rank: expected a whole number, got 'none'"
    assert page.locator(".faults li").count() == 1
    assert page.locator("button.main:has-text('Start')").is_disabled()
    assert page.evaluate(contrast) == []
    page.fill("[data-path='method.rank']", "2")
    page.press("[data-path='method.rank']", "Tab")
    page.wait_for_selector(".faults[data-count='0']", state="attached")
    assert "method:\n  name: lora\n  rank: 2\n" in page.input_value(".editor")

    page.fill(".editor", page.input_value(".editor").replace("epochs: 3", "epochs: 2"))
    until(page, lambda: page.input_value("[data-path='train.epochs']") == "2")
    page.fill("[name=setting]", "dora")
    assert page.locator(".setting:visible code").all_text_contents() == ["dora"]
    page.fill("[name=setting]", "")

    page.fill("[name=name]", "reviews/new")
    page.click("button.main:has-text('Start')")
    page.wait_for_selector("h1:has-text('reviews/new')")
    page.wait_for_selector("h1 .chip.state-finished")
    page.wait_for_selector(".big-score strong")
    steps = page.locator(".chart polyline").first.get_attribute("points").split()
    assert len(steps) == len((runs / "reviews" / "new" / "steps.jsonl").read_text().splitlines())
    page.click("summary:has-text('Log')")
    until(page, lambda: "bundle: " in page.locator("pre.log").text_content())
    page.goto(page.url.partition("#")[0] + "#/compare/reviews%2Fnew/reviews%2Flarge")
    page.wait_for_selector("table.differences")
    assert "method.rank" in page.locator("table.differences").text_content()


@pytest.mark.slow
def test_a_run_is_stopped_and_resumed_without_losing_a_step(
    visit: Any, shown: Shown, runs: Path, tiny_bert: Path
) -> None:
    write_recipe(runs.parent / "long.yaml", tiny_bert, epochs=5000)
    page = visit("#/new/file/long.yaml", expected=("409",))
    page.click("button.main:has-text('Start'):enabled")
    page.wait_for_selector("[data-live] progress")
    assert "at most" in page.locator("[data-live]").text_content()
    page.click("[data-act=stop]")
    page.wait_for_selector("h1 .chip.state-interrupted")
    stopped = len((runs / "long" / "steps.jsonl").read_text().splitlines())
    page.click("[data-act=resume]")
    page.wait_for_selector("[data-live] progress")
    until(page, lambda: int(page.locator("[data-live] dd").nth(1).text_content().replace(",", "")) > stopped)
    page.click("[data-act=stop]")
    page.wait_for_selector("h1 .chip.state-interrupted")
    told = httpx.get(f"{shown.url}/api/live", params={"name": "long"}).json()["steps"]["records"]
    assert [one["step"] for one in told] == list(range(1, len(told) + 1))
    assert len(told) > stopped
