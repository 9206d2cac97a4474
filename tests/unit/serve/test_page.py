"""The page's files as the server sends them, and what it tells the page of a bundle's inputs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from adaptune.serve.page import ASSETS, FOLDER
from adaptune.tasks import TASKS


def test_the_page_comes_without_a_key_and_lets_nothing_in_from_elsewhere(client: Any) -> None:
    response = client().get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.text == (FOLDER / "index.html").read_text(encoding="utf-8")


def test_a_browser_that_has_a_file_is_told_so(client: Any) -> None:
    service = client()
    first = service.get("/page/main.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert first.headers["content-encoding"] == "gzip"
    again = service.get("/page/main.js", headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    plain = service.get("/page/main.js", headers={"Accept-Encoding": "identity", "If-None-Match": '"x"'})
    assert plain.content == first.content == (FOLDER / "main.js").read_bytes()
    assert service.head("/page/main.js").headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("name", ["page.py", "..%2fpage.py", "../app.py", "none.js", "%00", ""])
def test_nothing_but_the_pages_files_can_be_had(client: Any, name: str) -> None:
    response = client().get(f"/page/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == 404


def test_the_files_name_one_another_and_nothing_elsewhere() -> None:
    used = {"index.html"} | {f"{kind}.{language}.json" for kind in ("words", "shared") for language in ("en", "zh")}
    for name, found in ASSETS.items():
        text = found.body.decode()
        used |= set(re.findall(r'"(?:page|\.)/([\w.]+)"', text))
        foreign = [url for url in re.findall(r"https?://[\w.:/]*", text) if not url.startswith("http://127.0.0.1")]
        assert set(foreign) <= {"http://www.w3.org/2000/svg"}, name
    assert used == set(ASSETS)
    preloaded = set(re.findall(r'modulepreload" href="page/([\w.]+)"', ASSETS["index.html"].body.decode()))
    assert preloaded == {name for name in ASSETS if name.endswith(".js")} - {"main.js"}


def test_both_languages_say_the_same_things_of_every_task() -> None:
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
    columns = {column.name for name in TASKS.names() for column in TASKS.get(name).columns if not column.label}
    assert {f"column.{name}" for name in columns} <= english.keys()


def test_a_bundle_says_what_its_inputs_hold(client: Any, make: Any, make_of_several: Any, tmp_path: Any) -> None:
    make("alike", "classify", "lora")
    make_of_several("both", "lora", "classify", "tag")
    service = client(root=tmp_path / "bundles")
    columns = service.get("/v1/bundles/alike").json()["columns"]
    assert [(one["name"], one["needed"], one["several"]) for one in columns] == [
        ("text", True, False),
        ("pair", False, False),
    ]
    told = service.get("/v1/bundles/both").json()
    assert told["columns"] == []
    needed = {name: [one["name"] for one in of["columns"] if one["needed"]] for name, of in told["tasks"].items()}
    assert needed == {"the-classify": ["text"], "the-tag": ["text"]}
