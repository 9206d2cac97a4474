"""The page in a real browser, before a real server: what people type, see, and save."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from adaptune.bundle.load import load_bundle
from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.types import NO_ANSWER, Labels, Scores
from adaptune.core.words import split
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.serve.keys import Caller, Keys, digest_of
from adaptune.tasks import TASKS

PATIENCE = 60_000
"""Milliseconds; machines that run tests are busy."""
HTML = "<img src=x onerror=window.hit=1>"
LABELS = {
    "reviews": ("classify", Labels(("bad", "good", HTML))),
    "places": ("tag", Labels(("O", "B-person", "I-person", "B-place", "I-place"))),
    "stars": ("regress", Labels(("number",), (48,), (2.0, 1.5))),
    "topics": ("multilabel", Labels(("late", "red", "small"))),
    "alike": ("match", Labels(("no", "yes"))),
    "related": ("relate", Labels(("Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)", "Other"))),
    "reading": ("answer", Labels(("answer", NO_ANSWER), (24, 24))),
    "exam": ("choose", Labels(())),
    "search": ("rank", Labels(())),
}
# Emoji are one character for the server and two for JavaScript.
SENTENCE = "🚀🚀 Mary Smith went from the old town to Paris and London by the river 🙂 with John"
ENTITIES = [("Mary Smith", "person"), ("Paris", "place"), ("London", "place"), ("John", "person")]
Visit = Callable[..., Any]


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """visit(server, "#/reviews", locale="zh-CN"): the page in a window of its own.

    In the end no request has left the server, and the browser's console holds no error but those that were expected.
    """
    opened: list[tuple[Any, str, list[str], list[str], tuple[str, ...]]] = []

    def open_page(
        server: Any, address: str = "", *, expected: tuple[str, ...] = (), before: Any = None, **more: Any
    ) -> Any:
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 900}, **more})
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        requests: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        opened.append((context, server.url, requests, errors, expected))
        if before is not None:
            before(page)
        page.goto(f"{server.url}/{address}")
        page.wait_for_selector("#panel > *, #key-form:not([hidden]), #notice > *")
        return page

    yield open_page
    for context, url, requests, errors, expected in opened:
        context.close()
        assert requests
        assert [one for one in requests if not one.startswith((url, f"blob:{url}"))] == []
        assert [one for one in errors if not any(part in one for part in expected)] == []


@pytest.fixture(scope="module")
def root(bert: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    for seed, (name, (kind, labels)) in enumerate(LABELS.items()):
        task = TASKS.make({"name": kind})
        head = HEADS.make({"name": task.default_head})
        assembly = Assembly(bert, METHODS.make({"name": "lora", "rank": 2}), head, labels, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in assembly.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        if kind == "tag":
            teach(assembly, {"Mary": 1, "Smith": 2, "Paris": 3, "London": 3, "John": 1})
        columns = {"candidates": "candidates"} if kind == "rank" else {}
        scores = {"test": Scores({"accuracy": 0.5})}
        save_bundle(folder / name, assembly, task, columns=columns, max_length=64, scores=scores)
    return folder


def teach(assembly: Assembly, tags: Mapping[str, int]) -> None:
    """Let the output layer give the words of the sentence these labels, by least squares."""
    words = [word.text for word in split(SENTENCE)]
    read = assembly.backbone.tokenizer(words, is_split_into_words=True, return_tensors="pt")
    first = [read.word_ids().index(place) for place in range(len(words))]
    layer: Any = assembly.layer
    wanted = torch.nn.functional.one_hot(torch.tensor([tags.get(word, 0) for word in words]), len(layer.bias))
    with torch.no_grad():
        hidden = assembly.eval().trunk(**read).last_hidden_state[0, first]
        layer.weight.copy_(torch.linalg.lstsq(hidden, 10.0 * wanted).solution.T)
        layer.bias.zero_()


@pytest.fixture(scope="module")
def server(bert: Backbone, root: Path, running: Any) -> Any:
    return running(bert, root)


@pytest.fixture(scope="module")
def offline(bert: Backbone, root: Path) -> Callable[[str, Any], Any]:
    """offline("places", "the old town"): what the bundle itself says."""
    loaded: dict[str, Any] = {}

    def answer(name: str, given: Any) -> Any:
        if name not in loaded:
            loaded[name] = load_bundle(root / name, backbone=bert)
        return loaded[name].predict([given])[0]

    return answer


def asked(page: Any, **typed: str) -> Any:
    """The answer after filling the fields and pressing the button."""
    for name, text in typed.items():
        page.fill(f"[name={name}]", text)
    page.click("#panel form.card button.main")
    page.wait_for_selector(".result .answer, .result .notice")
    return page.locator(".result")


def test_a_sentence_is_typed_and_its_entities_are_highlighted(visit: Visit, server: Any) -> None:
    page = visit(server, "#/places")
    result = asked(page, text=SENTENCE)
    marks = result.locator(".marked mark.entity")
    shown = [(one.evaluate("mark => mark.firstChild.data"), one.locator("small").text_content()) for one in marks.all()]
    assert shown == ENTITIES
    grounds = [one.evaluate("mark => getComputedStyle(mark).backgroundColor") for one in marks.all()]
    assert grounds[0] == grounds[3] != grounds[1] == grounds[2]
    assert page.locator(".entities li").count() == 4
    without_types = "p => { for (const type of p.querySelectorAll('small')) type.remove(); return p.textContent }"
    assert result.locator(".marked").evaluate(without_types) == SENTENCE
    assert page.locator(".facts .latency").text_content().endswith(" ms")
    assert server.pool.find("places").version in page.locator(".facts").text_content()


def test_labels_are_shown_with_their_probabilities_and_the_request_as_json_and_command(
    visit: Visit, server: Any, offline: Any
) -> None:
    page = visit(server, "#/reviews")
    text = "the train wasn't late"
    result = asked(page, text=text)
    expected = offline("reviews", text)
    assert result.locator(".big strong").text_content() == expected["label"]
    assert result.locator(".bars .name").first.text_content() == expected["label"]
    shares = [float(one.rstrip("%")) for one in result.locator(".bars .value").all_text_contents()]
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert shares[0] == pytest.approx(100 * expected["probability"], abs=0.06)
    for summary in result.locator("summary").all():
        summary.click()
    assert json.loads(result.locator("pre.json").text_content())["answers"][0]["label"] == expected["label"]
    command = result.locator("pre.curl").text_content()
    assert command.startswith(f"curl '{server.url}/v1/predict'")
    assert "wasn'\\''t" in command


def test_html_in_texts_and_labels_stays_text(visit: Visit, server: Any) -> None:
    page = visit(server, "#/places")
    for name in ("places", "reviews", "topics"):
        page.click(f"#bundles a[data-name={name}]")
        asked(page, text=f"{HTML}<script>window.hit=2</script> the old town")
    page.click("#tab-batch")
    page.fill("[name=rows]", f"{HTML}\nthe old town")
    page.click("#panel form.card button.main")
    page.wait_for_selector("tbody tr")
    assert HTML in page.locator("tbody").text_content()
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 1, "the sign of the page alone"


def test_the_keyboard_alone_is_enough(visit: Visit, server: Any) -> None:
    page = visit(server)

    def press_until(key: str, wanted: str) -> None:
        """The key again and again, until what is in focus has the name."""
        for _ in range(40):
            page.keyboard.press(key)
            focused = page.evaluate("[document.activeElement].map(one => one.dataset.name || one.name || one.id)[0]")
            if focused == wanted:
                return
        pytest.fail(f"{key} never reaches {wanted!r}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    press_until("Tab", "alike")
    press_until("ArrowDown", "places")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('places')")
    press_until("Tab", "text")
    page.keyboard.type("we went to the old town")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".result .answer")
    press_until("Shift+Tab", "tab-try")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("[name=rows]")
    page.wait_for_function("document.activeElement.id === 'tab-batch'")
    assert page.url.endswith("#/places/batch")


def test_the_page_speaks_chinese_to_those_who_do(visit: Visit, server: Any) -> None:
    page = visit(server, "#/places", locale="zh-CN")
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    assert page.locator("#tabs button").all_text_contents()[:2] == ["试用", "批量"]
    assert "实体识别" in page.locator("#bundles a[data-name=places]").text_content()
    result = asked(page, text=" ")
    assert result.locator(".notice").text_content() == "还不能提交“文本”为空，请填写后再提交。"
    page.select_option("#language", "en")
    page.wait_for_selector("#tab-try:has-text('Try')")
    page.reload()
    page.wait_for_selector("#tab-try:has-text('Try')")
    assert visit(server, locale="fr-FR").locator("html").get_attribute("lang") == "en"


FORMS = {
    "stars": {"text": "a good film"},
    "topics": {"text": "the late red train"},
    "alike": {"text": "a good film", "pair": "a great film"},
    "reading": {"question": "where did we go", "context": "🙂 we went to the old town by the river"},
    "exam": {"question": "what is late", "options": "the train\nthe river\na red box"},
    "search": {"query": "a good film", "candidates": "a great film\nthe old town\nred"},
}


@pytest.mark.parametrize("name", FORMS)
def test_every_task_has_its_form_and_its_drawing(visit: Visit, server: Any, offline: Any, name: str) -> None:
    page = visit(server, f"#/{name}")
    typed = FORMS[name]
    result = asked(page, **typed)
    assert result.locator(".notice").count() == 0, result.text_content()
    several = {"options", "candidates"}
    given: Any = {key: text.split("\n") if key in several else text for key, text in typed.items()}
    expected = offline(name, typed["text"] if set(typed) == {"text"} else given)
    big = result.locator(".big strong").all_text_contents()
    names = result.locator(".bars .name").all_text_contents()
    if name == "stars":
        assert float(big[0]) == pytest.approx(expected["number"], rel=1e-3)
    elif name == "topics":
        assert result.locator(".chip").all_text_contents() == [one["label"] for one in expected["labels"]]
        assert set(names) == {"late", "red", "small"}
    elif name == "alike":
        assert (big, names[0]) == ([expected["label"]], expected["label"])
    elif name == "reading":
        marked = result.locator(".marked mark").all_text_contents()
        assert marked == ([expected["answer"]] if expected["answer"] else [])
        assert result.locator(".marked").text_content() == typed["context"]
    elif name == "exam":
        assert (big, names) == ([expected["text"]], given["options"])
        assert result.locator(".bars .picked .name").all_text_contents() == [expected["text"]]
    else:
        assert names == [f"{place}. {one['text']}" for place, one in enumerate(expected["ranking"], start=1)]


def test_a_relation_is_an_arrow_between_the_words_that_were_marked(visit: Visit, server: Any, offline: Any) -> None:
    page = visit(server, "#/related")
    page.fill("[name=text]", "the rain made the river high")
    for word, button in (("rain", "e1"), ("river", "e2")):
        page.eval_on_selector(
            "[name=text]",
            "(box, word) => { const at = box.value.indexOf(word);"
            " box.focus(); box.setSelectionRange(at, at + word.length) }",
            word,
        )
        page.click(f"button.{button}")
    assert page.input_value("[name=text]") == "the <e1>rain</e1> made the <e2>river</e2> high"
    assert page.locator(".preview mark").all_text_contents() == ["rain", "river"]
    result = asked(page)
    expected = offline("related", "the <e1>rain</e1> made the <e2>river</e2> high")
    relation, _, direction = expected["relation"].partition("(")
    assert result.locator(".relation-name").evaluate("name => name.firstChild.data") == relation
    assert result.locator(".relation .marked").text_content() == "the rain made the river high"
    page.wait_for_selector(".relation path.arrow[d]")
    start, end = page.eval_on_selector(
        ".relation",
        "box => { const path = box.querySelector('path.arrow').getAttribute('d').match(/[\\d.]+/g).map(Number);"
        " const middle = mark => { const rect = box.querySelector(mark).getBoundingClientRect();"
        " return rect.left + rect.width / 2 - box.getBoundingClientRect().left };"
        " return [path[0] - middle('mark.e1'), path.at(-2) - middle('mark.e2')] }",
    )
    if direction != "e2,e1)":
        assert (abs(start), abs(end)) < (1, 1)


def test_many_rows_are_answered_in_pieces_and_saved_as_a_file(visit: Visit, server: Any, offline: Any) -> None:
    texts = ["=1+1", "-2", '@the "old" town', "the late, red train", "+good film", " a river", ""]
    texts += [f"train {number} to the old town" for number in range(63)]
    table = io.StringIO()
    csv.writer(table).writerows([["id", "text"], *enumerate(texts)])
    page = visit(server, "#/reviews/batch", accept_downloads=True, expected=("status of 422",))
    sent: list[int] = []
    page.on(
        "request",
        lambda one: sent.append(len(one.post_data_json["inputs"])) if one.url.endswith("/v1/predict") else None,
    )
    page.set_input_files(
        "input[type=file]", {"name": "rows.csv", "mimeType": "text/csv", "buffer": table.getvalue().encode()}
    )
    page.wait_for_selector("text=70 rows")
    assert page.locator("[data-column=text] option:checked").text_content() == "text"
    page.click("#panel form.card button.main")
    page.wait_for_selector("text=Download CSV")
    assert page.locator("progress").evaluate("bar => bar.value") == 70
    assert sent == [31, 32, 6], "the empty row is not sent"
    assert page.locator("tbody tr").count() == 70
    with page.expect_download() as saved:
        page.click("text=Download CSV")
    assert saved.value.suggested_filename == "reviews-answers.csv"
    content = Path(saved.value.path()).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    head, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert head[:2] == ["id", "text"]
    assert {"label", "probability", "error"} <= set(head)
    told = [dict(zip(head, row, strict=True)) for row in rows]
    assert [one["text"] for one in told[:5]] == [
        "'=1+1",
        "-2",
        '\'@the "old" town',
        "the late, red train",
        "'+good film",
    ]
    for text, one in zip(texts, told, strict=True):
        if not text:
            assert (one["label"], one["error"]) == ("", "“Text” is empty. Fill it in and ask again.")
            continue
        expected = offline("reviews", text)
        assert one["label"] == expected["label"]
        assert float(one["probability"]) == pytest.approx(expected["probability"], abs=1e-5)


def test_a_row_that_the_server_refuses_is_told_and_its_neighbours_are_answered(visit: Visit, server: Any) -> None:
    page = visit(server, "#/related/batch", expected=("status of 422",))
    page.fill(
        "[name=rows]", "the <e1>rain</e1> made the <e2>river</e2> high\nno marks here\n<e1>we</e1> buy a <e2>book</e2>"
    )
    page.click("#panel form.card button.main")
    page.wait_for_selector("tbody tr")
    cells = [row.locator("td").all_text_contents() for row in page.locator("tbody tr").all()]
    assert [bool(row[-1]) for row in cells] == [False, True, False]
    assert "there is no <e1>" in cells[1][-1]


def test_quotes_and_separators_of_tables_are_read_as_python_reads_them(visit: Visit, server: Any) -> None:
    page = visit(server)
    for text in (
        'a,b\r\n"x, ""y""",2\n,\n"line\nbreak",',
        "a;b\n1,5;2",
        "a\tb\n1\t2\n",
        "\ufeffa,b\n1,2",
        'a,b\n"q"r,s',
    ):
        found = page.evaluate(
            "async text => (await import(new URL('page/csv.js', document.baseURI))).parse(text)", text
        )
        separator = next(one for one in ",;\t" if f"a{one}b" in text)
        expected = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=separator))
        assert found == [row for row in expected if row], text


