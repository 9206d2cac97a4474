"""A file of any number of rows is answered in constant memory, and goes on to the same bytes where it was stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptune.bundle import answer_file as module
from adaptune.bundle import work as work_module
from adaptune.bundle.answer_file import answer_file, answered
from adaptune.bundle.load import Bundle, load_bundle
from adaptune.bundle.manifest import read_manifest
from adaptune.bundle.work import Work, work_of
from adaptune.core.errors import BundleError, DataError, Interrupted
from adaptune.data import file as file_module
from adaptune.data import large_text
from adaptune.data.config import DataConfig
from adaptune.data.flow import Reader

from .conftest import Saved

ENDS = ("again", "to me and my long lost friend in york", "today")
Asked = Callable[..., Work]


@pytest.fixture
def folder(saved: Saved, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A bundle; windows are small, so that there are several."""
    monkeypatch.setattr(work_module, "AHEAD", 8)
    folder = saved("lora")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def asked(folder: Path) -> Asked:
    """asked("in.csv", on_bad_row="skip"): the work of answering a file into out.jsonl."""

    def make(source: str = "in.csv", **settings: Any) -> Work:
        manifest = read_manifest(folder)
        config = DataConfig.model_validate({"train": source, "columns": manifest.columns} | settings)
        return work_of(folder, manifest, source, {None: Reader(manifest.make_task(), config)}, out=Path("out.jsonl"))

    return make


def rows(count: int) -> None:
    texts = [f"film {number} was good {ENDS[number % 3] * (number % 4)}" for number in range(count)]
    Path("in.csv").write_text("review\n" + "".join(f"{text}\n" for text in texts), encoding="utf-8")


def lines(file: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]


def test_every_row_is_answered_in_order_as_it_is_by_itself(folder: Path, asked: Asked) -> None:
    rows(30)
    bundle = load_bundle(folder)
    answer_file(bundle, asked(), Path("out.jsonl"))
    texts = Path("in.csv").read_text(encoding="utf-8").splitlines()[1:]
    direct = bundle.predict(texts)
    found = lines()
    assert [line["row"] for line in found] == list(range(2, 32))
    assert [line["label"] for line in found] == [answer["label"] for answer in direct]
    assert [line["probability"] for line in found] == pytest.approx([a["probability"] for a in direct], abs=1e-6)
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["bundle-under-test", "in.csv", "out.jsonl"]


KILLED = """
import os, signal, sys
from pathlib import Path
from adaptune.bundle import answer_file, work
from adaptune.bundle.growing import Growing
from adaptune.cli import main

work.AHEAD = 8
whole, count = Growing.write, []

def write(self, lines):
    whole(self, lines)
    count.append(1)
    if len(count) == 2:
        self._file.write(b'{"row": 99, "lab')  # the line at which it was stopped
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

Growing.write = write
sys.argv = ["adaptune", "predict", sys.argv[1], "--file", "in.csv", "--out", "out.jsonl"]
main()
"""


def test_killed_and_started_again_it_writes_the_same_bytes(folder: Path, asked: Asked) -> None:
    rows(30)
    bundle = load_bundle(folder)
    answer_file(bundle, asked(), Path("out.jsonl"))
    uninterrupted = Path("out.jsonl").read_bytes()
    Path("out.jsonl").unlink()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not Path("out.jsonl").exists()
    assert Path("out.jsonl.part").read_bytes().count(b"\n") == 16
    answered_rows: list[int] = []
    whole = Bundle.answers

    def counting(self: Bundle, examples: Any, **more: Any) -> Any:
        answered_rows.append(len(examples))
        return whole(self, examples, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bundle, "answers", counting)
        answer_file(bundle, asked(), Path("out.jsonl"))
    assert answered_rows == [8, 6]  # what was written is not computed again
    assert Path("out.jsonl").read_bytes() == uninterrupted


def test_it_goes_on_within_a_window_by_computing_that_window_anew(folder: Path, asked: Asked) -> None:
    rows(20)
    bundle, work = load_bundle(folder), asked()
    answer_file(bundle, work, Path("out.jsonl"))
    whole = Path("out.jsonl").read_bytes()
    assert [record for window in answered(bundle, work, skip=11) for record in window] == lines()[11:]
    Path("out.jsonl").unlink()
    Path("out.jsonl.part.json").write_text(json.dumps(dict(work.made_from)), encoding="utf-8")
    Path("out.jsonl.part").write_bytes(b"".join(whole.splitlines(keepends=True)[:11]))
    answer_file(bundle, asked(), Path("out.jsonl"))
    assert Path("out.jsonl").read_bytes() == whole


