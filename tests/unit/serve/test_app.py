"""Every route by HTTP, in this process: answers, refusals, limits, log, schema."""

from __future__ import annotations

import base64
import json
import logging
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from adaptune.bundle.load import load_bundle
from adaptune.core.backbone import Backbone
from adaptune.serve.keys import Caller, Keys, digest_of

TEXTS = ["the late train is quick", "a red box", "we came back from the old town by the river"]


@pytest.mark.parametrize("name", ["reviews", "places", "stars", "topics"])
def test_predict_gives_what_the_bundle_says_offline(client: Any, shelf: Path, bert: Backbone, name: str) -> None:
    response = client().post("/v1/predict", json={"bundle": name, "inputs": TEXTS})
    assert response.status_code == 200
    told = response.json()
    assert told["bundle"] == name
    expected = load_bundle(shelf / name, backbone=bert).predict(TEXTS)
    assert _without_none(told["answers"]) == [_close(one) for one in expected]


def test_words_and_rows_are_read_too(client: Any) -> None:
    inputs = [["the", "old", "town"], {"tokens": ["the", "old", "town"]}, {"text": "the old town"}]
    answers = client().post("/v1/predict", json={"bundle": "places", "inputs": inputs}).json()["answers"]
    assert answers[0] == answers[1]
    assert [one["words"] for one in answers[2]["entities"]] == [one["words"] for one in answers[0]["entities"]]


