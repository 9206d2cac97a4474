"""Texts that come while they are written, over a real port: the same texts, and an end when nobody listens."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from adaptune.core.backbone import Backbone

PROMPTS = ["the late train is quick", "a red box", "we came back from the old town"]
TURNS = [{"role": "user", "content": "the late train"}]


@pytest.fixture(scope="module")
def server(llama: Backbone, writers: Path, running: Any) -> Any:
    return running(llama, writers)


def whole(server: Any, route: str, asked: dict[str, Any]) -> Any:
    return httpx.post(f"{server.url}/v1/{route}", json=asked, timeout=60).json()


def streamed(server: Any, route: str, asked: dict[str, Any]) -> list[Any]:
    """The chunks; the last line must be the end."""
    with httpx.stream("POST", f"{server.url}/v1/{route}", json={**asked, "stream": True}, timeout=60) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def test_the_parts_of_texts_together_are_the_texts(server: Any) -> None:
    asked = {"model": "writer", "prompt": PROMPTS, "max_tokens": 60}
    expected = whole(server, "completions", asked)
    chunks = streamed(server, "completions", asked)
    for choice in expected["choices"]:
        parts = [one for chunk in chunks for one in chunk["choices"] if one["index"] == choice["index"]]
        assert "".join(part["text"] for part in parts) == choice["text"]
        assert [part["finish_reason"] for part in parts] == [None] * (len(parts) - 1) + [choice["finish_reason"]]
    assert len(chunks) > len(PROMPTS), "no text came in parts"
    assert {(chunk["object"], chunk["model"], chunk["id"]) for chunk in chunks} == {
        ("text_completion", "writer", chunks[0]["id"])
    }


def test_the_parts_of_a_reply_together_are_the_reply(server: Any) -> None:
    asked = {"model": "talker", "messages": TURNS, "max_tokens": 60}
    expected = whole(server, "chat/completions", asked)
    *chunks, last = streamed(server, "chat/completions", {**asked, "stream_options": {"include_usage": True}})
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    said = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert said == expected["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == expected["choices"][0]["finish_reason"]
    assert (last["choices"], last["usage"]) == ([], expected["usage"])
    assert all(chunk["usage"] is None for chunk in chunks)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_stop_string_is_found_across_the_borders_of_chunks(server: Any, length: int) -> None:
    asked: dict[str, Any] = {"model": "writer", "prompt": PROMPTS[0], "max_tokens": 60}
    text = whole(server, "completions", asked)["choices"][0]["text"]
    for place in range(0, len(text) - length, max(1, len(text) // 7)):
        stop = text[place : place + length]
        cut = whole(server, "completions", {**asked, "stop": stop})["choices"][0]
        chunks = streamed(server, "completions", {**asked, "stop": stop})
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == cut["text"], stop
        assert chunks[-1]["choices"][0]["finish_reason"] == cut["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"model": "none", "prompt": "a"}, 404),
        ({"model": "sorter", "prompt": "a"}, 422),
        ({"model": "writer", "prompt": "a", "max_tokens": 81}, 413),
    ],
)
def test_what_is_refused_before_the_first_part_has_its_status(server: Any, asked: Any, status: int) -> None:
    response = httpx.post(f"{server.url}/v1/completions", json={**asked, "stream": True}, timeout=60)
    assert response.status_code == status
    assert response.json()["error"]["code"] == status


def test_what_goes_wrong_later_is_told_in_the_stream(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adaptune.serve.writing.settled_part", lambda text, stop: "no such text")
    asked = {"model": "writer", "prompt": "a", "stream": True}
    lines = [
        line for line in httpx.post(f"{server.url}/v1/completions", json=asked, timeout=60).text.split("\n") if line
    ]
    assert json.loads(lines[0].removeprefix("data: "))["choices"][0]["text"] == "no such text"
    assert "ask without `stream`" in json.loads(lines[-1].removeprefix("data: "))["error"]["message"]


def test_writing_ends_when_the_client_leaves(server: Any) -> None:
    """Of 80 tokens, each of which takes a while here."""
    writer = server.pool.find("writer")
    trunk = server.pool.mixture(server.pool.hot(writer).kind).trunk([writer])
    passes: list[float] = []

    def slow(*_: Any) -> None:
        passes.append(time.monotonic())
        time.sleep(0.05)

    hook = trunk.register_forward_pre_hook(slow)
    try:
        body = json.dumps({"model": "writer", "prompt": "我们", "max_tokens": 80, "stream": True}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            while b"data: " not in client.recv(4096):
                pass
        before = len(passes)
        end = time.monotonic() + 30
        while server.app.state.service.batcher.rows and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.5)
        written = len(passes)
        time.sleep(0.5)
        assert len(passes) == written, "it goes on"
        assert before <= written < 70
    finally:
        hook.remove()
    assert whole(server, "completions", {"model": "writer", "prompt": "a"})["choices"]


def test_the_official_client_reads_texts_whole_and_in_parts(server: Any) -> None:
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=60, max_retries=0) as client:
        reply = client.chat.completions.create(model="talker", messages=TURNS, max_tokens=40, temperature=0)
        with client.chat.completions.create(
            model="talker",
            messages=TURNS,
            max_completion_tokens=40,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        ) as parts:
            chunks = list(parts)
        said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert said == reply.choices[0].message.content
        assert chunks[-1].usage == reply.usage
        text = client.completions.create(model="writer", prompt=PROMPTS[0], max_tokens=40, stop=["zz", "qq"])
        with client.completions.create(model="writer", prompt=PROMPTS[0], max_tokens=40, stream=True) as parts:
            assert "".join(chunk.choices[0].text for chunk in parts) == text.choices[0].text
        assert [model.id for model in client.models.list()] == ["base", "sorter", "talker", "writer"]
        vectors = client.embeddings.create(model="base", input=PROMPTS).data
        assert [torch.tensor(one.embedding).norm().item() for one in vectors] == pytest.approx([1.0] * 3)
        with pytest.raises(openai.NotFoundError, match="no bundle 'none'"):
            client.chat.completions.create(model="none", messages=TURNS)