def test_a_signal_ends_it_after_a_window_and_says_how_it_goes_on(
    folder: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(20)
    whole = module.answered

    def interrupting(*given: Any, **more: Any) -> Any:
        for window in whole(*given, **more):
            signal.raise_signal(signal.SIGTERM)
            yield window

    monkeypatch.setattr(module, "answered", interrupting)
    with pytest.raises(Interrupted, match="stopped after 8 of 20 rows; the same command goes on") as stopped:
        answer_file(load_bundle(folder), asked(), Path("out.jsonl"))
    assert stopped.value.signal == signal.SIGTERM
    assert len(lines("out.jsonl.part")) == 8


@pytest.mark.parametrize("changed", ["input", "bundle", "setting"])
def test_it_does_not_go_on_from_something_else(folder: Path, asked: Asked, changed: str) -> None:
    rows(20)
    work = asked()
    Path("out.jsonl.part").write_bytes(b"")
    Path("out.jsonl.part.json").write_text(json.dumps(dict(work.made_from)), encoding="utf-8")
    asked()  # goes on
    settings = {}
    if changed == "input":
        rows(21)
    elif changed == "bundle":
        text = (folder / "manifest.json").read_text(encoding="utf-8")
        (folder / "manifest.json").write_text(text.replace('"created": "2', '"created": "3'), encoding="utf-8")
    else:
        settings = {"on_bad_row": "skip"}
    with pytest.raises(BundleError, match=rf"out.jsonl.part was begun with another {changed}, so it cannot be gone on"):
        asked(**settings)


def test_a_part_that_nothing_tells_of_is_refused(folder: Path, asked: Asked) -> None:
    rows(3)
    Path("out.jsonl.part").write_bytes(b"mine\n")
    with pytest.raises(BundleError, match=r"no out\.jsonl\.part.json beside it says what it was made from; delete it"):
        asked()
    assert Path("out.jsonl.part").read_bytes() == b"mine\n"


def test_a_file_that_changes_meanwhile_is_refused(folder: Path, asked: Asked) -> None:
    rows(20)
    work = asked()
    rows(19)
    with pytest.raises(DataError, match=r"in\.csv was changed while its rows were answered; begin anew"):
        answer_file(load_bundle(folder), work, Path("out.jsonl"))


def test_two_processes_do_not_write_one_file(folder: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(20)
    whole = module.answered

    def beside(*given: Any, **more: Any) -> Any:
        for window in whole(*given, **more):
            with Path("out.jsonl.part").open("ab") as other:
                other.write(b"{}\n")
            yield window

    monkeypatch.setattr(module, "answered", beside)
    with pytest.raises(BundleError, match="written by another process, too"):
        answer_file(load_bundle(folder), asked(), Path("out.jsonl"))


def test_a_folder_that_is_not_there_is_told_before_anything_is_read(folder: Path) -> None:
    manifest = read_manifest(folder)
    reader = Reader(manifest.make_task(), DataConfig(train="in.csv"))
    with pytest.raises(BundleError, match=r"there is no folder 'nowhere' to write 'out\.jsonl' to"):
        work_of(folder, manifest, "in.csv", {None: reader}, out=Path("nowhere/out.jsonl"))


def test_memory_does_not_grow_with_the_number_of_rows(
    folder: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_module, "AHEAD", 50)
    # Smaller than either file, like a window: what is read ahead of the rows.
    monkeypatch.setattr(large_text, "BLOCK", 1 << 11)
    monkeypatch.setattr(file_module, "LOOKED_AT", 50)
    bundle = load_bundle(folder)

    def peak(count: int) -> int:
        rows(count)
        tracemalloc.start()
        answer_file(bundle, asked(), Path("out.jsonl"))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert Path("out.jsonl").read_bytes().count(b"\n") == count
        return most

    peak(100)  # what is made once
    few, many = peak(100), peak(2000)
    assert many < few + 100_000, f"{few} bytes for 100 rows, {many} for 2,000"
    assert Path("out.jsonl").stat().st_size > 120_000  # the answers alone would show
