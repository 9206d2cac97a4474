"""Texts by OpenAI's routes: as the bundle writes them offline, unless the request says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from adaptune.bundle.load import load_bundle
from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.serve.app import make_app
from adaptune.serve.config import Limits, ServeConfig
from adaptune.serve.keys import Keys
from adaptune.serve.pool import Pool
from adaptune.tasks import TASKS

PROMPTS = ["the late train is quick", "a red box", "we came back from the old town"]


@pytest.fixture(scope="module")
def llama(tiny_llama: Path) -> Backbone:
    return load_backbone(ModelConfig(name=str(tiny_llama)), words=True)


@pytest.fixture(scope="module")
def folder(llama: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("writers")
    for seed, (name, task, head) in enumerate((("writer", "write", "generate"), ("sorter", "classify", "classify"))):
        settings = {"max_new_tokens": 12} if head == "generate" else {}
        labels = Labels(()) if head == "generate" else Labels(("no", "yes"))
        made = HEADS.make({"name": head, **settings})
        assembly = Assembly(llama, METHODS.make({"name": "lora", "rank": 4}), made, labels, seed=seed)
        with torch.no_grad():
            for parameter in assembly.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
        save_bundle(root / name, assembly, TASKS.make({"name": task}), columns={}, max_length=100, scores={})
    return root


@pytest.fixture
def client(llama: Backbone, folder: Path) -> Iterator[TestClient]:
    pool = Pool(llama)
    for name in ("writer", "sorter"):
        pool.register(folder / name, name)
    config = ServeConfig(root=folder, limits=Limits(new_tokens=40))
    with TestClient(make_app(pool, config, keys=Keys({})), raise_server_exceptions=False) as found:
        yield found


def test_greedy_texts_equal_those_written_offline(client: TestClient, folder: Path, llama: Backbone) -> None:
    told = client.post("/v1/completions", json={"model": "writer", "prompt": PROMPTS}).json()
    offline = [one["text"] for one in load_bundle(folder / "writer", backbone=llama).predict(PROMPTS)]
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
        ({"model": "writer", "prompt": "a", "stream": True}, 422, "texts whole"),
        ({"model": "writer", "prompt": ""}, 422, "prompt"),
        ({"model": "writer", "prompt": "a", "n": 2}, 422, "n"),
        ({"model": "writer", "prompt": "a", "temperature": -1}, 422, "temperature"),
    ],
)
def test_what_cannot_be_written_is_refused(client: TestClient, body: Any, status: int, message: str) -> None:
    response = client.post("/v1/completions", json=body)
    assert response.status_code == status
    assert message in response.json()["error"]["message"]


def test_a_conversation_is_refused_by_a_bundle_that_reads_one_text(client: TestClient) -> None:
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    response = client.post("/v1/chat/completions", json={"model": "writer", "messages": messages})
    assert response.status_code == 422
    assert "no conversation" in response.json()["error"]["message"]
