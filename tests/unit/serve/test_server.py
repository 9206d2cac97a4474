"""What is refused before a port is opened, and which base and bundles stand behind it."""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from adaptune import cli
from adaptune.cli import serving
from adaptune.core.errors import AdaptuneError, BundleError, ModelError
from adaptune.serve.config import ServeConfig
from adaptune.serve.keys import Caller, Keys
from adaptune.serve.server import Door, Holding, _check_door, _Line, _listen, fill_pool


def test_every_bundle_below_the_folder_is_served_as_many_hot_as_may_be(shelf: Path, tiny_bert: Path) -> None:
    pool = fill_pool(ServeConfig(root=shelf), Holding(most_hot=3), model=None)
    assert pool.names() == ["places", "reviews", "stars", "topics"]
    assert pool.count_hot() == 3
    assert pool.backbone.name == str(tiny_bert)
    assert pool.backbone.vocabulary is None


def test_two_bundles_of_one_name_are_refused(make: Any, tmp_path: Path) -> None:
    make("a/reviews", "classify", "lora")
    make("b/reviews", "classify", "lora")
    with pytest.raises(BundleError, match="two bundles are called 'reviews'"):
        fill_pool(ServeConfig(root=tmp_path / "bundles"), Holding(), model=None)


def test_an_empty_folder_needs_a_base(tmp_path: Path, tiny_bert: Path) -> None:
    with pytest.raises(ModelError, match="--backbone"):
        fill_pool(ServeConfig(root=tmp_path), Holding(), model=None)
    assert fill_pool(ServeConfig(root=tmp_path), Holding(), model=str(tiny_bert)).names() == []


def test_what_was_put_and_deleted_outlives_the_server(make: Any, client: Any, tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two", "gone")):
        make(name, "classify", "lora", seed=seed)
    config = ServeConfig(root=tmp_path / "bundles", registry=tmp_path / "registry.json")
    service = client(root=config.root, registry=config.registry)
    put = service.put("/v1/bundles/one", json={"folder": "two"}).json()
    service.put("/v1/bundles/more", json={"folder": "two"})
    service.delete("/v1/bundles/gone")
    pool = fill_pool(config, Holding(), model=None)
    assert pool.names() == ["more", "one", "two"]
    assert pool.find("one").version == put["version"]


def test_a_change_that_cannot_be_kept_does_not_happen(make: Any, client: Any, tmp_path: Path) -> None:
    make("one", "classify", "lora", seed=1)
    make("two", "classify", "lora", seed=2)
    service = client(root=tmp_path / "bundles", registry=tmp_path / "no-such-folder" / "registry.json")
    before = service.get("/v1/bundles/one").json()["version"]
    for folder, name in (("one", "more"), ("two", "one")):
        response = service.put(f"/v1/bundles/{name}", json={"folder": folder})
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert "cannot be kept" in response.json()["error"]["message"]
    assert service.delete("/v1/bundles/two").status_code == 503
    assert service.get("/v1/bundles/more").status_code == 404
    assert service.get("/v1/bundles/one").json()["version"] == before
    assert service.get("/v1/bundles/two").status_code == 200


def test_what_a_killed_server_left_half_written_is_taken_away(make: Any, tmp_path: Path) -> None:
    make("one", "classify", "lora")
    config = ServeConfig(root=tmp_path / "bundles", registry=tmp_path / "registry.json")
    left, others = tmp_path / ".registry.json.4711.part", tmp_path / ".other.json.4711.part"
    for file in (left, others):
        file.write_text('{"put": {"o', encoding="utf-8")
    assert fill_pool(config, Holding(), model=None).names() == ["one"]
    assert not left.exists()
    assert others.exists()


def test_a_damaged_registry_is_refused(make: Any, tmp_path: Path) -> None:
    make("one", "classify", "lora")
    (tmp_path / "registry.json").write_text('{"put": 3}', encoding="utf-8")
    config = ServeConfig(root=tmp_path / "bundles", registry=tmp_path / "registry.json")
    with pytest.raises(BundleError, match="does not read"):
        fill_pool(config, Holding(), model=None)


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no folder"):
        fill_pool(ServeConfig(root=tmp_path / "none"), Holding(), model=None)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_this_machine_alone_needs_no_keys(host: str) -> None:
    _check_door(Door(host=host), Keys({}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_other_machines_need_keys(host: str) -> None:
    with pytest.raises(AdaptuneError, match="no API keys are set"):
        _check_door(Door(host=host), Keys({}))
    _check_door(Door(host=host), Keys({"0" * 64: Caller("shop", False)}))


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AdaptuneError, match=f"cannot listen on 127.0.0.1 port {port}"):
            _listen(Door(port=port))


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["adaptune", "serve", "bundles"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "pip install 'adaptune[serve]'" in capsys.readouterr().err


def test_a_failures_trace_is_one_line_and_quotes_nothing_that_was_sent() -> None:
    sent = "".join(("some", "thing"))

    def fail() -> None:
        try:
            int(sent)
        except ValueError as error:
            raise KeyError(sent) from error

    with pytest.raises(KeyError) as caught:
        fail()
    found = (type(caught.value), caught.value, caught.tb)
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 1, "Exception in ASGI application\n", (), found)
    quiet, full = (_Line(texts=texts).format(logging.makeLogRecord(vars(record))) for texts in (False, True))
    assert sent not in quiet
    assert all(part in quiet for part in ("KeyError", "ValueError", "in fail"))
    assert "\n" not in quiet
    assert "KeyError: 'something'" in full