def test_words_are_split_as_the_server_splits_them(visit: Visit, server: Any) -> None:
    page = visit(server)
    for text in ("don't go to St. John's, 我们去 Paris2!", "naïve cafe\u0301 हिन्दी ภาษา \u5b57\U00020000 _a_b 🚀🙂 x²"):
        found = page.evaluate(
            "async text => (await import(new URL('page/text.js', document.baseURI))).split(text)", text
        )
        assert found == [word.text for word in split(text)]


@pytest.fixture(scope="module")
def locked(bert: Backbone, root: Path, running: Any) -> tuple[Any, str]:
    """A server that asks for keys, and one."""
    return running(bert, root, Keys({digest_of("the-right-key"): Caller("shop", False)})), "the-right-key"


def test_a_server_with_keys_asks_for_one_and_says_in_words_when_it_is_wrong(visit: Visit, locked: Any) -> None:
    server, key = locked
    page = visit(server, "#/reviews", expected=("status of 401",))
    assert page.locator("#key-form h1").text_content() == "This server asks for a key"
    assert page.locator("#content").is_hidden()
    page.wait_for_function("document.activeElement.id === 'key'")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    assert page.wait_for_selector("#notice strong").text_content() == "A valid API key is needed"
    page.fill("#key", key)
    page.keyboard.press("Enter")
    result = asked(page, text="a good film")
    assert result.locator(".big").count() == 1
    result.locator("summary").first.click()
    command = result.locator("pre.curl").text_content()
    assert key not in command
    assert '-H "Authorization: Bearer $ADAPTUNE_KEY"' in command
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 1]
    page.reload()
    page.wait_for_selector("h1:has-text('reviews')")


