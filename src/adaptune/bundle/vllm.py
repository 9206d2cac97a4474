"""A bundle of LoRA on a decoder as a folder that vLLM serves on its base, and the command for it. Knows no recipe."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from adaptune.bundle.elsewhere import check_vllm
from adaptune.bundle.load import Bundle
from adaptune.bundle.peft_folder import check_plain, write_peft
from adaptune.bundle.save import check_free
from adaptune.core.errors import Unsupported
from adaptune.core.files import replacing_folder

ADAPTER = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class ForVllm:
    """A folder, and how it is served."""

    folder: Path
    base: str
    revision: str | None
    """Of the base, where it is one of a hub's."""
    name: str
    """Of the bundle: how requests call the adapter."""
    rank: int
    """What `--max-lora-rank` has to be."""
    quantised: bool
    """Whether it was trained on a base of int8 or nf4."""

    @property
    def command(self) -> str:
        """For a shell."""
        words = ["vllm", "serve", self.base, *(["--revision", self.revision] if self.revision else [])]
        words += ["--enable-lora", "--lora-modules", f"{self.name}={self.folder}", "--max-lora-rank", str(self.rank)]
        return shlex.join(words)

    def __str__(self) -> str:
        told = "; it was trained on a quantised base, of which the full one differs a little" if self.quantised else ""
        return f"{self.folder} is what vLLM loads{told}; serve it on its base:\n{self.command}"


def export_vllm(bundle: Bundle, out: str | Path) -> ForVllm:
    """Write the adapter for the model over words, and hold it to vLLM's rules.

    Raises Unsupported for what vLLM does not load, BundleError where the folder holds other files.
    """
    out = Path(out).absolute()
    rank = check_vllm(bundle.manifest)
    check_free(out)
    check_plain(bundle.assembly)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(out) as new:
        write_peft(bundle.assembly, new, onto="causal-lm")
        check_folder(new, rank)
    backbone = bundle.assembly.backbone
    return ForVllm(
        folder=out,
        base=backbone.name,
        revision=backbone.revision,
        name=bundle.name,
        rank=rank,
        quantised=bundle.manifest.base.weights != "float",
    )


def check_folder(folder: Path, most: int) -> None:
    """Hold a PEFT folder to what vLLM's loader asks of it (vllm/lora: peft_helper.py, lora_model.py).

    Raises Unsupported with every rule that it breaks.
    """
    settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    with safe_open(folder / ADAPTER, framework="np") as tensors:
        names = list(tensors.keys())
    targets = settings.get("target_modules")
    rules = {
        "peft_type is LORA": settings.get("peft_type") == "LORA",
        "modules_to_save is none": not settings.get("modules_to_save"),
        "use_dora is false": not settings.get("use_dora"),
        "bias is none": settings.get("bias") == "none" and not settings.get("lora_bias"),
        f"r is at most {most}": 1 <= settings.get("r", 0) <= most,
        "rank_pattern and alpha_pattern are empty": not (settings.get("rank_pattern") or settings.get("alpha_pattern")),
        "the weights are not folded into the base": settings.get("init_lora_weights") in (True, "gaussian"),
        "target_modules is a list of names": isinstance(targets, list) and all("." not in name for name in targets),
        "tensors are lora_A and lora_B of layers of the model over words": bool(names)
        and all(name.startswith("base_model.model.model.layers.") for name in names)
        and all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in names),
    }
    if broken := [rule for rule, kept in rules.items() if not kept]:
        raise Unsupported(
            f"vLLM would not load this adapter; it asks that {'; that '.join(broken)}. Train lora with "
            "method.targets=attention, mlp or all, or give vLLM the model that adaptune merge writes"
        )
