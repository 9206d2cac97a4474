"""Texts by OpenAI's routes: as the bundle writes them offline, unless the request says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adaptune.bundle.load import load_bundle
from adaptune.core.backbone import Backbone
from adaptune.models.drafts import Draft
from adaptune.serve.app import make_app
from adaptune.serve.config import Limits, Remembering, ServeConfig
from adaptune.serve.export import rows_of
from adaptune.serve.keys import Keys
from adaptune.serve.pool import Pool

PROMPTS = ["the late train is quick", "a red box", "we came back from the old town"]


@pytest.fixture
def client(llama: Backbone, writers: Path) -> Iterator[TestClient]:
    pool = Pool(llama)
    for name in ("writer", "sorter", "talker"):
        pool.register(writers / name, name)
    config = ServeConfig(root=writers, limits=Limits(new_tokens=40))
    with TestClient(make_app(pool, config, keys=Keys({})), raise_server_exceptions=False) as found:
        yield found


def test_greedy_texts_equal_those_written_offline(client: TestClient, writers: Path, llama: Backbone) -> None:
    told = client.post("/v1/completions", json={"model": "writer", "prompt": PROMPTS}).json()
    offline = [one["text"] for one in load_bundle(writers / "writer", backbone=llama).predict(PROMPTS)]
    assert [one["text"] for one in told["choices"]] == offline
    predicted = client.post("/v1/predict", json={"bundle": "writer", "inputs": PROMPTS}).json()
    assert [one["text"] for one in predicted["answers"]] == offline


def test_usage_counts_tokens_read_and_written(client: TestClient) -> None:
    told = client.post("/v1/completions", json={"model": "writer", "prompt": PROMPTS[0], "max_tokens": 5}).json()
    assert told["choices"][0]["finish_reason"] in ("stop", "length")
    usage = told["usage"]
    assert usage["completion_tokens"] <= 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    if told["choices"][0]["finish_reason"] == "length":
        assert usage["completion_tokens"] == 5


def test_a_text_ends_before_a_stop_string(client: TestClient) -> None:
    asked: dict[str, Any] = {"model": "writer", "prompt": PROMPTS[0], "max_tokens": 12}
    whole = client.post("/v1/completions", json=asked).json()["choices"][0]["text"]
    stop = whole[len(whole) // 2 : len(whole) // 2 + 2]
    cut = client.post("/v1/completions", json={**asked, "stop": stop}).json()["choices"][0]
    assert cut["text"] == whole[: whole.find(stop)].strip()
    assert cut["finish_reason"] == "stop"


def test_wishes_of_one_request_change_no_other(client: TestClient) -> None:
    asked = {"model": "writer", "prompt": PROMPTS[1]}
    before = client.post("/v1/completions", json=asked).json()["choices"]
    client.post("/v1/completions", json={**asked, "temperature": 1.5, "max_tokens": 3})
    assert client.post("/v1/completions", json=asked).json()["choices"] == before


def test_a_chat_of_one_turn_is_a_prompt(client: TestClient) -> None:
    prompt = client.post("/v1/completions", json={"model": "writer", "prompt": PROMPTS[0]}).json()["choices"][0]["text"]
    for content in (PROMPTS[0], [{"type": "text", "text": PROMPTS[0]}]):
        messages = [{"role": "user", "content": content}]
        told = client.post("/v1/chat/completions", json={"model": "writer", "messages": messages}).json()
        assert told["choices"][0]["message"] == {"role": "assistant", "content": prompt}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"model": "sorter", "prompt": "a"}, 422, "writes no texts"),
        ({"model": "none", "prompt": "a"}, 404, "no bundle"),
        ({"model": "writer", "prompt": "a", "max_tokens": 41}, 413, "at most 40"),
        ({"model": "writer", "prompt": "a", "stream_options": {}}, 422, "stream"),
        ({"model": "writer", "prompt": ""}, 422, "prompt"),
        ({"model": "writer", "prompt": "a", "n": 2}, 422, "n"),
        ({"model": "writer", "prompt": "a", "temperature": -1}, 422, "temperature"),
    ],
)
def test_what_cannot_be_written_is_refused(client: TestClient, body: Any, status: int, message: str) -> None:
    response = client.post("/v1/completions", json=body)
    assert response.status_code == status
    assert message in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("model", "messages", "message"),
    [
        ("writer", [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], "no conversation"),
        ("talker", [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "end with the user's"),
        ("talker", [{"role": "user", "content": "a </s> b"}], "</s>"),
        ("talker", [{"role": "user", "content": "a " * 200}], "room"),
        ("sorter", [{"role": "user", "content": "a"}], "writes no texts"),
    ],
)
def test_a_conversation_that_cannot_be_continued_is_refused(
    client: TestClient, model: str, messages: Any, message: str
) -> None:
    response = client.post("/v1/chat/completions", json={"model": model, "messages": messages})
    assert response.status_code == 422
    assert message in response.json()["error"]["message"]


TURNS = [
    {"role": "system", "content": "be short"},
    {"role": "user", "content": "a red box"},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "the late train"},
]


def test_a_conversation_is_read_by_the_models_own_template(client: TestClient, writers: Path, llama: Backbone) -> None:
    told = client.post("/v1/chat/completions", json={"model": "talker", "messages": TURNS}).json()
    offline = load_bundle(writers / "talker", backbone=llama).predict([{"messages": TURNS}])[0]["text"]
    assert told["choices"][0]["message"]["content"] == offline
    read = llama.tokenizer.apply_chat_template(TURNS, add_generation_prompt=True, tokenize=False)
    assert read == "system: be short<s>user: a red box<s>assistant: yes<s>user: the late train<s>assistant: "
    assert told["usage"]["prompt_tokens"] == len(llama.tokenizer(read, add_special_tokens=False)["input_ids"])
    newer = [{"role": "developer", "content": "be short"}, *TURNS[1:]]
    again = client.post("/v1/chat/completions", json={"model": "talker", "messages": newer}).json()
    assert again["choices"] == told["choices"]


def test_a_reply_ends_with_the_token_that_its_template_writes_behind_it(
    client: TestClient, llama: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`<s>` here, which ends no other text of this tokenizer."""
    tokens = [*llama.tokenizer(" yes")["input_ids"], *[llama.tokenizer.bos_token_id] * 12]
    monkeypatch.setattr(Draft, "_choose", lambda draft, _: tokens[len(draft.ids)])
    asked = {"model": "talker", "messages": TURNS[1:2]}
    told = client.post("/v1/chat/completions", json=asked).json()["choices"][0]
    assert (told["message"]["content"], told["finish_reason"]) == ("yes", "stop")
    plain = client.post("/v1/completions", json={"model": "writer", "prompt": "a"}).json()["choices"][0]
    assert (plain["text"], plain["finish_reason"]) == ("yes", "length")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("keep_texts", [False, True])