def test_probabilities_of_every_label_come_where_asked_for(client: Any) -> None:
    asked = {"bundle": "reviews", "inputs": TEXTS[:1], "probabilities": True}
    answer = client().post("/v1/predict", json=asked).json()["answers"][0]
    assert set(answer["probabilities"]) == {"bad", "good", "neither"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["probabilities"][answer["label"]] == answer["probability"]


def test_vectors_are_those_of_the_trunk(client: Any, bert: Backbone) -> None:
    service = client()
    told = service.post("/v1/embeddings", json={"model": "base", "input": TEXTS}).json()
    ids = bert.tokenizer(TEXTS[0], return_tensors="pt")
    hidden = bert.trunk(**ids).last_hidden_state[0].mean(dim=0)
    assert told["data"][0]["embedding"] == pytest.approx((hidden / hidden.norm()).tolist(), abs=1e-5)
    assert told["usage"]["prompt_tokens"] == sum(len(bert.tokenizer(text)["input_ids"]) for text in TEXTS)
    packed = service.post("/v1/embeddings", json={"input": TEXTS[0], "encoding_format": "base64"}).json()
    floats = struct.unpack("<32f", base64.b64decode(packed["data"][0]["embedding"]))
    assert list(floats) == pytest.approx(told["data"][0]["embedding"], abs=1e-6)


def test_a_bundles_vectors_are_its_own(client: Any, shelf: Path, bert: Backbone) -> None:
    told = client().post("/v1/embeddings", json={"model": "reviews", "input": TEXTS[0]}).json()
    trunk = load_bundle(shelf / "reviews", backbone=bert).assembly.trunk
    with torch.inference_mode():
        hidden = trunk(**bert.tokenizer(TEXTS[0], return_tensors="pt")).last_hidden_state[0].mean(dim=0)
    assert told["data"][0]["embedding"] == pytest.approx((hidden / hidden.norm()).tolist(), abs=1e-5)


def test_models_and_bundles_are_listed(client: Any) -> None:
    service = client()
    assert [one["id"] for one in service.get("/v1/models").json()["data"]] == [
        "base",
        "places",
        "reviews",
        "stars",
        "topics",
    ]
    shown = service.get("/v1/bundles/reviews").json()
    assert (shown["task"], shown["method"], shown["labels"]) == ("classify", "lora", ["bad", "good", "neither"])
    assert service.get(f"/v1/bundles/reviews@{shown['version']}").json() == shown
    assert len(service.get("/v1/bundles").json()["bundles"]) == 4


def test_a_bundle_is_loaded_swapped_and_evicted(client: Any, make: Any, tmp_path: Path) -> None:
    make("one", "classify", "lora", seed=1)
    make("two", "classify", "lora", seed=2)
    service = client(root=tmp_path / "bundles")
    first = service.put("/v1/bundles/reviews", json={"folder": "one"}).json()
    assert first["hot"]
    before = service.post("/v1/predict", json={"bundle": "reviews", "inputs": TEXTS}).json()
    second = service.put("/v1/bundles/reviews", json={"folder": "two"}).json()
    assert second["other_versions"] == [first["version"]]
    after = service.post("/v1/predict", json={"bundle": "reviews", "inputs": TEXTS}).json()
    assert (before["version"], after["version"]) == (first["version"], second["version"])
    old = service.post("/v1/predict", json={"bundle": f"reviews@{first['version']}", "inputs": TEXTS}).json()
    assert old["answers"] == before["answers"] != after["answers"]
    assert len(service.delete("/v1/bundles/reviews").json()["removed"]) == 2
    assert service.get("/v1/bundles/reviews").status_code == 404


@pytest.mark.parametrize("folder", ["../bundles/one", "/etc", "none", "", "one/../../x"])
def test_nothing_is_loaded_from_elsewhere(client: Any, make: Any, tmp_path: Path, folder: str) -> None:
    make("one", "classify", "lora")
    response = client(root=tmp_path / "bundles").put("/v1/bundles/x", json={"folder": folder})
    assert response.status_code == 422
    assert str(tmp_path) not in response.text


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 422, "JSON"),
        (b"[]", 422, "object"),
        (b'{"bundle": "reviews"}', 422, "inputs"),
        (b'{"bundle": "reviews", "inputs": []}', 422, "inputs"),
        (b'{"bundle": "reviews", "inputs": ["a"], "more": 1}', 422, "more"),
        (b'{"bundle": "none", "inputs": ["a"]}', 404, "no bundle 'none'"),
        (b'{"bundle": "../x", "inputs": ["a"]}', 422, "bundle"),
        (b'{"bundle": "reviews", "inputs": [""]}', 422, "input, row 1"),
        (b'{"bundle": "reviews", "inputs": [{"txt": "a"}]}', 422, "text"),
        (b'{"bundle": "reviews", "inputs": [["a", "b"]]}', 422, "input 1"),
        (b'{"bundle": "reviews", "inputs": ["\\ud800"]}', 422, "surrogate"),
        (b'{"bundle": "reviews", "inputs": [{"text": "\\ud800"}]}', 422, "surrogate"),
        (b'{"bundle": "reviews", "inputs": [{"\\ud800": "a"}]}', 422, "surrogate"),
        (b'{"bundle": "reviews", "inputs": ["a"], "timeout": 0}', 422, "timeout"),
        (b'{"bundle": "reviews", "inputs": ["a"], "timeout": NaN}', 422, "timeout"),
        (b"[" * 100_000, 422, ""),
        (b"\xff\xfe", 422, ""),
    ],
)
def test_what_does_not_read_is_told_in_one_shape(client: Any, body: bytes, status: int, message: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = client().post("/v1/predict", content=body, headers=headers)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) in ((status, status), (400, 400))
    assert message in error["message"]
    assert error["request_id"] == response.headers["X-Request-ID"]


def test_unknown_paths_and_methods_have_the_same_shape(client: Any) -> None:
    service = client()
    assert service.get("/none").json()["error"]["code"] == 404
    assert service.get("/v1/predict").json()["error"]["code"] == 405


def test_too_many_inputs_tokens_or_bytes_are_refused(client: Any) -> None:
    service = client(limits={"rows": 2, "tokens": 20, "body_bytes": 600})
    assert service.post("/v1/predict", json={"bundle": "reviews", "inputs": ["a"] * 3}).status_code == 413
    assert service.post("/v1/predict", json={"bundle": "reviews", "inputs": ["a " * 50]}).status_code == 413
    assert service.post("/v1/predict", json={"bundle": "reviews", "inputs": ["a" * 700]}).status_code == 413
    assert service.post("/v1/predict", json={"bundle": "reviews", "inputs": ["a b"]}).status_code == 200


