"""A real small language model, SmolLM2-135M, classifies sentences: it learns, its bundle loads, plain peft reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer

import adaptune
from adaptune.core.run_folder import RunDir, read_json_lines

RATES = {"lora": 1e-3, "ia3": 1e-2, "prompt": 2e-2, "prefix": 5e-3}
TEXTS = ["a stirring , funny and finally transporting film", "one long string of cliches ."]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it
@pytest.mark.parametrize("method", RATES)
def test_the_loss_falls_and_the_bundle_loads_here_and_in_plain_peft(
    method: str, assets: Callable[[str], Path], data: Callable[[str], Path], tmp_path: Path
) -> None:
    base, folder = assets("smollm2"), tmp_path / "run"
    lines = (data("sst2") / "stsa.binary.dev").read_text("utf-8").splitlines()
    rows = [line.split(" ", 1) for line in lines if len(line) < 60][:12]
    (tmp_path / "rows.tsv").write_text("label\ttext\n" + "".join(f"{a}\t{b}\n" for a, b in rows), "utf-8")
    (tmp_path / "recipe.yaml").write_text(
        f"task: classify\nmodel: {{name: {base}, max_length: 32}}\nmethod: {method}\nout: {folder}\n"
        f"data: {{train: {tmp_path}/rows.tsv, valid: {tmp_path}/rows.tsv, test_share: 0}}\n"
        f"train: {{epochs: 10, learning_rate: {RATES[method]}, evaluate_every: 10, warm_start: false}}\n"
    )
    trained = adaptune.train(tmp_path / "recipe.yaml")
    assert trained.report["valid"]["accuracy"] > 0.7  # so that the bundle holds what was learned
    losses = [step["loss"] for step in read_json_lines(RunDir(folder).steps)]
    assert len(losses) == 10  # every step reads all rows
    assert mean(losses[-2:]) < 0.9 * mean(losses[:2])
    bundle = adaptune.load(trained.bundle)
    assert {answer["label"] for answer in bundle.predict(TEXTS)} <= {"0", "1"}
    inputs = AutoTokenizer.from_pretrained(base)(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        theirs = PeftModel.from_pretrained(AutoModel.from_pretrained(base, dtype=torch.float32), trained.bundle).eval()
        hidden = theirs(**inputs).last_hidden_state
        ours = bundle.assembly.trunk(**inputs).last_hidden_state
    length = inputs["input_ids"].shape[1]  # peft keeps the positions of a prompt, ours are invisible to heads
    assert torch.allclose(hidden[:, -length:], ours[:, -length:], atol=1e-3)
