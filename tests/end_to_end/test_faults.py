"""A real server process that is killed, starved, lied to and hurried: the full sizes are bench/serving_faults.py's."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from adaptune.core.backbone import Backbone
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

BENCH = str(Path(__file__).resolve().parents[2] / "bench")
SECONDS = 2.0
"""That a client has, where the server is told so."""
OPTIONS = ("--most-hot", "14", "--body-bytes", "200000", "--rows", "100", "--client-seconds", str(SECONDS))
OPTIONS += ("--seconds", "300")  # many wait at a time, perhaps on a busy machine
full = pytest.mark.slow
Fault = Callable[[str], Any]


@pytest.fixture(scope="module")
def fault() -> Iterator[Fault]:
    """fault("swaps"): a module of bench/faults."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        yield lambda name: import_module(f"faults.{name}")


@pytest.fixture(scope="module")
def base(fault: Fault, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(ModelConfig(name=str(fault("model").tiny_bert(tmp_path_factory.mktemp("models") / "tiny"))))


@pytest.fixture(scope="module")
def root(fault: Fault, base: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles; no test leaves them changed."""
    found: Path = fault("model").fill(tmp_path_factory.mktemp("faults") / "bundles", base)
    return found


@pytest.fixture(scope="module")
def server(fault: Fault, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One for all that it must outlive."""
    folder = tmp_path_factory.mktemp("server")
    store = ("--store", f"sqlite:///{folder}/feedback.db", "--keep-texts")
    with fault("process").Server(root, *OPTIONS, *store, log=folder / "log") as found:
        yield found
        found.check_log()


@pytest.mark.parametrize(("requests", "clients"), [(200, 60), pytest.param(2000, 900, marks=full)])
def test_every_answer_is_that_of_one_version_of_its_bundle_while_bundles_are_swapped(
    fault: Fault, server: Any, root: Path, base: Backbone, requests: int, clients: int
) -> None:
    found = fault("swaps").swap_under_load(server, root, base, requests=requests, clients=clients)
    assert found["swaps"] > 5
    assert found["versions_that_answered"] > found["bundles"]


@pytest.mark.parametrize("trials", [42, pytest.param(700, marks=full)])
def test_damaged_bundles_are_refused_or_answer_as_they_do_offline(
    fault: Fault, server: Any, root: Path, base: Backbone, trials: int
) -> None:
    fault("damage").load_damaged(server, root, base, trials=trials)


def test_a_bundle_that_goes_bad_on_the_disk_takes_no_other_down(fault: Fault, server: Any, root: Path) -> None:
    fault("damage").damage_the_cold(server, root)


@pytest.mark.parametrize("clients", [9, pytest.param(300, marks=full)])
def test_clients_that_drip_are_cut_and_others_answered(fault: Fault, server: Any, clients: int) -> None:
    fault("clients").drip(server, clients=clients, seconds=SECONDS)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into Linux's table of connections")
def test_a_client_that_reads_no_answer_is_cut(fault: Fault, server: Any) -> None:
    fault("clients").read_nothing(server, seconds=SECONDS)


def test_heads_that_no_browser_sends_get_no_second_answer(fault: Fault, server: Any) -> None:
    fault("clients").abuse_heads(server)


def test_bodies_rows_and_names_beyond_the_limits_are_refused(fault: Fault, server: Any) -> None:
    fault("clients").ask_too_much(server, body_bytes=200_000, rows=100)


@pytest.mark.parametrize("total", [300, pytest.param(10_000, marks=full)])
def test_whatever_the_schema_allows_or_forbids_is_answered_as_it_says(fault: Fault, server: Any, total: int) -> None:
    assert fault("fuzz").fuzz(server, total=total)["requests"] >= 0.8 * total


@pytest.mark.parametrize(("rounds", "seconds"), [(1, 0.3), pytest.param(12, 2.0, marks=full)])
def test_what_was_acknowledged_outlives_a_kill(
    fault: Fault, root: Path, base: Backbone, tmp_path: Path, rounds: int, seconds: float
) -> None:
    fault("killed").kill_and_restart(root, tmp_path, base, rounds=rounds, seconds=seconds)


@pytest.mark.parametrize("asks", [15, pytest.param(300, marks=full)])
def test_a_full_disk_refuses_changes_and_nothing_else(
    fault: Fault, root: Path, base: Backbone, tmp_path: Path, asks: int
) -> None:
    disk = fault("disk")
    with disk.small_disk(tmp_path / "disk") as mounted:
        if not mounted:
            pytest.skip("this user may not mount a small file system; tests/unit/serve has the same faults injected")
        disk.fill_the_disk(root, tmp_path / "disk", base, asks=asks)


@pytest.mark.parametrize(("clients", "seconds"), [(8, 1.0), pytest.param(64, 6.0, marks=full)])
def test_what_had_reached_the_server_is_answered_after_sigterm(
    fault: Fault, root: Path, tmp_path: Path, clients: int, seconds: float
) -> None:
    with fault("process").Server(root, log=tmp_path / "drain.log") as server:
        fault("drain").drain(server, clients=clients, seconds=seconds)
        server.check_log()


@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk: apt-get install wrk")
@pytest.mark.parametrize(("requests", "marks"), [pytest.param(100_000, (10_000, 20_000, 50_000, 100_000), marks=full)])
def test_memory_does_not_grow_with_requests(
    fault: Fault, root: Path, tmp_path: Path, requests: int, marks: tuple[int, ...]
) -> None:
    with fault("process").Server(root, *OPTIONS, "--most-hot", "20", log=tmp_path / "memory.log") as server:
        found = fault("memory").grow(server, tmp_path, requests=requests, marks=marks)
    assert found["growth_after_the_first"] < 0.02, found


def test_two_replicas_share_one_database(fault: Fault, root: Path, tmp_path: Path, database: str) -> None:
    found = fault("replicas").correct_across(root, tmp_path, database, corrections=30)
    exported = [one.request_id for one in found["corrections"]]
    assert sorted(exported) == sorted(found["acknowledged"])
    assert len(found["acknowledged"]) == 60
