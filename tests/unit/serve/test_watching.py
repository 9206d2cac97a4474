"""Drift, alerts and feedback by HTTP, in this process."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy
import torch
from fastapi.testclient import TestClient

from adaptune.bundle.reference import reference_of, write_references
from adaptune.bundle.tally import Seen, tally_of
from adaptune.core.backbone import Backbone
from adaptune.core.errors import AdaptuneError
from adaptune.serve.config import Remembering, Watching
from adaptune.serve.export import rows_of
from adaptune.serve.keys import Caller, Keys, digest_of
from adaptune.serve.store import Store
from adaptune.serve.watch.watch import FIRST_ROWS

TEXTS = ["the late train is quick", "a red box", "we came back from the old town by the river"]
RULES = """
rules:
  - {name: some rows, bundle: reviews, when: "n(window=1m) >= 3", severity: critical}
  - {name: none there, bundle: none, when: "n(window=1m) == 0"}
"""


def ask(service: TestClient, name: str = "reviews", texts: list[str] = TEXTS, **headers: str) -> tuple[str, Any]:
    response = service.post("/v1/predict", json={"bundle": name, "inputs": texts}, headers=headers)
    assert response.status_code == 200, response.text
    return response.headers["X-Request-ID"], response.json()


def look(service: TestClient) -> list[Any]:
    """At the rules, now."""
    found: list[Any] = service.portal.call(service.app.state.service.watcher.look)  # type: ignore[union-attr,attr-defined]
    return found


def drift(service: TestClient, name: str = "reviews") -> Any:
    response = service.get(f"/v1/bundles/{name}/drift")
    assert response.status_code == 200, response.text
    return response.json()


def test_without_a_reference_drift_is_measured_from_the_first_rows(client: Any) -> None:
    service = client()
    ask(service)
    told = drift(service)
    [task] = told["tasks"]
    assert task["reference"] == {"source": "first rows", "rows": 3, "complete": False}
    [hour] = task["windows"]
    assert (hour["window"], hour["rows"]) == ("1h", 3)
    assert hour["labels"] == {"now": None, "reference": None, "drift": None, "p": None}
    for _ in range(FIRST_ROWS // 250 + 1):
        ask(service, texts=TEXTS * 80)
    [task] = drift(service)["tasks"]
    assert task["reference"] == {"source": "first rows", "rows": FIRST_ROWS, "complete": True}
    assert task["windows"][0]["labels"]["drift"] == pytest.approx(0, abs=0.05)


def test_drift_is_what_the_rows_say(client: Any, make: Any, tmp_path: Path, bert: Backbone) -> None:
    """Against a recomputation from the answers and the base's own vectors."""
    folder = make("reviews", "classify", "head_only")
    hidden = [bert.trunk(**bert.tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in TEXTS]
    vectors = torch.stack([one.mean(dim=0) / one.mean(dim=0).norm() for one in hidden]).detach().numpy()
    reference = tally_of([Seen(("good",), 0.9, 10, 0, 10)] * 4)
    reference.add_vectors(2, vectors[:2].sum(axis=0).astype(np.float64))
    write_references({None: reference_of(reference)}, folder)
    service = client(root=tmp_path / "bundles")
    _, told = ask(service, texts=[*TEXTS, "xyzzy 🙂"])
    [task] = drift(service)["tasks"]
    assert task["reference"] == {"source": "validation", "rows": 4, "complete": True}
    [hour] = task["windows"]
    answers = told["answers"]
    assert hour["confidence"]["now"] == pytest.approx(np.mean([one["probability"] for one in answers]))
    assert hour["confidence"]["reference"] == pytest.approx(0.9)
    assert hour["length"]["now"] == pytest.approx(np.mean([len(text) for text in [*TEXTS, "xyzzy 🙂"]]))
    labels = {one["label"] for one in answers}
    assert {one["label"]: one["now"] for one in hour["shares"] if one["now"]} == pytest.approx(
        {label: sum(one["label"] == label for one in answers) / 4 for label in labels}
    )
    ids = [bert.tokenizer(text)["input_ids"] for text in [*TEXTS, "xyzzy 🙂"]]
    unknown = sum(one.count(bert.tokenizer.unk_token_id) for one in ids)
    assert unknown > 0
    assert hour["unknown"]["now"] == pytest.approx(unknown / sum(map(len, ids)))
    assert hour["unknown"]["p"] is not None
    last = bert.trunk(**bert.tokenizer("xyzzy 🙂", return_tensors="pt")).last_hidden_state[0].mean(dim=0)
    now = np.vstack([vectors, (last / last.norm()).detach().numpy()[None]]).mean(axis=0)
    then = vectors[:2].mean(axis=0)
    spread = np.sqrt(((vectors[:2] - then) ** 2).sum(axis=1).mean())
    assert hour["embedding"]["drift"] == pytest.approx(np.linalg.norm(now - then) / spread, rel=1e-3)


def test_every_task_of_a_bundle_is_watched_by_itself(client: Any, make_of_several: Any, tmp_path: Path) -> None:
    make_of_several("both", "lora", "classify", "tag")
    service = client(root=tmp_path / "bundles")
    ask(service, "both")
    tasks = drift(service, "both")["tasks"]
    assert [(one["name"], one["task"], one["windows"][0]["rows"]) for one in tasks] == [
        ("the-classify", "classify", 3),
        ("the-tag", "tag", 3),
    ]


def test_a_new_version_is_watched_from_its_start(client: Any, make: Any, tmp_path: Path) -> None:
    make("one", "classify", "lora", seed=1)
    make("two", "classify", "lora", seed=2)
    service = client(root=tmp_path / "bundles")
    first = service.put("/v1/bundles/reviews", json={"folder": "one"}).json()["version"]
    ask(service)
    service.put("/v1/bundles/reviews", json={"folder": "two"})
    assert drift(service)["tasks"][0]["windows"][0]["rows"] == 0
    assert drift(service, f"reviews@{first}")["tasks"][0]["windows"][0]["rows"] == 3
    service.delete("/v1/bundles/reviews")
    assert service.get("/v1/bundles/reviews/drift").status_code == 404
    look(service)
    assert {one.bundle for one in service.app.state.service.watcher.watch.subjects()} == {"one", "two"}


def test_requests_are_counted_by_bundle_and_no_made_up_name_is(client: Any) -> None:
    service = client()
    ask(service)
    ask(service)
    service.post("/v1/predict", json={"bundle": "made-up", "inputs": ["a"]})
    [hour] = drift(service)["requests"]
    assert (hour["requests"], hour["errors"]) == (2, 0)
    assert 0 < hour["latency_mean"] < 30
    assert list(service.app.state.service.watcher.watch._requests) == ["places", "reviews", "stars", "topics"]


def test_rules_raise_alerts_that_are_listed_logged_and_counted(client: Any, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    watching = Watching(rules=tmp_path / "rules.yaml", alerts=tmp_path / "alerts.jsonl")
    service = client(watching=watching)
    look(service)
    assert service.get("/v1/alerts").json()["alerts"] == []
    ask(service)
    look(service)
    told = service.get("/v1/alerts").json()
    [alert] = told["alerts"]
    assert (alert["rule"], alert["values"], alert["severity"]) == ("some rows", {"n(window=1m)": 3.0}, "critical")
    states = {one["name"]: (one["holds"], one["silent_until"] is not None) for one in told["rules"]}
    assert states == {"some rows": (True, True), "none there": (None, False)}
    assert [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()] == [alert]
    assert 'adaptune_alerts_total{rule="some rows",severity="critical"} 1.0' in service.get("/metrics").text
    assert [one["window"] for one in drift(service)["tasks"][0]["windows"]] == ["1m", "1h"]


def test_rules_are_looked_at_without_being_told(client: Any, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules: [{name: a, bundle: reviews, when: n(window=1m) == 0}]")
    service = client(watching=Watching(rules=tmp_path / "rules.yaml"))
    end = time.monotonic() + 20
    while not service.get("/v1/alerts").json()["alerts"] and time.monotonic() < end:
        time.sleep(0.05)
    assert len(service.get("/v1/alerts").json()["alerts"]) == 1


def test_drift_is_among_the_metrics(client: Any, make: Any, tmp_path: Path) -> None:
    folder = make("reviews", "classify", "lora")
    write_references({None: reference_of(tally_of([Seen(("new",), 0.9, 10)] * 4))}, folder)
    service = client(root=tmp_path / "bundles")
    ask(service)
    for _ in range(3):
        look(service)
    text = service.get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("adaptune_drift{")]
    [found] = [line for line in lines if all(part in line for part in ('"reviews"', '"labels"', '"1h"'))]
    assert float(found.split()[-1]) == pytest.approx(1.0)


def test_numbers_are_watched_around_the_mean_of_the_training_targets(client: Any) -> None:
    service = client()
    _, told = ask(service, "stars")
    [task] = drift(service, "stars")["tasks"]
    numbers = [(one["number"] - 2.0) / 1.5 for one in told["answers"]]  # the moments of its labels
    assert task["windows"][0]["number"]["now"] == pytest.approx(sum(numbers) / len(numbers))
    assert task["windows"][0]["labels"]["now"] is None


def test_alerts_are_for_admins_and_drift_and_feedback_for_every_key(client: Any, tmp_path: Path) -> None:
    keys = Keys({digest_of("plain"): Caller("shop", False), digest_of("high"): Caller("boss", True)})
    service = client(keys=keys, remembering=Remembering(store=f"sqlite:///{tmp_path}/f.db", keep_texts=True))
    plain, high = ({"Authorization": f"Bearer {key}"} for key in ("plain", "high"))
    assert service.get("/v1/bundles/reviews/drift").status_code == 401
    assert service.get("/v1/bundles/reviews/drift", headers=plain).status_code == 200
    assert service.get("/v1/alerts", headers=plain).status_code == 403
    assert service.get("/v1/alerts", headers=high).status_code == 200
    said, _ = ask(service, **plain)
    assert service.post("/v1/feedback", json={"request_id": said, "answer": "good"}).status_code == 401
    assert service.post("/v1/feedback", json={"request_id": said, "answer": "good"}, headers=plain).status_code == 200


def test_what_another_key_asked_is_neither_told_nor_corrected(client: Any, tmp_path: Path) -> None:
    """Not even under an id that both made up."""
    callers = {"one": Caller("shop", False), "two": Caller("bank", False), "high": Caller("boss", True)}
    keys = Keys({digest_of(key): caller for key, caller in callers.items()})
    service = client(keys=keys, remembering=Remembering(store=f"sqlite:///{tmp_path}/f.db", keep_texts=True))
    one, two, high = ({"Authorization": f"Bearer {key}"} for key in callers)
    ask(service, texts=["the text of the shop"], **one, **{"X-Request-ID": "monday"})
    foreign = service.post("/v1/feedback", json={"request_id": "monday", "answer": "good"}, headers=two)
    assert (foreign.status_code, "the shop" in foreign.text) == (404, False)
    ask(service, texts=["a text of the bank"], **two, **{"X-Request-ID": "monday"})
    for key, answer in ((one, "good"), (two, "bad"), (high, "neither")):
        told = service.post("/v1/feedback", json={"request_id": "monday", "answer": answer}, headers=key)
        assert told.status_code == 200, told.text
    with closing(Store(f"sqlite:///{tmp_path}/f.db")) as store:
        [last] = store.corrections("reviews", None)
    assert last.training == {"text": "a text of the bank", "label": "neither"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/feedback.db"


def test_feedback_is_kept_beside_what_was_said_and_becomes_training_rows(client: Any, url: str) -> None:
    service = client(remembering=Remembering(store=url))
    said, told = ask(service)
    asked = {"request_id": said, "row": 1, "answer": "neither", "input": TEXTS[1], "author": "Ann", "comment": "odd"}
    kept = service.post("/v1/feedback", json=asked).json()
    assert (kept["id"], kept["bundle"], kept["version"], kept["task"]) == (1, "reviews", told["version"], None)
    answer = told["answers"][1]
    assert kept["given"] == {"label": answer["label"], "probability": answer["probability"]}
    assert kept["right"] == {"label": "neither"}
    assert list(rows_of(url, "reviews", None)) == [{"text": "a red box", "label": "neither"}]
    assert 'adaptune_feedback_total{bundle="reviews"} 1.0' in service.get("/metrics").text


def test_kept_texts_need_not_be_sent_again(client: Any, url: str) -> None:
    service = client(remembering=Remembering(store=url, keep_texts=True))
    said, _ = ask(service)
    assert service.post("/v1/feedback", json={"request_id": said, "row": 2, "answer": "bad"}).status_code == 200
    assert list(rows_of(url, "reviews", None)) == [{"text": TEXTS[2], "label": "bad"}]
    other = {"request_id": said, "row": 2, "answer": "bad", "input": "something else"}
    assert "another than the one" in service.post("/v1/feedback", json=other).json()["error"]["message"]


def test_feedback_on_one_of_several_tasks_names_it(client: Any, make_of_several: Any, tmp_path: Path, url: str) -> None:
    make_of_several("both", "lora", "classify", "multilabel")
    service = client(root=tmp_path / "bundles", remembering=Remembering(store=url, keep_texts=True))
    said, _ = ask(service, "both")
    asked = {"request_id": said, "answer": ["red"]}
    told = service.post("/v1/feedback", json=asked)
    assert (told.status_code, "the-classify, the-multilabel" in told.json()["error"]["message"]) == (422, True)
    told = service.post("/v1/feedback", json=asked | {"task": "the-multilabel"})
    assert (told.status_code, told.json()["task"]) == (200, "the-multilabel")
    assert list(rows_of(url, "both", "the-multilabel")) == [{"text": TEXTS[0], "labels": ["red"]}]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"request_id": "another"}, 404, "no answer to row 0 of a request 'another' is remembered"),
        ({"row": 3}, 404, "no answer to row 3"),
        ({"input": None}, 422, "this server keeps no texts; send the input again"),
        ({"answer": "gut"}, 422, "the bundle knows no label 'gut'"),
        ({"answer": None}, 422, "label"),
        ({"task": "x"}, 422, "leave `task` out"),
        ({"request_id": "a b"}, 422, "request_id"),
        ({"row": -1}, 422, "row"),
        ({"row": 2**70}, 422, "row"),
        ({"comment": "x" * 2001}, 422, "comment"),
        ({"comment": "a\x00b"}, 422, "comment"),
        ({"more": 1}, 422, "more"),
        ({"input": {"txt": "a"}}, 422, "text"),
    ],
)
def test_feedback_that_cannot_be_kept_is_refused(
    client: Any, url: str, change: dict[str, Any], status: int, message: str
) -> None:
    service = client(remembering=Remembering(store=url))
    said, _ = ask(service)
    asked = {"request_id": said, "answer": "good", "input": TEXTS[0]}
    response = service.post("/v1/feedback", json=asked | change)
    assert (response.status_code, message in response.json()["error"]["message"]) == (status, True), response.text
    assert service.post("/v1/feedback", json=asked).status_code == 200


