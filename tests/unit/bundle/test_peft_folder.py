"""A bundle of a peft method is also a folder that plain peft loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer

from adaptune.bundle.load import load_bundle
from adaptune.methods import METHODS
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

from .conftest import Saved, Trained, save

TEXTS = ["The film was great", "a slow and terrible book, never again"]


# peft asks transformers by a name that it is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def _hidden_differ(folder: Path, base: Path) -> tuple[float, float]:
    """How far plain peft is from the bundle, and from the base."""
    inputs = AutoTokenizer.from_pretrained(base)(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        untouched = AutoModel.from_pretrained(base).eval()(**inputs).last_hidden_state
        theirs = PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder).eval()(**inputs).last_hidden_state
        ours = load_bundle(folder).assembly.trunk(**inputs).last_hidden_state
    theirs = theirs[:, -ours.shape[1] :]  # peft shows the positions of a prompt
    return float((theirs - ours).abs().max()), float((theirs - untouched).abs().max())


@pytest.mark.parametrize(
    "method", [name for name in METHODS.names() if METHODS.get(name).peft_format and name != "prefix"]
)
def test_plain_peft_gives_the_same_hidden_states(saved: Saved, tiny_bert: Path, method: str) -> None:
    from_bundle, from_base = _hidden_differ(saved(method), tiny_bert)
    assert from_bundle < 1e-6
    assert from_base > 1e-4


def test_a_bundle_that_peft_has_no_way_for_is_no_peft_folder(saved: Saved) -> None:
    folder = saved("prefix")  # on BERT, which takes no past keys
    assert not list(folder.glob("adapter_*"))
    assert "PeftModel" not in (folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize("targets", ["all", ["query"]], ids=str)
def test_plain_peft_changes_the_same_matrices(saved: Saved, tiny_bert: Path, targets: str | list[str]) -> None:
    from_bundle, from_base = _hidden_differ(saved("lora", targets=targets, rank=4), tiny_bert)
    assert from_bundle < 1e-6
    assert from_base > 1e-4


def test_plain_peft_gives_the_same_hidden_states_on_real_weights(
    trained: Trained, assets: Callable[[str], Path], tmp_path: Path
) -> None:
    base = assets("splade")
    save(tmp_path / "b", trained("lora", backbone=load_backbone(ModelConfig(name=str(base)))))
    assert _hidden_differ(tmp_path / "b", base)[0] < 1e-6


def test_the_adapter_names_its_base_and_is_written_alike_every_time(saved: Saved, tiny_bert: Path) -> None:
    one = json.loads((saved("lora", name="one") / "adapter_config.json").read_text(encoding="utf-8"))
    assert one["base_model_name_or_path"] == str(tiny_bert)
    assert one["inference_mode"] is True
    assert one["target_modules"] == sorted(one["target_modules"])


def test_a_bundle_of_another_method_has_no_adapter_files(saved: Saved) -> None:
    assert not list(saved("bitfit").glob("adapter_*"))
