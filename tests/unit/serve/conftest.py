"""Bundles of several tasks and methods on one tiny model, and apps that serve them in this process."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from adaptune.bundle.save import Taught, save_bundle, save_tasks
from adaptune.core.backbone import Backbone
from adaptune.core.types import Labels, Scores
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.joint import Joint, Learner, Output
from adaptune.models.load import load_backbone
from adaptune.serve.app import make_app
from adaptune.serve.batcher import Queueing
from adaptune.serve.config import Limits, ServeConfig
from adaptune.serve.keys import Keys
from adaptune.serve.paths import bundles_below
from adaptune.serve.pool import Pool
from adaptune.serve.server import make_server
from adaptune.tasks import TASKS

LABELS = {
    "classify": Labels(("bad", "good", "neither")),
    "tag": Labels(("O", "B-place", "I-place")),
    "regress": Labels(("number",), (48,), (2.0, 1.5)),
    "multilabel": Labels(("late", "red", "small")),
}
Make = Callable[..., Path]
Client = Callable[..., TestClient]


@pytest.fixture(scope="session")
def bert(tiny_bert: Path) -> Backbone:
    return load_backbone(ModelConfig(name=str(tiny_bert)))


def move(learner: Learner, seed: int) -> None:
    """Away from the start, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def make_several(folder: Path, bert: Backbone, method: str, *tasks: str, seed: int = 1, **settings: Any) -> Path:
    """One bundle of several tasks, each named `the-TASK`."""
    outputs = {f"the-{task}": Output(HEADS.make({"name": task}), LABELS[task]) for task in tasks}
    joint = Joint(bert, METHODS.make({"name": method, **settings}), outputs, seed=seed)
    move(joint, seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scores = {"test": Scores({"accuracy": 0.5})}
    taught = {f"the-{task}": Taught(TASKS.make({"name": task}), {}, scores) for task in tasks}
    save_tasks(folder, joint.eval(), taught, max_length=64)
    return folder


def make_bundle(folder: Path, bert: Backbone, task: str, method: str, seed: int = 1, **settings: Any) -> Path:
    """A bundle whose weights are away from their start, as after training."""
    made = METHODS.make({"name": method, **settings})
    assembly = Assembly(bert, made, HEADS.make({"name": task}), LABELS[task], seed=seed)
    move(assembly, seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scores = {"test": Scores({"accuracy": 0.5})}
    save_bundle(folder, assembly, TASKS.make({"name": task}), columns={}, max_length=64, scores=scores)
    return folder


CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '<s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
WRITERS = (("writer", "write", "generate"), ("sorter", "classify", "classify"), ("talker", "chat", "generate"))


@pytest.fixture(scope="session")
def llama(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A decoder whose tokenizer has a chat template."""
    folder = shutil.copytree(tiny_llama, tmp_path_factory.mktemp("models") / "chatty-llama")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    return load_backbone(ModelConfig(name=str(folder)), words=True)


@pytest.fixture(scope="session")
def writers(llama: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bundles on that decoder; no test changes it."""
    root = tmp_path_factory.mktemp("writers")
    for seed, (name, task, head) in enumerate(WRITERS):
        settings = {"max_new_tokens": 12} if head == "generate" else {}
        labels = Labels(()) if head == "generate" else Labels(("no", "yes"))
        made = HEADS.make({"name": head, **settings})
        assembly = Assembly(llama, METHODS.make({"name": "lora", "rank": 4}), made, labels, seed=seed)
        move(assembly, seed)
        save_bundle(root / name, assembly, TASKS.make({"name": task}), columns={}, max_length=100, scores={})
    return root


@pytest.fixture
def make(bert: Backbone, tmp_path: Path) -> Make:
    """make("reviews", "classify", "lora"): the folder of a bundle, below `tmp_path / "bundles"`."""

    def saved(name: str, task: str, method: str, **settings: Any) -> Path:
        return make_bundle(tmp_path / "bundles" / name, bert, task, method, **settings)

    return saved


@pytest.fixture
def make_of_several(bert: Backbone, tmp_path: Path) -> Make:
    """make_of_several("both", "lora", "classify", "tag"): the same for a bundle of several tasks."""

    def saved(name: str, method: str, *tasks: str, **settings: Any) -> Path:
        return make_several(tmp_path / "bundles" / name, bert, method, *tasks, **settings)

    return saved


@pytest.fixture(scope="session")
def shelf(bert: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four bundles; no test changes it."""
    root = tmp_path_factory.mktemp("shelf")
    make_bundle(root / "reviews", bert, "classify", "lora", rank=2)
    make_bundle(root / "places", bert, "tag", "ia3")
    make_bundle(root / "stars", bert, "regress", "head_only")
    make_bundle(root / "topics", bert, "multilabel", "prompt", length=3)
    return root


@pytest.fixture
def client(bert: Backbone, shelf: Path) -> Iterator[Client]:
    """client(limits={"rows": 3}, keys=Keys(...)): an app on the shelf, running in this process."""
    open_clients: list[TestClient] = []

    def start(
        *, root: Path | None = None, keys: Keys | None = None, limits: Any = None, queueing: Any = None, **more: Any
    ) -> TestClient:
        root = root or shelf
        pool = Pool(bert)
        for name, folder in bundles_below(root):
            pool.register(folder, name)
        config = ServeConfig(root=root, limits=Limits.model_validate(limits or {}), **more)
        app = make_app(pool, config, Queueing.model_validate(queueing or {}), keys or Keys({}))
        found = TestClient(app, raise_server_exceptions=False)
        found.__enter__()
        open_clients.append(found)
        return found

    yield start
    for one in open_clients:
        one.__exit__(None, None, None)


class Running:
    """A server in a thread of this process, on a port of its own."""

    def __init__(self, pool: Pool, root: Path, keys: Keys, limits: Limits) -> None:
        self.pool = pool
        self.app = make_app(pool, ServeConfig(root=root, limits=limits), keys=keys)
        self._server = make_server(self.app, limits)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Callable[..., Running]]:
    """running(backbone, root, keys=Keys(...)): a server of all bundles below the root, until the module ends."""
    started: list[Running] = []

    def start(backbone: Backbone, root: Path, keys: Keys | None = None, **limits: Any) -> Running:
        pool = Pool(backbone)
        for name, folder in bundles_below(root):
            pool.register(folder, name)
        started.append(Running(pool, root, keys or Keys({}), Limits(new_tokens=80, **limits)))
        return started[-1]

    yield start
    for one in started:
        one.stop()
