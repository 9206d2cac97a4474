"""The commands of docs/deploy.md that need no server do what it says; so does a file for a bundle of several tasks."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adaptune import cli
from adaptune.bundle.load import load_bundle
from adaptune.bundle.save import Taught, save_bundle, save_tasks
from adaptune.bundle.several import load_tasks
from adaptune.core.types import Labels, Scores
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.joint import Joint, Learner, Output
from adaptune.models.load import load_backbone
from adaptune.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
MOODS, TAGS = Labels(("bad", "good")), Labels(("O", "B-place", "I-place"))
TEXTS = ["the train was late", "a good film, really", "we went to the old town"]
Say = Callable[..., str]


def move(learner: Learner) -> None:
    """Away from the start, as training would."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in learner.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def desk(tmp_path: Path, tiny_bert: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the bundles and rows that the guide speaks of."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundles").mkdir()
    lora, scores = METHODS.make({"name": "lora", "rank": 4}), {"test": Scores({})}
    for name, task, head, labels, model in (
        ("reviews", "classify", {"name": "classify"}, MOODS, tiny_bert),
        ("writer", "write", {"name": "generate", "max_new_tokens": 4}, Labels(()), tiny_llama),
    ):
        backbone = load_backbone(ModelConfig(name=str(model)), words=name == "writer")
        assembly = Assembly(backbone, lora, HEADS.make(head), labels, seed=1)
        move(assembly)
        made = TASKS.make({"name": task})
        save_bundle(tmp_path / "bundles" / name, assembly, made, columns={}, max_length=64, scores=scores)
    Path("rows.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in TEXTS), encoding="utf-8")
    Path("comments.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    lines = [json.dumps({"text": text}) for text in TEXTS]
    Path("dirty.jsonl").write_text("\n".join([lines[0], '{"text": 3}', *lines[1:]]) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """say("show", "bundles/reviews"): what the command prints, once it has ended well."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["adaptune", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        assert end.value.code == 0, printed.err
        return printed.out

    return run


def test_the_commands_without_a_server_work_as_written(desk: Path, say: Say, tiny_llama: Path) -> None:
    pytest.importorskip("onnxscript", reason="a graph needs onnxscript")
    _, _, text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8").partition("\n# Without a server\n")
    blocks = re.findall(r"(?ms)^```\n(.*?)^```", text)
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith("pip ")]
    assert [line.split()[0] for line in lines] == ["adaptune"] * 4 + ["echo", "adaptune"]
    printed = ""
    for line in lines:
        if line.startswith("adaptune "):
            printed += say(*shlex.split(line)[1:])
        else:
            command = line.replace("python ", f"{shlex.quote(sys.executable)} ")
            done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
            graph = json.loads(done.stdout)
    answers = {name: _lines(Path(f"{name}.jsonl")) for name in ("answers", "comments", "clean")}
    direct = load_bundle("bundles/reviews").predict(TEXTS)
    assert [one["row"] for one in answers["answers"]] == [2, 3, 4]
    assert [one["row"] for one in answers["comments"]] == [1, 2, 3]
    assert [one["row"] for one in answers["clean"]] == [1, 3, 4]
    for found in answers.values():
        assert [one["label"] for one in found] == [one["label"] for one in direct]
        assert [one["probability"] for one in found] == pytest.approx([one["probability"] for one in direct], abs=1e-5)
    [rejected] = _lines(Path("clean.jsonl.rejected.jsonl"))
    assert (rejected["file"], rejected["row"]) == ("dirty.jsonl", 2)
    assert graph == {"label": direct[0]["label"], "probability": pytest.approx(direct[0]["probability"], abs=1e-4)}
    folder = desk / "writer-vllm"
    served = f"vllm serve {tiny_llama} --enable-lora --lora-modules writer={folder} --max-lora-rank 8\n"
    assert printed.endswith(served)
    assert not list(desk.glob("*.part*"))


def test_a_file_is_answered_for_all_tasks_of_a_bundle_or_for_one(tmp_path: Path, say: Say, tiny_bert: Path) -> None:
    kinds = (("mood", "classify", MOODS), ("places", "tag", TAGS))
    outputs = {name: Output(HEADS.make({"name": kind}), labels) for name, kind, labels in kinds}
    joint = Joint(load_backbone(ModelConfig(name=str(tiny_bert))), METHODS.make({"name": "lora"}), outputs, seed=1)
    move(joint)
    taught = {name: Taught(TASKS.make({"name": kind}), {}, {}) for name, kind, _ in kinds}
    save_tasks(tmp_path / "both", joint.eval(), taught, max_length=64)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    file = ("--file", str(tmp_path / "in.jsonl"))
    all_tasks = [json.loads(line) for line in say("predict", str(tmp_path / "both"), *file).splitlines()]
    direct = load_tasks(tmp_path / "both").predict(TEXTS)
    assert [list(one) for one in all_tasks] == [["row", "mood", "places"]] * 3
    assert [one["mood"]["label"] for one in all_tasks] == [one["mood"]["label"] for one in direct]
    assert [_found(one["places"]) for one in all_tasks] == [_found(one["places"]) for one in direct]
    alone = say("predict", str(tmp_path / "both"), *file, "--task", "mood")
    assert [json.loads(line)["label"] for line in alone.splitlines()] == [one["mood"]["label"] for one in direct]


def _found(answer: dict[str, list[dict[str, object]]]) -> list[list[object]]:
    return [[entity["type"], entity["start"], entity["end"]] for entity in answer["entities"]]


def _lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
