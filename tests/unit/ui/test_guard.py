"""Who is refused: other hosts' names, other pages, whoever has no token, and paths that lead elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adaptune.core.errors import AdaptuneError
from adaptune.ui.server import show


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "127.0.0.2"])
def test_a_name_that_is_not_this_machine_is_refused(client: TestClient, host: str) -> None:
    response = client.get("/api/about", headers={"Host": host})
    assert response.status_code == 403
    assert "token" not in response.text


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1:1", "[::1]:7860", "localhost"])
def test_every_name_of_this_machine_is_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/about", headers={"Host": host}).json()["token"] == "the-token"


ACTS: list[tuple[str, dict[str, Any]]] = [
    ("check", {"text": "seed: 1"}),
    ("write", {"values": {}}),
    ("start", {"name": "a", "text": ""}),
    ("resume", {"name": "a"}),
    ("stop", {"name": "a"}),
    ("remove", {"id": "a"}),
]


@pytest.mark.parametrize(("act", "body"), ACTS)
def test_nothing_is_done_for_another_page(client: TestClient, act: str, body: dict[str, Any]) -> None:
    for headers in (
        {"X-Adaptune-Token": "guessed"},
        {"X-Adaptune-Token": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Origin": "null"},
    ):
        assert client.post(f"/api/{act}", json=body, headers=headers).status_code == 403, headers
    assert client.get("/api/runs", headers={"Origin": "http://evil.example"}).status_code == 403


def test_a_body_without_end_is_not_read(client: TestClient) -> None:
    assert client.post("/api/check", content=iter([b"{}"])).status_code == 413
    assert client.post("/api/check", content=b"x" * (2**20 + 1)).status_code == 413


def test_nothing_can_be_framed_sniffed_or_run_inline(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in page.headers["content-security-policy"]
    told = client.get("/api/runs").headers
    assert (told["x-content-type-options"], told["cache-control"]) == ("nosniff", "no-store")
    assert told["cross-origin-resource-policy"] == "same-origin"
    assert client.get("/openapi.json").status_code == 404


@pytest.mark.parametrize(
    "name", ["../outside", "/etc", "a/../../outside", "..", ".adaptune", "a\\..\\b", "a\0b", "", "x" * 5000, "link"]
)
def test_no_name_leads_out_of_the_folder(client: TestClient, runs: Path, make_run: Any, name: str) -> None:
    outside = make_run("../outside", score=0.5)
    (runs / "link").symlink_to(outside.path)
    for path in ("run", "live"):
        assert client.get(f"/api/{path}", params={"name": name}).status_code == 404
    assert client.get("/report", params={"name": name}).status_code == 404
    assert client.get("/api/recipe", params={"run": name}).status_code == 404
    assert client.get("/api/compare", params={"run": [name]}).status_code == 404
    for act in ("resume", "stop"):
        assert client.post(f"/api/{act}", json={"name": name}).status_code == 404


@pytest.mark.parametrize("file", ["../secret.yaml", "/etc/passwd", "train.csv", "runs/.adaptune/x.yaml", "linked.yaml"])
def test_no_other_file_is_a_recipe(client: TestClient, runs: Path, file: str) -> None:
    (runs.parent.parent / "secret.yaml").write_text("secret: 1")
    (runs.parent / "linked.yaml").symlink_to(runs.parent.parent / "secret.yaml")
    response = client.get("/api/recipe", params={"file": file})
    assert response.status_code == 404
    assert "secret:" not in response.text


def test_a_report_is_sealed_off(client: TestClient, make_run: Any) -> None:
    run = make_run("a", score=0.5)
    (run.path / "report.html").write_text("<h1>a</h1>")
    response = client.get("/report", params={"name": "a"})
    assert response.text == "<h1>a</h1>"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; ")
    assert "allow-same-origin" not in policy


def test_a_failure_shows_no_stack_trace(client: TestClient, make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("secret of the machine")

    monkeypatch.setattr("adaptune.ui.reading.runs_below", fail)
    response = client.get("/api/runs")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_an_address_that_others_reach_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(AdaptuneError, match=r"can be reached from other machines.*ssh -L"):
        show(tmp_path, host=host, port=0)
