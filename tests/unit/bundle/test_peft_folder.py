"""A bundle of a peft method is also a folder that plain peft loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from adaptune.bundle.export import export
from adaptune.bundle.load import load_bundle
from adaptune.bundle.peft_folder import write_peft
from adaptune.core.errors import BundleError, Unsupported
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


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_gpt2"])
@pytest.mark.parametrize("method", ["lora", "adalora", "ia3", "vera"])
def test_onto_a_causal_model_plain_peft_gives_the_logits_of_trunk_and_vocabulary(
    trained: Trained, request: pytest.FixtureRequest, tmp_path: Path, name: str, method: str
) -> None:
    base = request.getfixturevalue(name)
    backbone = load_backbone(ModelConfig(name=str(base)), words=True)
    assembly = trained(method, backbone=backbone).eval()
    write_peft(assembly, tmp_path, onto="causal-lm")
    ids = torch.tensor([[5, 9, 40, 77, 3]])
    with torch.no_grad():
        theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path).eval()
        assert type(theirs).__name__ == "PeftModelForCausalLM"
        assert backbone.vocabulary is not None
        ours = backbone.vocabulary(assembly.trunk(input_ids=ids, use_cache=False).last_hidden_state)
        untouched = backbone.vocabulary(backbone.trunk(input_ids=ids, use_cache=False).last_hidden_state)
        assert (theirs(input_ids=ids).logits - ours).abs().max() < 2e-5
        assert (untouched - ours).abs().max() > 1e-3


def test_the_adapter_of_a_decoder_is_what_the_loader_of_vllm_asks_for(
    trained: Trained, tiny_llama: Path, tmp_path: Path
) -> None:
    """vLLM's rules (vllm/lora: peft_helper.py, utils.py, lora_model.py), as it needs a GPU to run.

    The configuration must have r, lora_alpha and target_modules, r at most --max-lora-rank, bias none, no
    modules_to_save and no use_dora; use_rslora is read, the scale is then lora_alpha / sqrt(r). The tensors must lie in
    adapter_model.safetensors; each is called base_model.model.MODULE.lora_A.weight or lora_B.weight, where MODULE is a
    path in the model for causal words and its last part one of the matrices that the model class supports: for Llama
    q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj (and embed_tokens, lm_head).
    """
    backbone = load_backbone(ModelConfig(name=str(tiny_llama)))
    write_peft(trained("lora", backbone=backbone, targets="all", rank=4), tmp_path, onto="causal-lm")
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    supported = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert (config["r"], config["lora_alpha"], config["task_type"]) == (4, 16, "CAUSAL_LM")
    assert (config["bias"], config["modules_to_save"], config["use_dora"], config["use_rslora"]) == (
        "none",
        None,
        False,
        False,
    )
    assert set(config["target_modules"]) == supported
    with torch.device("meta"):
        whole = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tiny_llama))
    modules = dict(whole.named_modules())
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in tensors
    for name, tensor in tensors.items():
        first, second, *path, part, weight = name.split(".")
        assert (first, second, weight) == ("base_model", "model", "weight")
        assert path[-1] in supported
        matrix = modules[".".join(path)]
        shapes = {"lora_A": (4, matrix.in_features), "lora_B": (matrix.out_features, 4)}
        assert tuple(tensor.shape) == shapes[part]


def test_an_export_says_how_it_is_loaded_and_refuses_what_cannot_be(saved: Saved, tmp_path: Path) -> None:
    done = export(load_bundle(saved("lora", name="one")), tmp_path / "out")
    assert str(done).endswith("onto transformers.AutoModel; without the head")
    assert sorted(file.name for file in (tmp_path / "out").glob("adapter*")) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    with pytest.raises(BundleError, match="holds other files"):
        export(load_bundle(saved("lora", name="one")), tmp_path / "out")
    with pytest.raises(Unsupported, match="the family 'bert' is no decoder"):
        export(load_bundle(saved("lora", name="one")), tmp_path / "decoder", onto="causal-lm")
    with pytest.raises(Unsupported, match="no method that computes what 'bitfit' does"):
        export(load_bundle(saved("bitfit", name="two")), tmp_path / "other")