def test_a_new_label_is_kept_where_it_is_meant(client: Any, url: str) -> None:
    service = client(remembering=Remembering(store=url))
    said, _ = ask(service)
    asked = {"request_id": said, "answer": "mixed", "input": TEXTS[0], "new_label": True}
    assert service.post("/v1/feedback", json=asked).status_code == 200
    assert [row["label"] for row in rows_of(url, "reviews", None)] == ["mixed"]


def test_without_a_store_feedback_says_how_to_get_one(client: Any) -> None:
    told = client().post("/v1/feedback", json={"request_id": "a", "answer": "b"})
    assert (told.status_code, "--store" in told.json()["error"]["message"]) == (422, True)


def test_the_schema_lists_feedback_where_it_is_taken(client: Any, url: str) -> None:
    listed = [
        "/v1/feedback" in service.get("/openapi.json").json()["paths"]
        for service in (client(), client(remembering=Remembering(store=url)))
    ]
    assert listed == [False, True]


def test_a_full_disk_gives_503_on_feedback_and_no_answer_fails(client: Any, url: str) -> None:
    service = client(remembering=Remembering(store=url, keep_texts=True))
    said, _ = ask(service)
    asked = {"request_id": said, "answer": "good"}
    assert service.post("/v1/feedback", json=asked).status_code == 200
    engine = service.app.state.service.memory._store._engine
    with engine.connect() as connection:
        pages = connection.execute(sqlalchemy.text("PRAGMA page_count")).scalar()

    @sqlalchemy.event.listens_for(engine, "checkout")
    def fill(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    full = service.post("/v1/feedback", json=asked | {"comment": "x" * 2000} | {"answer": "bad"})
    for _ in range(40):
        if full.status_code != 200:
            break
        full = service.post("/v1/feedback", json=asked | {"comment": "x" * 2000})
    assert (full.status_code, "full" in full.json()["error"]["message"]) == (503, True)
    assert "Retry-After" in full.headers
    _, told = ask(service, texts=TEXTS * 50)
    assert len(told["answers"]) == 150
    service.post("/v1/feedback", json=asked)
    assert "adaptune_lost_predictions_total 150.0" in service.get("/metrics").text
    assert service.get("/ready").status_code == 200


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"watching": Watching(alerts=Path("alerts.jsonl"))}, "--rules"),
        ({"watching": Watching(webhooks=("https://hooks.example",))}, "--rules"),
        ({"remembering": Remembering(keep_texts=True)}, "--store"),
        ({"remembering": Remembering(store="nonsense")}, "does not read"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_used_is_refused_at_the_start(
    client: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(AdaptuneError, match=message):
        client(**more)


def test_a_rule_for_a_task_that_is_not_there_is_refused_at_the_start(client: Any, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{name: a, bundle: reviews, task: tone, when: n(window=1m) == 0}]")
    with pytest.raises(AdaptuneError, match="has none called 'tone'; it has one task"):
        client(watching=Watching(rules=rules))


def test_the_schema_is_true_to_the_answers(client: Any, url: str) -> None:
    service = client(remembering=Remembering(store=url, keep_texts=True))
    said, _ = ask(service)
    schema = service.get("/openapi.json").json()
    answers = {
        ("/v1/bundles/{name}/drift", "get"): drift(service),
        ("/v1/alerts", "get"): service.get("/v1/alerts").json(),
        ("/v1/feedback", "post"): service.post("/v1/feedback", json={"request_id": said, "answer": "good"}).json(),
    }
    for (path, method), answer in answers.items():
        content = schema["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
        described = schema["components"]["schemas"][content["$ref"].rpartition("/")[2]]
        assert set(answer) == set(described["properties"]) == set(described["required"])
