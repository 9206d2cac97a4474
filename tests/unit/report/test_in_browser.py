"""The report in a real browser, from disk: nothing but the file is asked for, nothing runs, and it prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adaptune.report.write import write_report

from .conftest import Folder

PATIENCE = 60_000
"""Milliseconds; machines that run tests are busy."""
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
CLIPPED = """() => [...document.querySelectorAll('svg')].flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const own = text.getBoundingClientRect();
    return own.left < box.left - 2 || own.right > box.right + 2 || own.bottom > box.bottom + 2;
  }).map(text => text.textContent);
})"""
"""Letters that stand outside their drawing."""
Opened = Callable[..., Any]


@pytest.fixture
def opened(browser: Any) -> Iterator[Opened]:
    """opened(file): the page; in the end it has asked for nothing but itself, and the console is empty."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.set_default_timeout(PATIENCE)
    asked: list[str] = []
    said: list[str] = []
    files: list[str] = []

    def open_file(file: Path) -> Any:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        files.append(file.as_uri())
        page.goto(file.as_uri())
        return page

    yield open_file
    context.close()
    assert [url for url in asked if url not in files and not url.startswith("data:")] == []
    assert said == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_reports_open_from_disk_in_both_languages(
    language: str, opened: Opened, run: Folder, comparison: Folder
) -> None:
    for folder in (run(), comparison()):
        page = opened(write_report(folder, language=language))
        assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-CN"}[language]
        assert page.locator("section.verdict.good h2").is_visible()
        assert page.evaluate("window.hit") is None  # texts and labels hold scripts
        assert page.locator("svg").count() >= 4
        assert page.evaluate(CLIPPED) == []
        assert page.evaluate(WIDER) is False
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate(WIDER) is False


def test_on_paper_what_is_folded_is_open_and_colours_are_light(opened: Opened, run: Folder) -> None:
    page = opened(write_report(run(), language="en"))
    recipe = page.locator("#reproduce details code")
    assert not recipe.is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert recipe.bounding_box()["height"] > 40
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert page.pdf(format="A4")[:5] == b"%PDF-"


def test_a_run_that_was_killed_opens_as_well(opened: Opened, run: Folder) -> None:
    folder = run()
    for name in ("report.json", "predictions.jsonl", "scores.jsonl"):
        (folder / name).unlink()
    page = opened(write_report(folder, language="en"))
    assert page.locator("section.verdict.warn h2").is_visible()
    assert page.locator("#missing li").count() == 3
