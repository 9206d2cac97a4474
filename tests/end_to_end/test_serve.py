"""A real server process on a real port: answers under load, swaps, faults, drain."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from adaptune.bundle.load import load_bundle
from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.serve.keys import read_keys
from adaptune.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
LABELS = {"classify": Labels(("bad", "good", "neither")), "tag": Labels(("O", "B-place", "I-place"))}
BUNDLES = (
    ("reviews", "classify", {"name": "lora", "rank": 2}),
    ("deep", "classify", {"name": "lora", "rank": 5, "targets": "all"}),
    ("scaled", "classify", {"name": "ia3"}),
    ("towns", "tag", {"name": "lora", "rank": 3}),
    ("places", "tag", {"name": "adapter"}),
    ("probe", "classify", {"name": "head_only"}),
    ("prompted", "classify", {"name": "prompt", "length": 3}),
)
WORDS = "the a is and late game bank street red box never again john will send it to her house by train quick".split()


class Server:
    """A process of `adaptune serve`, and what it has said."""

    def __init__(self, root: Path, *more: str, folder: Path | None = None) -> None:
        """`folder`: in which paths of the options are found."""
        command = [sys.executable, "-m", "adaptune", "serve", str(root), "--port", "0", *more]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._ready = threading.Event()
        self.url = ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        assert self._ready.wait(240), self.lines
        assert self.url, self.lines

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.lines.append(line)
                if found := re.search(r"http://\S+:\d+", line):
                    self.url = found[0]
                    self._ready.set()
        self._ready.set()

    def stop(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(60)
        self._listener.join(60)
        return code

    @property
    def access(self) -> list[dict[str, Any]]:
        return [record for line in self.lines if line.startswith("{") and "path" in (record := json.loads(line))]


@pytest.fixture(scope="module")
def base(tiny_bert: Path) -> Backbone:
    return load_backbone(ModelConfig(name=str(tiny_bert)))


def make(folder: Path, base: Backbone, task: str, method: dict[str, Any], seed: int) -> Path:
    assembly = Assembly(base, METHODS.make(method), HEADS.make({"name": task}), LABELS[task], seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in assembly.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    save_bundle(folder, assembly, TASKS.make({"name": task}), columns={}, max_length=64, scores={})
    return folder


@pytest.fixture(scope="module")
def root(base: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    for seed, (name, task, method) in enumerate(BUNDLES):
        make(folder / name, base, task, method, seed)
    for seed in (1, 2):
        make(folder / f"reviews-{seed}", base, "classify", {"name": "lora", "rank": 2}, 100 + seed)
    return folder


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    found = Server(root, "--most-hot", "5", "--body-bytes", "20000")
    yield found
    found.stop(signal.SIGKILL)


def texts(seed: int, count: int) -> list[str]:
    choose = random.Random(seed)
    return [" ".join(choose.choices(WORDS, k=choose.randint(1, 25))) for _ in range(count)]


def test_concurrent_mixed_requests_get_the_answers_of_their_bundles_offline(
    server: Server, root: Path, base: Backbone
) -> None:
    """More bundles than stand in memory at a time."""
    names = [name for name, _, _ in BUNDLES]
    asked = [(names[number % len(names)], texts(number, 1 + number % 4)) for number in range(150)]
    with httpx.Client(base_url=server.url, timeout=60) as client, ThreadPoolExecutor(24) as threads:
        responses = list(
            threads.map(lambda one: client.post("/v1/predict", json={"bundle": one[0], "inputs": one[1]}), asked)
        )
        batches = client.get("/metrics").text
    assert {response.status_code for response in responses} == {200}
    offline = {name: load_bundle(root / name, backbone=base) for name in names}
    for (name, inputs), response in zip(asked, responses, strict=True):
        for found, expected in zip(response.json()["answers"], offline[name].predict(inputs), strict=True):
            assert same(found, expected), (name, found, expected)
    counted = re.search(r"adaptune_batch_rows_count (\S+)", batches)
    assert counted is not None
    assert float(counted[1]) < len(asked), "no batch held rows of two requests"


def test_a_swap_under_load_fails_no_request_and_mixes_no_versions(server: Server, root: Path, base: Backbone) -> None:
    inputs = texts(7, 4)
    offline = {}
    with httpx.Client(base_url=server.url, timeout=60) as client, ThreadPoolExecutor(9) as threads:
        for seed in (1, 2):
            told = client.put("/v1/bundles/live", json={"folder": f"reviews-{seed}"}).json()
            offline[told["version"]] = load_bundle(root / f"reviews-{seed}", backbone=base).predict(inputs)
        stop = threading.Event()

        def ask() -> list[httpx.Response]:
            found = []
            while not stop.is_set():
                found.append(client.post("/v1/predict", json={"bundle": "live", "inputs": inputs}))
            return found

        asking = [threads.submit(ask) for _ in range(6)]
        for number in range(12):
            swapped = client.put("/v1/bundles/live", json={"folder": f"reviews-{1 + number % 2}"})
            assert swapped.status_code == 200
        stop.set()
        responses = [response for one in asking for response in one.result()]
    assert {response.status_code for response in responses} == {200}
    assert {response.json()["version"] for response in responses} == set(offline)
    for response in responses:
        told = response.json()
        pairs = zip(told["answers"], offline[told["version"]], strict=True)
        assert all(same(found, expected) for found, expected in pairs)


def test_malformed_requests_never_give_a_server_error(server: Server) -> None:
    choose = random.Random(5)
    seen = set()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(600):
            method, path, body, headers = nonsense(choose)
            response = client.request(method, path, content=body, headers=headers)
            seen.add(response.status_code)
            assert response.status_code < 500, (method, path, body, response.text)
            assert "Traceback" not in response.text
            if response.status_code >= 400 and method != "HEAD":
                assert response.json()["error"]["code"] == response.status_code
        assert client.get("/ready").status_code == 200
    assert {200, 404, 405, 422} <= seen


def test_slow_and_oversized_bodies_are_refused(server: Server) -> None:
    large = httpx.post(f"{server.url}/v1/predict", content=b"x" * 30_000, timeout=60)
    assert large.status_code == 413
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as slow:
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_the_commands_of_the_deployment_guide_work_as_written(root: Path, tmp_path: Path) -> None:
    text, _, _ = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8").partition("\n# Without a server\n")
    blocks = [block.splitlines() for block in re.findall(r"(?ms)^```(?:bash)?\n(.*?)^```", text)]
    commands = [shlex.split(line) for block in blocks for line in block if not line.startswith("pip ")]
    assert [command[0] for command in commands].count("curl") == 10
    serving = [command for command in commands if command[:2] == ["adaptune", "serve"]]
    assert serving[0] == ["adaptune", "serve", "bundles", "--port", "8000"]
    rules = re.search(r"(?m)^    rules:\n(?:      .*\n)+", text)
    assert rules is not None
    (tmp_path / "rules.yaml").write_text(rules[0], encoding="utf-8")
    row = {"time": "2026-03-01T12:00:00Z", "bundle": "reviews", "label": "negative", "confidence": 0.91, "length": 48}
    (tmp_path / "history.jsonl").write_text(f"{json.dumps(row)}\n" * 60, encoding="utf-8")
    for command in [command for command in commands if command[:2] == ["adaptune", "key"]]:
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=120, check=True)
        key, line = done.stdout.split()
        (tmp_path / "keys.txt").write_text(line, encoding="utf-8")
        assert read_keys(tmp_path / "keys.txt", {}).caller(key) is not None
    server = Server(root, *[option for command in serving[1:] for option in command[3:]], folder=tmp_path)
    try:
        for command in commands:
            if command[:2] in (["adaptune", "watch"], ["adaptune", "feedback"]):
                done = run(command, tmp_path)
                assert done.returncode == 0, (command, done.stderr)
                assert "backtest" not in command or "too negative" in done.stdout
            if command[0] == "curl":
                asked = [part.replace("http://127.0.0.1:8000", server.url) for part in command]
                done = subprocess.run([*asked, "--silent", "--fail"], capture_output=True, text=True, check=False)
                assert done.returncode == 0, (command, done.stdout)
                assert "error" not in json.loads(done.stdout)
    finally:
        server.stop(signal.SIGKILL)
    [corrected] = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(corrected) == {"text": "the train was late", "label": "bad"}
    assert len((tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_feedback_that_was_answered_outlives_a_server_that_is_killed(root: Path, tmp_path: Path) -> None:
    options = ("--store", "sqlite:///feedback.db", "--keep-texts")
    server = Server(root, *options, folder=tmp_path)
    kept: dict[str, int] = {}

    def correct(client: httpx.Client, number: int) -> None:
        inputs = [f"the train number {number} was late"]
        said = client.post("/v1/predict", json={"bundle": "reviews", "inputs": inputs}).headers["X-Request-ID"]
        told = client.post("/v1/feedback", json={"request_id": said, "answer": ("bad", "good")[number % 2]})
        assert told.status_code == 200, told.text
        kept[said] = number

    def correct_all(first: int) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for number in range(first, 100_000, 4):
                try:
                    correct(client, number)
                except httpx.HTTPError:
                    return

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(correct_all, first) for first in range(4)]
        end = time.monotonic() + 120
        while len(kept) < 40 and time.monotonic() < end:
            time.sleep(0.01)
        server.stop(signal.SIGKILL)
        for one in asking:
            one.result()
    assert len(kept) >= 40
    server = Server(root, *options, folder=tmp_path)
    try:
        again = {"request_id": next(iter(kept)), "answer": "neither"}
        assert httpx.post(f"{server.url}/v1/feedback", json=again, timeout=60).status_code == 200
    finally:
        server.stop(signal.SIGKILL)
    export = ["feedback", "export", "sqlite:///feedback.db", "--bundle", "reviews"]
    done = run(["adaptune", *export], tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["text"]: row["label"] for row in map(json.loads, done.stdout.splitlines())}
    first, *others = kept.values()
    assert rows[f"the train number {first} was late"] == "neither"
    assert all(rows[f"the train number {number} was late"] == ("bad", "good")[number % 2] for number in others)


def test_an_alert_reaches_the_log_the_file_and_the_address(root: Path, tmp_path: Path) -> None:
    got: list[Any] = []

    class Address(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    rule = '{name: busy, bundle: reviews, when: "n(window=1h) >= 3"}'
    (tmp_path / "rules.yaml").write_text(f"rules: [{rule}]")
    with ThreadingHTTPServer(("127.0.0.1", 0), Address) as address:
        thread = threading.Thread(target=address.serve_forever)
        thread.start()
        hook = f"http://127.0.0.1:{address.server_address[1]}/hook"
        options = ("--rules", "rules.yaml", "--alerts", "alerts.jsonl", "--webhook", hook)
        server = Server(root, *options, folder=tmp_path)
        try:
            httpx.post(f"{server.url}/v1/predict", json={"bundle": "reviews", "inputs": texts(1, 3)}, timeout=60)
            end = time.monotonic() + 60
            while not got and time.monotonic() < end:
                time.sleep(0.05)
        finally:
            server.stop()
            address.shutdown()
            thread.join()
    [line] = (tmp_path / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line)["alert"] for line in server.lines if '"alert"' in line]
    assert got == [json.loads(line)] == logged
    assert got[0]["values"] == {"n(window=1h)": 3.0}


def test_rules_that_do_not_read_end_the_start(root: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules: [{name: busy, bundle: reviews, when: m(window=1h) >= 3}]")
    command = [sys.executable, "-m", "adaptune", "serve", str(root), "--port", "0", "--rules", "rules.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "rule 1 'busy', when, column 1: there is no value 'm'" in done.stderr


def test_a_client_that_goes_away_is_noticed(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({"bundle": "reviews", "inputs": texts(3, 100)}).encode()
    head = "POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Request-ID: leaver\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=60) as leaver:
            leaver.sendall(head.encode() + body)
    end = time.monotonic() + 30
    while time.monotonic() < end and 499 not in {one["status"] for one in server.access if one["id"] == "leaver"}:
        time.sleep(0.1)
    assert 499 in {one["status"] for one in server.access if one["id"] == "leaver"}


def test_a_killed_server_starts_again_and_one_that_is_told_to_stop_answers_what_it_has_taken(root: Path) -> None:
    server = Server(root)
    httpx.post(f"{server.url}/v1/predict", json={"bundle": "towns", "inputs": texts(1, 2)}, timeout=60)
    server.stop(signal.SIGKILL)
    server = Server(root)
    assert httpx.get(f"{server.url}/ready", timeout=60).json()["bundles"] == len(BUNDLES) + 2
    asked = {"bundle": "reviews", "inputs": texts(9, 200)}
    with ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(httpx.post, f"{server.url}/v1/predict", json=asked, timeout=60) for _ in range(8)]
        end = time.monotonic() + 30
        while time.monotonic() < end and "adaptune_waiting_rows 0.0" in httpx.get(f"{server.url}/metrics").text:
            time.sleep(0.01)
        code = server.stop()
        statuses = [one.result().status_code for one in asking if one.exception() is None]
    assert code in (0, -signal.SIGTERM)
    assert 200 in statuses
    assert set(statuses) <= {200, 503}


def test_an_open_door_without_keys_is_refused(root: Path) -> None:
    command = [sys.executable, "-m", "adaptune", "serve", str(root), "--host", "0.0.0.0", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "no API keys are set" in done.stderr


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    asked = [sys.executable, "-m", *command]
    return subprocess.run(asked, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def nonsense(choose: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """Bodies that are nearly right, and some that are not."""
    paths = ["/v1/predict", "/v1/embeddings", "/v1/completions", "/v1/chat/completions", "/v1/models", "/none"]
    paths += ["/v1/bundles/x", "/v1/bundles/..%2f..%2fetc", "/v1/bundles/reviews@0", "/v1/bundles/%00"]
    scraps: list[Any] = [None, True, 0, -1, 1e308, "", "reviews", "towns", "a" * 3000, "../x", "\x00", "\ud800", "é🙂"]
    scraps += [[], {}, [[]], [None], ["a"], [["a", ""]], [{"text": "a"}], [{"tokens": []}], [{"text": ["a"]}]]
    keys = "bundle inputs model input prompt messages folder timeout probabilities stop x".split()
    body: Any = {key: choose.choice(scraps) for key in choose.sample(keys, choose.randint(0, 5))}
    path = choose.choice(paths)
    if choose.random() < 0.5:
        path, names = "/v1/predict", ["towns", "reviews", "prompted"]
        body = {
            "bundle": choose.choice(names),
            "inputs": choose.choice([choose.choice(scraps), choose.sample(scraps, 2)]),
        }
    content = json.dumps(body).encode()
    if choose.random() < 0.2:
        content = choose.choice([b"", b"{", b"\xff", b"[" * 5000, b"null", content[: len(content) // 2]])
    headers = choose.choice([{}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}])
    headers = headers | choose.choice([{}, {"X-Request-ID": "a b"}, {"Authorization": "Bearer"}, {"Accept": "x"}])
    return choose.choice(["POST", "POST", "POST", "GET", "PUT", "PATCH"]), path, content, headers


def same(found: Any, expected: Any) -> bool:
    """As JSON, without what is null; numbers within 1e-5."""
    if isinstance(expected, dict):
        found = {key: value for key, value in found.items() if value is not None}
        return found.keys() == expected.keys() and all(same(found[key], value) for key, value in expected.items())
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return abs(found - expected) <= 1e-5
    return bool(found == expected)