def test_a_reply_comes_as_it_is_written(visit: Visit, llama: Backbone, writers: Path, running: Any) -> None:
    server = running(llama, writers)
    page = visit(server, "#/talker")
    sent: list[Any] = []
    page.on("request", lambda one: sent.append(one.post_data_json) if one.url.endswith("completions") else None)
    replies = []
    for place, said in enumerate(("the late train", "and now?")):
        page.fill("[name=message]", said)
        page.press("[name=message]", "Enter")
        page.wait_for_selector(f".turn.assistant:nth-of-type({2 * place + 2}) .latency")
        replies.append(page.locator(".turn.assistant p").nth(place).text_content())
    turns = [{"role": "user", "content": "the late train"}]
    expected = page.request.post(
        f"{server.url}/v1/chat/completions", data={"model": "talker", "messages": turns}
    ).json()
    assert replies[0] == expected["choices"][0]["message"]["content"]
    chunks = json.loads(page.locator("pre.json").text_content())
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks) == replies[1]
    said = {"role": "assistant", "content": replies[0]}
    assert sent[1]["messages"] == [*turns, said, {"role": "user", "content": "and now?"}]
    page.click("#bundles a[data-name=writer]")
    page.fill("[name=source]", "a red box")
    page.click("text=How it is written")
    page.fill("[name=max_tokens]", "7")
    page.click("#panel form.card button.main")
    page.wait_for_selector(".written:not([data-writing])")
    whole = page.request.post(
        f"{server.url}/v1/completions", data={"model": "writer", "prompt": "a red box", "max_tokens": 7}
    )
    assert page.locator(".written").text_content() == whole.json()["choices"][0]["text"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_against_its_ground(visit: Visit, server: Any, scheme: str, contrast: str) -> None:
    page = visit(server, "#/places", color_scheme=scheme)
    asked(page, text=SENTENCE)
    assert page.evaluate(contrast) == []
    page.click("#bundles a[data-name=reviews]")
    asked(page, text="a good film")
    assert page.evaluate(contrast) == []
    asked(page, text="")
    assert page.evaluate(contrast) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.select_option("#theme", "light" if scheme == "dark" else "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark


def test_nothing_is_wider_than_a_phone(visit: Visit, server: Any) -> None:
    page = visit(server, "#/reviews", viewport={"width": 390, "height": 800})
    asked(page, text="a good film")
    assert page.evaluate("document.scrollingElement.scrollWidth") == 390
    page.click("#tab-batch")
    page.wait_for_selector("[name=rows]")
    assert page.evaluate("document.scrollingElement.scrollWidth") == 390


DRIFT = {
    "bundle": "reviews",
    "version": "1f0c9a3b77e2",
    "tasks": [
        {
            "name": None,
            "task": "classify",
            "reference": {"source": "validation", "rows": 200, "complete": True},
            "windows": [
                {
                    "window": "1h",
                    "seconds": 3600.0,
                    "rows": 123,
                    "labels": {"now": None, "reference": None, "drift": 0.08, "p": 0.31},
                    "shares": [
                        {"label": "good", "now": 0.52, "reference": 0.26},
                        {"label": HTML, "now": 0.48, "reference": 0.74},
                    ],
                    "confidence": {"now": 0.91, "reference": 0.93, "drift": 0.05, "p": 0.001},
                    "length": {"now": 48.0, "reference": 51.2, "drift": 0.04, "p": 0.9},
                    "unknown": {"now": None, "reference": None, "drift": None, "p": None},
                    "embedding": {"now": None, "reference": None, "drift": 0.12, "p": None},
                }
            ],
        }
    ],
    "requests": [
        {"window": "1h", "seconds": 3600.0, "requests": 40, "errors": 0, "latency_mean": 0.012, "latency_p95": 0.03}
    ],
}
ALERTS = {
    "alerts": [
        {
            "time": "2026-11-26T01:50:00+00:00",
            "rule": "too negative",
            "bundle": "reviews",
            "version": "1f0c9a3b77e2",
            "task": None,
            "severity": "warning",
            "when": "share(label=negative, window=15m) > 0.4 and n >= 50",
            "values": {"share(label=negative, window=15m)": 0.52},
        }
    ],
    "rules": [
        {
            "name": "too negative",
            "bundle": "reviews",
            "task": None,
            "severity": "warning",
            "when": "share(label=negative, window=15m) > 0.4 and n >= 50",
            "cooldown": "30m",
            "holds": True,
            "silent_until": None,
        }
    ],
}


def with_routes(*paths: str) -> Callable[[Any], None]:
    """The server as if it had these routes of watching, and no others of them."""

    def install(page: Any) -> None:
        def schema(route: Any) -> None:
            told = route.fetch().json()
            watching = ("/v1/bundles/{name}/drift", "/v1/alerts", "/v1/feedback")
            told["paths"] = {path: of for path, of in told["paths"].items() if path not in watching}
            told["paths"] |= {path: {} for path in paths}
            route.fulfill(json=told)

        page.route("**/openapi.json", schema)
        page.route("**/v1/bundles/*/drift", lambda route: route.fulfill(json=DRIFT))
        page.route("**/v1/alerts?limit=50", lambda route: route.fulfill(json=ALERTS))

    return install


def test_drift_and_alerts_are_drawn_where_the_server_watches(visit: Visit, server: Any, contrast: str) -> None:
    page = visit(server, "#/reviews/drift", before=with_routes("/v1/bundles/{name}/drift", "/v1/alerts"))
    page.wait_for_selector(".shares")
    first, second = (
        [float(one.get_attribute("width").rstrip("%")) for one in line.locator("rect").all()]
        for line in page.locator(".shares li:not(.key)").all()
    )
    assert [*first, *second] == pytest.approx([100 * share / 0.74 for share in (0.52, 0.26, 0.48, 0.74)])
    assert page.locator("tr.flagged th").all_text_contents() == ["Confidence"]
    assert "Unknown tokens" not in page.locator("#panel").text_content()
    assert page.evaluate("window.hit") is None
    page.click("#tab-alerts")
    assert page.wait_for_selector(".alerts li").text_content().startswith("Warning")
    assert page.locator(".state").text_content() == "Holds now"
    assert page.evaluate(contrast) == []


def test_a_server_that_does_not_watch_has_no_such_tabs(visit: Visit, server: Any) -> None:
    page = visit(server, "#/reviews/drift", before=with_routes())
    assert page.locator("#tabs button").all_text_contents() == ["Try", "Many rows"]
    asked(page, text="a good film")
    assert page.locator(".feedback").count() == 0


@pytest.mark.parametrize(
    ("name", "text", "act", "answer"),
    [
        ("reviews", "a good film", lambda page: page.fill("[name=right]", "a new one"), "a new one"),
        ("stars", "a good film", lambda page: page.fill("[name=right]", "3.5"), 3.5),
        ("places", "to the old town", lambda page: [one.click() for one in page.locator(".word").all()], None),
    ],
)
def test_a_wrong_answer_is_corrected(visit: Visit, server: Any, name: str, text: str, act: Any, answer: Any) -> None:
    page = visit(server, f"#/{name}", before=with_routes("/v1/feedback"))
    corrections: list[Any] = []

    def take(route: Any) -> None:
        corrections.append(route.request.post_data_json)
        route.fulfill(json={"id": 17})

    page.route("**/v1/feedback", take)
    with page.expect_response("**/v1/predict") as told:
        asked(page, text=text)
    page.click("text=No, correct it")
    act(page)
    page.click(".correct button.main")
    page.wait_for_selector(".thanks")
    assert corrections[0]["request_id"] == told.value.headers["x-request-id"]
    told_of = (corrections[0]["row"], corrections[0]["task"], corrections[0]["input"])
    assert told_of == (0, None, text)
    if name == "places":
        assert corrections[0]["answer"] == ["B-person", *["I-person"] * (len(text.split()) - 1)]
    else:
        assert corrections[0]["answer"] == answer
    if name == "reviews":
        assert corrections[0]["new_label"] is True


def test_answers_that_are_no_good_say_so(visit: Visit, server: Any) -> None:
    page = visit(server, "#/reviews")

    def doubtful(route: Any) -> None:
        told = route.fetch().json()
        told["answers"][0] |= {"abstained": True, "out_of_scope": True, "scope": 3.2}
        route.fulfill(json=told)

    page.route("**/v1/predict", doubtful)
    result = asked(page, text="a good film")
    assert result.locator(".doubts strong").all_text_contents() == ["Not sure enough.", "Out of scope."]
