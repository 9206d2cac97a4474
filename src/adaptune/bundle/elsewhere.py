"""Which bundles other programs can run, told before a model is loaded: by their manifest alone. Knows no tensors."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, Literal

from adaptune.bundle.manifest import Manifest
from adaptune.core.errors import MissingExtra, Unsupported
from adaptune.core.method import Method
from adaptune.methods.lora import Lora
from adaptune.models.families import FAMILIES

To = Literal["peft", "vllm", "onnx"]
"""What a bundle is written for."""

Reads = Literal["pooled", "marked", "tokens", "embedded"]
"""What a graph has above the trunk's states: a layer over a pooled vector, over marked tokens and that, over every
token, or the pooled vector itself."""

OF_HEAD: Final[dict[str, Reads]] = {
    "classify": "pooled",
    "as_transformers": "pooled",
    "multilabel": "pooled",
    "regress": "pooled",
    "rerank": "pooled",
    "relate": "marked",
    "tag": "tokens",
    "span": "tokens",
    "similarity": "embedded",
    "retrieve": "embedded",
}
"""Heads that become a part of an ONNX graph."""

LIBRARIES = ("onnx", "onnxscript", "onnxruntime")

VLLM_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` may be, but for 1."""
VLLM_FAMILIES: Final = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
"""Of those that adaptune trains, those whose class in vLLM takes LoRA: GPT-2's does not."""


def check_onnx(manifest: Manifest) -> None:
    """Refuse what cannot become one graph. Raises Unsupported, MissingExtra."""
    head, method, family = manifest.make_head(), manifest.make_method(), manifest.base.family
    if head.name not in OF_HEAD:
        raise Unsupported(
            f"head {head.name!r} is none of those that become part of one ONNX graph ({', '.join(sorted(OF_HEAD))}); "
            f"serve the bundle with adaptune serve{', or write a decoder with --to vllm' if head.learns_texts else ''}"
        )
    if head.own_tokens:
        raise Unsupported(
            f"head {head.name!r} reads tokens of its own ({', '.join(head.own_tokens)}), which no vocabulary has; "
            "train it with head.markers=signs, or serve the bundle with adaptune serve"
        )
    if type(method).merged is Method.merged:
        raise Unsupported(
            f"method {method.name!r} cannot be merged into the base model, and a graph holds the merged one; train "
            "with lora, or serve the bundle with adaptune serve"
        )
    if len(FAMILIES[family].stacks) > 1:
        raise Unsupported(
            f"the base {manifest.base.name!r} ({family}) has an encoder and a decoder, and a graph has one stack; "
            "train the bundle on an encoder, or serve it with adaptune serve"
        )
    for library in LIBRARIES:
        if find_spec(library) is None:
            raise MissingExtra(library, "onnx", "writing an ONNX graph")


def check_vllm(manifest: Manifest) -> int:
    """The `--max-lora-rank` that a bundle needs; refuses what vLLM does not load. Raises Unsupported."""
    head, method, base = manifest.make_head(), manifest.make_method(), manifest.base
    if base.family not in VLLM_FAMILIES:
        is_decoder = len(FAMILIES[base.family].stacks) == 1 and FAMILIES[base.family].main.causal
        raise Unsupported(
            f"vLLM takes no LoRA on the base {base.name!r} (family {base.family}"
            f"{'' if is_decoder else ', no decoder'}), but on {', '.join(VLLM_FAMILIES)}; serve the bundle with "
            "adaptune serve, or write it with --to onnx"
        )
    if base.gguf_file is not None or base.name.endswith(".gguf"):
        raise Unsupported(
            f"the base {base.name!r} is a GGUF file, whose weights vLLM reads by names of their own; give vLLM the "
            "model that adaptune merge writes"
        )
    if not head.learns_texts:
        raise Unsupported(
            f"head {head.name!r} is a layer of its own, and vLLM has only the base's output layer over words; serve "
            "the bundle with adaptune serve, or write it with --to onnx"
        )
    if not isinstance(method, Lora):
        raise Unsupported(
            f"vLLM loads LoRA alone, and the bundle's method is {method.name!r}; train with lora, or give vLLM the "
            "model that adaptune merge writes"
        )
    if method.dora:
        raise Unsupported(
            "vLLM does not load DoRA, and the bundle has method.dora; train with method.dora=false, or give vLLM the "
            "model that adaptune merge writes"
        )
    rank = 2 * method.rank if method.initialisation in ("pissa", "olora") else method.rank
    fitting = [most for most in VLLM_RANKS if most >= rank]
    if not fitting:
        raise Unsupported(
            f"the adapter has rank {rank}, and vLLM loads up to {VLLM_RANKS[-1]}; train with a lower method.rank, or "
            "give vLLM the model that adaptune merge writes"
        )
    return fitting[0]
