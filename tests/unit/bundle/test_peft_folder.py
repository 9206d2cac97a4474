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
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

from .conftest import Saved, Trained, save

TEXTS = ["The film was great", "a slow and terrible book, never again"]


# peft asks transformers by a name that it is about to drop.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("targets", ["attention", "all", ["query"]], ids=str)
def test_plain_peft_gives_the_same_hidden_states(saved: Saved, tiny_bert: Path, targets: str | list[str]) -> None:
    folder = saved("lora", targets=targets, rank=4)
    inputs = AutoTokenizer.from_pretrained(tiny_bert)(TEXTS, padding=True, return_tensors="pt")
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(tiny_bert), folder).eval()
    with torch.no_grad():
        theirs = model(**inputs).last_hidden_state
    ours = load_bundle(folder).assembly.trunk(**inputs).last_hidden_state
    base = AutoModel.from_pretrained(tiny_bert).eval()(**inputs).last_hidden_state
    torch.testing.assert_close(theirs, ours)
    assert (theirs - base).abs().max() > 0.001


def test_the_adapter_names_its_base_and_is_written_alike_every_time(saved: Saved, tiny_bert: Path) -> None:
    one = json.loads((saved("lora", name="one") / "adapter_config.json").read_text(encoding="utf-8"))
    assert one["base_model_name_or_path"] == str(tiny_bert)
    assert one["inference_mode"] is True
    assert one["target_modules"] == sorted(one["target_modules"])


def test_a_bundle_of_another_method_has_no_adapter_files(saved: Saved) -> None:
    assert not list(saved("bitfit").glob("adapter_*"))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_plain_peft_gives_the_same_hidden_states_on_real_weights(
    trained: Trained, assets: Callable[[str], Path], tmp_path: Path
) -> None:
    base = assets("splade")
    save(tmp_path / "b", trained("lora", backbone=load_backbone(ModelConfig(name=str(base)))))
    inputs = AutoTokenizer.from_pretrained(base)(TEXTS, padding=True, return_tensors="pt")
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(base), tmp_path / "b").eval()
    with torch.no_grad():
        theirs, ours = model(**inputs), load_bundle(tmp_path / "b").assembly.trunk(**inputs)
    torch.testing.assert_close(theirs.last_hidden_state, ours.last_hidden_state)
