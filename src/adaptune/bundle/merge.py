"""A bundle and its base become one plain transformers folder. Knows no training."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from adaptune.bundle.answers import answer
from adaptune.bundle.golden import check_golden, golden_examples
from adaptune.bundle.load import Bundle
from adaptune.bundle.loader import LOADER, loader_of
from adaptune.bundle.peft_folder import check_plain
from adaptune.bundle.save import check_free
from adaptune.bundle.weights import write_tensors
from adaptune.core.errors import BundleError
from adaptune.core.files import replacing_folder
from adaptune.core.head import LogitHead
from adaptune.core.lazy import shell, transformers
from adaptune.core.log import notice
from adaptune.methods.head_only import HeadOnly
from adaptune.models.assembly import Assembly
from adaptune.models.load import quiet
from adaptune.models.quantise import as_family, dequantised
from adaptune.models.share import share

HEAD = "head.safetensors"


@dataclass(frozen=True, slots=True)
class Merged:
    """A folder in transformers layout."""

    folder: Path
    auto: str
    """The class of transformers that loads it, `AutoModelForTokenClassification`."""
    loader: Path | None
    """The file that loads it with its head, where no class of transformers has such a head."""

    def __str__(self) -> str:
        if self.loader is None:
            return f"{self.folder} loads with transformers.{self.auto}, head included"
        return (
            f"{self.folder} loads with transformers.{self.auto}; no class there has this head: {self.loader} loads both"
        )


def merge(bundle: Bundle, out: str | Path) -> Merged:
    """Write base, method and head as one model with equal outputs, tokenizer included; the shared base stays as it is.

    Raises Unsupported for a method that cannot be merged, BundleError where the folder holds other files or the merged
    model computes something else.
    """
    out = Path(out).absolute()
    check_free(out)
    assembly = bundle.assembly
    check_plain(assembly)
    trunk: Any = as_family(assembly.method.merged(dequantised(share(assembly.trunk))))
    layer = calibrated_layer(assembly).to(trunk.dtype)
    tell_thresholds(assembly)
    whole = assembly.head.whole(layer, trunk, assembly.labels)
    # What cannot be merged is refused before anything is written.
    loader = loader_of(bundle.manifest, assembly.head, layer) if whole is None else None
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(out) as new, quiet():
        if whole is not None:
            whole.model.save_pretrained(new)  # type: ignore[operator]  # a transformers model
        if loader is not None:
            _write_trunk(bundle, trunk, new)
            write_tensors(layer.state_dict(), new / HEAD)
            (new / LOADER).write_text(loader, encoding="utf-8")
        assembly.backbone.tokenizer.save_pretrained(new)
        auto = "AutoModel" if whole is None else whole.auto
        _check_same(bundle, auto, new)
    return Merged(out, auto, None if loader is None else out / LOADER)


def calibrated_layer(assembly: Assembly) -> nn.Module:
    """A copy of the head's layer whose logits are those of the calibrated answers."""
    layer = deepcopy(assembly.layer)
    if assembly.calibrated is not None and isinstance(assembly.head, LogitHead):
        assembly.head.divide(layer, assembly.calibrated.by.temperature)
    return layer


def tell_thresholds(assembly: Assembly) -> None:
    """Say what a plain model leaves behind."""
    by = None if assembly.calibrated is None else assembly.calibrated.by
    if by is not None and (by.abstain is not None or by.scope is not None):
        notice("the plain model gives calibrated logits, and knows no thresholds: it abstains from nothing")


def _write_trunk(bundle: Bundle, trunk: Any, folder: Path) -> None:
    """The trunk for AutoModel, with the labels in its config and the pooling layer that it was loaded without."""
    labels = bundle.assembly.labels
    trunk.config.id2label = dict(enumerate(labels.names))
    trunk.config.label2id = {name: index for index, name in enumerate(labels.names)}
    backbone = bundle.assembly.backbone
    pooler = {f"{backbone.roles.pooler}.{name}": tensor for name, tensor in backbone.pooler.items()}
    trunk.save_pretrained(folder, state_dict=dict(trunk.state_dict()) | pooler)


def _check_same(bundle: Bundle, auto: str, folder: Path) -> None:
    """Refuse a folder whose model gives other answers to the golden examples than the bundle. Raises BundleError."""
    own = bundle.assembly
    parameter = next(own.backbone.trunk.parameters())
    model: Any = getattr(transformers, auto).from_pretrained(folder, dtype=parameter.dtype).to(parameter.device).eval()
    words = shell.Words(model) if own.head.reads_words else None
    backbone = replace(own.backbone, whole=model, trunk=shell.trunk_of(model), vocabulary=words, weights="float")
    merged = Assembly(backbone, HeadOnly(), own.head, own.labels, seed=0, approach=own.approach)
    merged.layer.load_state_dict(own.layer.state_dict())
    merged.calibrated = own.calibrated
    examples = golden_examples(bundle.task, bundle.manifest.golden)
    answers = answer(merged, examples, max_length=bundle.manifest.preprocessing.max_length)
    try:
        check_golden(bundle.manifest.golden, answers, exact=bundle.exact, by=own.calibrated and own.calibrated.by)
    except BundleError as error:
        raise BundleError(f"the merged model computes something else than bundle {bundle.name!r}: {error}") from error
