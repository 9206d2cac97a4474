"""A tiny model, and bundles of many kinds on it. Random weights: they answer, and mean nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from adaptune.bundle.load import load_bundle
from adaptune.bundle.save import save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.tasks import TASKS

WORDS = "the a is and late game bank street red box never again john will send it to her house by train quick".split()
LABELS = {
    "classify": ("bad", "good", "neither"),
    "tag": ("O", "B-place", "I-place"),
    "multilabel": ("late", "red", "small"),
}
KINDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("reviews", "classify", {"name": "lora", "rank": 2}),
    ("deep", "classify", {"name": "lora", "rank": 5, "targets": "all"}),
    ("scaled", "classify", {"name": "ia3"}),
    ("towns", "tag", {"name": "lora", "rank": 3}),
    ("places", "tag", {"name": "adapter"}),
    ("probe", "classify", {"name": "head_only"}),
    ("prompted", "classify", {"name": "prompt", "length": 3}),
    ("stars", "regress", {"name": "ia3"}),
    ("topics", "multilabel", {"name": "adapter"}),
    ("normed", "tag", {"name": "norms"}),
)
LIVE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("live-classify", "classify", {"name": "lora", "rank": 4}),
    ("live-tag", "tag", {"name": "adapter"}),
    ("live-prompted", "classify", {"name": "prompt", "length": 4}),
)
VERSIONS = 3
"""Of each live bundle, below `versions/NAME-NUMBER`; their labels end in the number."""


def tiny_bert(folder: Path) -> Path:
    """A BERT of 2 layers and hidden size 32 that knows the words above."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    ids = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **special).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(ids), max_position_embeddings=128, **sizes)).eval().save_pretrained(folder)
    return folder


def fill(root: Path, base: Backbone) -> Path:
    """A folder with a bundle of every kind, and the versions of the live ones."""
    for seed, (name, task, method) in enumerate(KINDS):
        make(root / name, base, task, method, seed)
    for seed, (name, task, method) in enumerate(LIVE):
        for number in range(1, VERSIONS + 1):
            make(root / "versions" / f"{name}-{number}", base, task, method, 100 * number + seed, suffix=f"-{number}")
    return root


def versions() -> list[str]:
    """The names under which every version of the live bundles is served, too."""
    return [f"{name}-{number}" for name, _, _ in LIVE for number in range(1, VERSIONS + 1)]


def make(folder: Path, base: Backbone, task: str, method: dict[str, Any], seed: int, *, suffix: str = "") -> Path:
    """One bundle, away from its start as after training; every label but `O` ends in the suffix."""
    if task == "regress":
        labels = Labels(("number",), (48,), (2.0, 1.5))
    else:
        labels = Labels(tuple(name if name == "O" else f"{name}{suffix}" for name in LABELS[task]))
    assembly = Assembly(base, METHODS.make(method), HEADS.make({"name": task}), labels, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in assembly.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    folder.parent.mkdir(parents=True, exist_ok=True)
    save_bundle(folder, assembly.eval(), TASKS.make({"name": task}), columns={}, max_length=64, scores={})
    return folder


def texts(seed: int, count: int) -> list[str]:
    """Of 1 to 12 words."""
    choose = random.Random(seed)
    return [" ".join(choose.choices(WORDS, k=choose.randint(1, 12))) for _ in range(count)]


def offline(folder: Path, base: Backbone, inputs: Sequence[str]) -> list[dict[str, Any]]:
    """What a bundle says alone, without a server."""
    return load_bundle(folder, backbone=base).predict(inputs)


def same(found: Any, expected: Any) -> bool:
    """As JSON, without what is null; numbers within 1e-5."""
    if isinstance(expected, dict):
        found = {key: value for key, value in found.items() if value is not None}
        return found.keys() == expected.keys() and all(same(found[key], value) for key, value in expected.items())
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return abs(found - expected) <= 1e-5 * max(1.0, abs(expected))
    return bool(found == expected)
