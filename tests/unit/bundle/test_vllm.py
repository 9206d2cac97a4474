"""A LoRA bundle that writes becomes a folder that vLLM's loader accepts, or is refused with what to do instead."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from adaptune.bundle.elsewhere import VLLM_RANKS, check_vllm
from adaptune.bundle.load import load_bundle
from adaptune.bundle.manifest import Manifest, read_manifest
from adaptune.bundle.save import save_bundle
from adaptune.bundle.vllm import check_folder, export_vllm
from adaptune.core.errors import Unsupported
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks import TASKS

from .conftest import moved


@pytest.fixture(scope="module")
def writer(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that writes, on a Llama."""
    folder = tmp_path_factory.mktemp("bundles") / "my writer"
    llama = load_backbone(ModelConfig(name=str(tiny_llama)), words=True)
    head = HEADS.make({"name": "generate", "max_new_tokens": 4})
    assembly = moved(Assembly(llama, METHODS.make({"name": "lora", "rank": 12}), head, Labels(()), seed=1))
    save_bundle(folder, assembly, TASKS.make({"name": "write"}), columns={}, max_length=100, scores={})
    return folder


def test_the_command_names_base_folder_and_a_rank_that_vllm_knows(
    writer: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    done = export_vllm(load_bundle(writer), tmp_path / "adapter")
    assert shlex.split(done.command) == [
        "vllm",
        "serve",
        str(tiny_llama),
        "--enable-lora",
        "--lora-modules",
        f"my writer={tmp_path / 'adapter'}",
        "--max-lora-rank",
        "16",
    ]
    assert str(done).splitlines()[1] == done.command
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (settings["r"], settings["modules_to_save"], settings["use_dora"]) == (12, None, False)
    assert settings["target_modules"] == ["k_proj", "o_proj", "q_proj", "v_proj"]


@pytest.mark.parametrize(
    ("method", "most"),
    [({"rank": 8}, 8), ({"rank": 9}, 16), ({"rank": 300}, 320), ({"rank": 300, "initialisation": "pissa"}, None)],
)
def test_the_rank_is_the_least_that_vllm_offers(writer: Path, method: dict[str, Any], most: int | None) -> None:
    changed = _with(read_manifest(writer), {"name": "lora", **method})
    if most is not None:
        assert check_vllm(changed) == most
        assert most in VLLM_RANKS
        return
    with pytest.raises(Unsupported, match="the adapter has rank 600, and vLLM loads up to 512; train with a lower"):
        check_vllm(changed)


def test_what_vllm_does_not_load_is_refused_by_name_with_a_remedy(writer: Path) -> None:
    manifest = read_manifest(writer)
    classify = manifest.parts[0].model_copy(update={"head": {"name": "classify"}})
    base = manifest.base
    for changed, message in (
        (_with(manifest, {"name": "lora", "dora": True}), "vLLM does not load DoRA.*method.dora=false"),
        (_with(manifest, {"name": "ia3"}), "vLLM loads LoRA alone, and the bundle's method is 'ia3'; train with lora"),
        (manifest.model_copy(update={"parts": (classify,)}), "head 'classify' is a layer of its own.*--to onnx"),
        (
            manifest.model_copy(update={"base": base.model_copy(update={"family": "bert"})}),
            r"no LoRA on the base .* \(family bert, no decoder\).*adaptune serve",
        ),
        (
            manifest.model_copy(update={"base": base.model_copy(update={"family": "gpt2"})}),
            r"no LoRA on the base .* \(family gpt2\), but on llama",
        ),
    ):
        with pytest.raises(Unsupported, match=message):
            check_vllm(changed)


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is none"),
        ({"use_dora": True}, "use_dora is false"),
        ({"bias": "all"}, "bias is none"),
        ({"r": 32}, "r is at most 16"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern and alpha_pattern are empty"),
        ({"target_modules": ["layers.0.self_attn.q_proj"]}, "target_modules is a list of names"),
        ({"init_lora_weights": "pissa"}, "the weights are not folded into the base"),
        ({"peft_type": "LOHA"}, "peft_type is LORA"),
    ],
)
def test_a_written_folder_is_held_to_the_rules_of_vllms_loader(
    writer: Path, tmp_path: Path, setting: dict[str, Any], rule: str
) -> None:
    export_vllm(load_bundle(writer), tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    check_folder(tmp_path / "adapter", 16)
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | setting), encoding="utf-8")
    with pytest.raises(Unsupported, match=f"vLLM would not load this adapter; it asks that {rule}"):
        check_folder(tmp_path / "adapter", 16)


def _with(manifest: Manifest, method: dict[str, Any]) -> Manifest:
    return manifest.model_copy(update={"method": method})