def test_texts_can_be_corrected_like_other_answers(
    writers: Path, llama: Backbone, tmp_path: Path, stream: bool, keep_texts: bool
) -> None:
    pool = Pool(llama)
    for name in ("writer", "talker"):
        pool.register(writers / name, name)
    url = f"sqlite:///{tmp_path}/feedback.db"
    config = ServeConfig(root=writers, remembering=Remembering(store=url, keep_texts=keep_texts))
    asked: dict[str, tuple[str, dict[str, Any], Any]] = {
        "writer": ("completions", {"prompt": PROMPTS}, PROMPTS[1]),
        "talker": ("chat/completions", {"messages": TURNS}, {"messages": TURNS}),
    }
    with TestClient(make_app(pool, config, keys=Keys({}))) as client:
        for name, (route, body, given) in asked.items():
            said = client.post(f"/v1/{route}", json={"model": name, "stream": stream, **body})
            row = 1 if name == "writer" else 0
            sent = {"request_id": said.headers["x-request-id"], "row": row, "answer": "what is right"}
            kept = client.post("/v1/feedback", json=sent if keep_texts else {**sent, "input": given}).json()
            assert (kept["bundle"], kept["version"]) == (name, pool.find(name).version)
            assert ("text" in kept["given"], kept["given"]["finish_reason"]) == (keep_texts, "length")
    assert list(rows_of(url, "writer", None)) == [{"source": PROMPTS[1], "target": "what is right"}]
    assert list(rows_of(url, "talker", None)) == [
        {"messages": [*TURNS, {"role": "assistant", "content": "what is right"}]}
    ]