def test_keys_are_asked_for_and_only_admins_load_and_evict(client: Any) -> None:
    keys = Keys({digest_of("plain"): Caller("shop", False), digest_of("high"): Caller("boss", True)})
    service = client(keys=keys)
    asked = {"json": {"bundle": "reviews", "inputs": ["a"]}}
    assert service.post("/v1/predict", **asked).status_code == 401
    wrong = service.post("/v1/predict", **asked, headers={"Authorization": "Bearer wrong"})
    assert (wrong.status_code, wrong.headers["WWW-Authenticate"]) == (401, "Bearer")
    plain, high = ({"Authorization": f"Bearer {key}"} for key in ("plain", "high"))
    assert service.post("/v1/predict", **asked, headers=plain).status_code == 200
    assert service.delete("/v1/bundles/reviews", headers=plain).status_code == 403
    assert service.delete("/v1/bundles/reviews", headers=high).status_code == 200
    assert service.get("/health").status_code == 200


def test_one_caller_may_ask_so_often_a_minute(client: Any) -> None:
    service = client(limits={"requests_a_minute": 2})
    found = [service.get("/v1/models") for _ in range(3)]
    assert [one.status_code for one in found] == [200, 200, 429]
    assert int(found[2].headers["Retry-After"]) in range(1, 61)


def test_the_log_has_one_line_a_request_and_no_texts(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    service = client()
    with caplog.at_level(logging.INFO, "adaptune.access"):
        asked = {"bundle": "reviews", "inputs": ["something confidential"]}
        service.post("/v1/predict", json=asked, headers={"X-Request-ID": "mine-7"})
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "adaptune.access"]
    assert [(one["id"], one["status"], one["bundle"], one["rows"]) for one in lines] == [("mine-7", 200, "reviews", 1)]
    assert "confidential" not in caplog.text


def test_texts_are_logged_where_asked_for(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    service = client(log_texts=True)
    with caplog.at_level(logging.INFO, "adaptune.access"):
        service.post("/v1/predict", json={"bundle": "reviews", "inputs": ["a\nb"]})
    assert [json.loads(record.getMessage())["inputs"] for record in caplog.records] == [["a\nb"]]


def test_an_id_that_could_break_the_log_is_replaced(client: Any) -> None:
    response = client().get("/health", headers={"X-Request-ID": "a b\tc"})
    assert len(response.headers["X-Request-ID"]) == 32


def test_metrics_count_rows_by_bundle_and_requests_by_route(client: Any) -> None:
    service = client()
    service.post("/v1/predict", json={"bundle": "reviews", "inputs": TEXTS})
    service.get("/v1/bundles/none")
    service.request("MADEUP", "/none")
    text = service.get("/metrics").text
    assert 'adaptune_rows_total{bundle="reviews"} 3.0' in text
    assert 'adaptune_requests_total{method="POST",route="/v1/predict",status="200"} 1.0' in text
    assert 'route="/v1/bundles/{name}",status="404"' in text
    assert 'method="other",route="unknown"' in text
    assert "adaptune_hot_bundles 1.0" in text


def test_a_failure_of_the_server_shows_no_stack_trace(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = client()

    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(service.app.state.service, "predict", broken)
    response = service.post("/v1/predict", json={"bundle": "reviews", "inputs": ["a"]})
    assert (response.status_code, response.json()["error"]["code"]) == (500, 500)
    assert "secret" not in response.text


def test_the_schema_names_the_answers_of_every_task(client: Any) -> None:
    schema = client().get("/openapi.json").json()
    body = schema["paths"]["/v1/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert body["discriminator"]["mapping"]["classify"] == "#/components/schemas/ClassifyPredictions"
    assert schema["components"]["schemas"]["Labelled"]["required"] == ["label", "probability"]
    assert {"401", "404", "413", "422", "429", "503"} <= set(schema["paths"]["/v1/predict"]["post"]["responses"])


def _without_none(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def of(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: of(inner) for key, inner in value.items() if inner is not None}
        return [of(inner) for inner in value] if isinstance(value, list) else value

    return [of(one) for one in answers]


def _close(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _close(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_close(inner) for inner in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value
