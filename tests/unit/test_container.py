"""Dockerfile and compose.yaml fit the project and each other. No container is built here: there may be no Docker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from adaptune import cli
from adaptune.serve.config import Limits
from adaptune.serve.server import DRAIN

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, lines that go on joined."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]
    found: list[list[tuple[str, str]]] = []
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "FROM":
            found.append([])
        found[-1].append((kind, rest))
    return found


def of(kind: str, stage: int = -1) -> list[str]:
    return [rest for one, rest in stages()[stage] if one == kind]


def words(kind: str) -> list[str]:
    """The one instruction of a kind in the last stage, in JSON's form."""
    [rest] = of(kind)
    return [str(word) for word in json.loads(rest[rest.index("[") :])]


def service() -> dict[str, Any]:
    """The one service of compose.yaml."""
    [found] = composed()["services"].values()
    return dict(found)


def composed() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8")))


def test_every_instruction_is_one_that_docker_knows_and_no_stage_runs_on_something_else() -> None:
    assert {kind for stage in stages() for kind, _ in stage} <= KINDS
    assert [of("FROM", place) for place in (0, 1)] == [["python:3.12-slim AS build"], ["python:3.12-slim"]]
    assert len(stages()) == 2


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    kept = re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"))
    copied = [source for rest in of("COPY", 0) for source in rest.split()[:-1]]
    assert sorted(copied) == sorted(kept)
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert of("COPY") == ["--from=build /opt/adaptune /opt/adaptune"]


def test_it_installs_an_extra_that_is_there_and_pins_all_that_it_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installs = [rest for rest in of("RUN", 0) if "pip install" in rest]
    assert installs[0].split("pip install ")[1] == "--extra-index-url https://download.pytorch.org/whl/cpu torch"
    [extra] = re.findall(r"'\.\[(\w+)\]'", installs[1])
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    wanted = [*project["dependencies"], *project["optional-dependencies"][extra], "hatchling"]
    assert [one for one in wanted if re.split(r"[>=<\[]", one)[0].lower() not in pinned] == []
    assert "PIP_CONSTRAINT=/source/constraints.txt" in of("ENV", 0)[0]
    assert {project["readme"], *project["license-files"]} <= set(" ".join(of("COPY", 0)).split())


def test_its_command_is_one_that_adaptune_takes() -> None:
    assert words("ENTRYPOINT") == ["adaptune"]
    verb, *arguments = words("CMD")
    group: Any = typer.main.get_command(cli.app)
    given = group.commands[verb].make_context(verb, arguments).params
    assert (str(given["bundles"]), given["host"], given["port"]) == ("/bundles", "0.0.0.0", 8000)
    assert str(given["keys"]) == f"/run/secrets/{service()['secrets'][0]}"


def test_it_runs_as_nobody_special_and_writes_to_its_volumes_alone() -> None:
    kinds = [kind for kind, _ in stages()[-1]]
    assert of("USER") == ["10001:10001"]
    assert kinds.index("USER") < kinds.index("ENTRYPOINT")
    assert "RUN" not in kinds[kinds.index("USER") :]
    found = service()
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["tmpfs"] == ["/tmp"]
    mounted = {one.split(":")[1]: one.split(":")[2:] for one in found["volumes"]}
    assert mounted == {"/bundles": ["ro"], "/cache": []}
    assert json.loads(of("VOLUME")[0]) == list(mounted)
    caches = re.findall(r"(?:HF_HOME|ADAPTUNE_CACHE)=(\S+)", of("ENV")[0])
    assert len(caches) == 2
    assert all(cache.startswith("/cache/") for cache in caches)


def test_compose_names_what_it_defines_and_stops_no_answer_short() -> None:
    found, read = service(), composed()
    assert found["secrets"] == ["adaptune_keys"]
    assert read["secrets"] == {"adaptune_keys": {"file": "./keys.txt"}}
    assert list(read["volumes"]) == ["cache"]
    assert float(found["stop_grace_period"].removesuffix("s")) > Limits().seconds + DRAIN
    assert found["ports"] == [f"127.0.0.1:8000:{of('EXPOSE')[0]}"]


@pytest.fixture
def answering() -> Iterator[tuple[int, list[int], list[str]]]:
    """A port, the status that it answers with, and the paths that were asked for."""
    status, paths = [200], []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            paths.append(self.path)
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, status, paths
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_health_check_asks_whether_the_server_is_ready(answering: tuple[int, list[int], list[str]]) -> None:
    port, status, paths = answering
    python, *arguments = words("HEALTHCHECK")
    assert python == "python"
    asked = [argument.replace(":8000/", f":{port}/") for argument in arguments]
    assert asked != arguments
    for status[0], code in ((200, 0), (503, 1)):
        done = subprocess.run([sys.executable, *asked], capture_output=True, check=False)
        assert done.returncode == code, done.stderr
    assert paths == ["/ready", "/ready"]
