"""Two processes that torchrun starts train one run, and the first of them alone writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import adaptune

ROWS = [
    {"text": f"the {thing} was {word} {end}", "label": label}
    for thing in ("film", "book", "phone", "train")
    for label, words in (("positive", ("good", "great")), ("negative", ("bad", "poor")))
    for word in words
    for end in ("today", "again", "to me")
]


def test_two_processes_train_one_run(tmp_path: Path, tiny_bert: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    (tmp_path / "recipe.yaml").write_text(
        f"task: classify\ndata: {{train: {tmp_path}/rows.jsonl, test_share: 0.3, valid_share: 0.2}}\n"
        f"model: {tiny_bert}\nmethod: lora\ntrain: {{epochs: 2, batch_rows: 8, device: cpu}}\nout: {tmp_path}/run\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, "-m", "adaptune", "train", str(tmp_path / "recipe.yaml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("bundle: ") == 1
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)), "each step is logged once"
    assert adaptune.load(tmp_path / "run" / "bundle").predict(["the film was good"])[0]["label"] in (
        "positive",
        "negative",
    )
