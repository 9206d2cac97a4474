"""Training that goes on from an earlier bundle: its weights, its labels, its lineage. Knows no recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from adaptune.bundle.answers import encoded_for
from adaptune.bundle.check import bundle_name
from adaptune.bundle.golden import golden_examples
from adaptune.bundle.load import Bundle, load_bundle, load_trunk
from adaptune.bundle.manifest import Ancestor, Manifest, Section, read_manifest
from adaptune.core.catalogue import section
from adaptune.core.errors import Unsupported
from adaptune.core.method import Method
from adaptune.core.task import Task
from adaptune.core.types import Labels
from adaptune.data.batches import collate
from adaptune.models.assembly import Assembly


def continued_labels(folder: str | Path, task: Task, labels: Labels) -> Labels:
    """The labels of a run that starts from a bundle: the bundle's in their order, then those that are new.

    A bundle of another task, or of several, lends its trunk alone, and the labels stay as they are.
    """
    manifest = read_manifest(Path(folder))
    if not _same_task(manifest, task):
        return labels
    names = manifest.labels.extended(labels).names
    counts = dict(zip(labels.names, labels.counts, strict=True)) if labels.counts else {}
    return Labels(names, tuple(counts.get(name, 0) for name in names) if counts else ())


def continue_from(assembly: Assembly, task: Task, folder: str | Path) -> tuple[Ancestor, ...]:
    """Put a bundle's weights into a fresh assembly and return the lineage of what it becomes.

    The head goes along where the task and the head are the bundle's own. Raises BundleError for a damaged bundle or
    another base, Unsupported for a method with which the bundle's weights would mean something else.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    _check_method(manifest, assembly.method, bundle_name(folder))
    if manifest.names or (manifest.base.words and assembly.backbone.vocabulary is None):
        bundle = load_trunk(folder, assembly)  # several heads, or one that needs words
    else:
        bundle = load_bundle(folder, backbone=assembly.backbone)
    _continue_method(bundle, assembly)
    if _same_task(manifest, task) and bundle.assembly.head.name == assembly.head.name:
        _check_own_tokens(bundle, assembly)
        old = bundle.assembly.layer.state_dict()
        assembly.head.grown(assembly.layer, old, bundle.manifest.labels, assembly.labels)
    return (*bundle.manifest.lineage, Ancestor(name=bundle.name, weights=bundle.manifest.weights))


def _same_task(manifest: Manifest, task: Task) -> bool:
    """A bundle of several tasks lends its trunk alone: none of its heads is the one that is meant."""
    return not manifest.names and manifest.part.task["name"] == task.name


def _check_method(manifest: Manifest, method: Method, name: str) -> None:
    if manifest.method["name"] != method.name:
        raise Unsupported(
            f"method.start names the bundle {name!r}, made with the method {manifest.method['name']!r}, "
            f"and this run's is {method.name!r}; use the same method, or leave out method.start"
        )


def _check_own_tokens(bundle: Bundle, assembly: Assembly) -> None:
    """Refuse to drop tokens that the bundle learned to read; a head may begin to have some."""
    lost = bundle.assembly.head.own_tokens
    if lost and not assembly.head.own_tokens:
        differences = _differences(bundle.manifest.part.head, section(assembly.head))
        raise Unsupported(
            f"method.start names the bundle {bundle.name!r}, which learned to read {', '.join(lost)}, and this run's "
            f"head has no such tokens ({differences}); use the bundle's settings of the head, or leave out method.start"
        )


def _continue_method(bundle: Bundle, assembly: Assembly) -> None:
    """Load the method's weights; refuses settings with which they do not fit, or would compute something else."""
    old, new = bundle.assembly, assembly
    state = old.method.state(old.trunk)
    if _shapes(state) == _shapes(new.method.state(new.trunk)):
        new.method.load(new.trunk, state)
        if _same_hidden(bundle, assembly):
            return
    differences = _differences(bundle.manifest.method, section(new.method))
    raise Unsupported(
        f"method.start names the bundle {bundle.name!r}, whose weights do not fit this run's method ({differences}); "
        "use the bundle's settings, or leave out method.start"
    )


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


@torch.inference_mode()
def _same_hidden(bundle: Bundle, assembly: Assembly) -> bool:
    """Whether both trunks compute the same: a setting may scale equal weights otherwise. Heads are not asked."""
    examples = golden_examples(bundle.task, bundle.manifest.golden)
    if not examples:  # nothing to compare by: only equal settings are sure to compute the same
        return not _differences(bundle.manifest.method, section(assembly.method))
    encoded = encoded_for(bundle.assembly, examples, max_length=bundle.manifest.preprocessing.max_length)
    backbone = assembly.backbone
    device = next(assembly.parameters()).device
    batch = collate(encoded, backbone.tokenizer.pad_token_id or 0).to(device)
    batch = replace(batch, sequence_of=None, token_of=None, items=None)  # where a head would put tokens of its own
    training = assembly.training
    hidden = assembly.eval().hidden(batch)
    assembly.train(training)
    return torch.allclose(hidden, bundle.assembly.hidden(batch), rtol=1e-4, atol=1e-5)


def _differences(old: Section, new: Section) -> str:
    """`rank is 16 here and 8 in the bundle`."""
    names = [name for name in new if name != "start" and new[name] != old.get(name)]
    return ", ".join(f"{name} is {new[name]!r} here and {old.get(name)!r} in the bundle" for name in names)
