"""Run folders as runs leave them, written without one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from adaptune.core.run_folder import RunDir

DIGESTS = {"train": "a" * 64, "test": "b" * 64}
Write = Callable[..., RunDir]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write("first", accuracy=0.9): the folder of a finished run; state="empty" or "unfinished": of another one."""

    def make(
        name: str,
        *,
        state: str = "finished",
        accuracy: float = 0.5,
        predicted: Sequence[str] = (),
        digests: dict[str, str] = DIGESTS,
        begun: str = "2026-11-26T10:00:00+00:00",
        **recipe: Any,
    ) -> RunDir:
        folder = RunDir(tmp_path / "runs" / name)
        folder.path.mkdir(parents=True)
        method = {"name": "lora", "rank": 8} | recipe.pop("method", {})
        sections = {"task": {"name": "classify"}, "data": {"train": "train.csv", "test": "test.csv"}, "method": method}
        folder.recipe.write_text(json.dumps(sections | {"seed": 1, "out": name} | recipe))  # JSON is YAML
        folder.environment.write_text(
            json.dumps({"python": "3.11", "data": digests, "findings": {"rows": {"test": len(predicted)}}})
        )
        about = {"task": "classify", "approach": "finetune", "method": method["name"], "model": "hub/tiny", "seed": 1}
        folder.brief.write_text(json.dumps({"begun": begun} | about))
        if state == "unfinished":
            folder.checkpoint.mkdir()
            (folder.checkpoint / "training.pt").write_bytes(b"x" * 1000)
            folder.log_step({"step": 7})
        if state != "finished":
            return folder
        expected = ["good", "bad"] * (len(predicted) // 2)
        folder.write_predictions(
            {"row": place + 1, "source": "test.csv", "expected": wanted, "predicted": said, "probability": 0.9}
            for place, (wanted, said) in enumerate(zip(expected, predicted, strict=True))
        )
        folder.write_counts([[int(wanted == said), 1] for wanted, said in zip(expected, predicted, strict=True)])
        scores = {"metric": "accuracy", "valid": {"accuracy": 0.8}, "test": {"accuracy": accuracy}, "interval": None}
        folder.brief.write_text(json.dumps({"begun": begun, "seconds": 12.0, "steps": 9} | about | scores))
        folder.report.write_text(json.dumps(scores))
        return folder

    return make
