"""The page's files: what they name, and that both languages say the same."""

from __future__ import annotations

import json
import re

from adaptune.tasks import TASKS
from adaptune.ui.page import ASSETS


def test_the_files_name_one_another_and_nothing_elsewhere() -> None:
    used = {"index.html"} | {f"{kind}.{language}.json" for kind in ("words", "shared") for language in ("en", "zh")}
    for name, found in ASSETS.items():
        text = found.body.decode()
        used |= set(re.findall(r'"(?:page|\.)/([\w.]+)"', text))
        assert set(re.findall(r"https?://[\w.:/]*", text)) <= {"http://www.w3.org/2000/svg"}, name
        assert "innerHTML" not in text, name
    assert used == set(ASSETS)
    preloaded = set(re.findall(r'modulepreload" href="page/([\w.]+)"', ASSETS["index.html"].body.decode()))
    assert preloaded == {name for name in ASSETS if name.endswith(".js")} - {"main.js"}


def test_both_languages_say_the_same_things() -> None:
    english, chinese = (
        json.loads(ASSETS[f"shared.{language}.json"].body) | json.loads(ASSETS[f"words.{language}.json"].body)
        for language in ("en", "zh")
    )
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key
    said = "".join(found.body.decode() for name, found in ASSETS.items() if name.endswith((".js", ".html")))
    plain = set(re.findall(r'\bt\("([\w.]+)"|data-word(?:-\w+)?="([\w.]+)"', said))
    assert {one or other for one, other in plain} <= english.keys()
    assert {f"task.{name}" for name in TASKS.names()} <= english.keys()
