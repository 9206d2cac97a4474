"""Several bundles of one base become one: weighted average, task arithmetic, TIES, DARE. Knows no recipe.

What is combined are updates of the base's weights, never factors: the average of two products B A is not the product of
the averages. Averages and sums of low-rank updates are exact, with a rank of up to the sum of theirs; TIES and DARE
give updates of full rank, whose best approximation of that rank is kept (by singular value decomposition).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from peft.utils import merge_utils
from torch import Tensor

from adaptune.bundle.check import bundle_name
from adaptune.bundle.load import Bundle, load_bundle
from adaptune.bundle.manifest import Ancestor, Manifest, read_manifest
from adaptune.bundle.save import check_free, save_bundle
from adaptune.core.calibration import Calibrated
from adaptune.core.errors import BundleError, Unsupported
from adaptune.core.log import warn
from adaptune.core.method import Method, State
from adaptune.core.types import Example, Scores
from adaptune.methods import METHODS
from adaptune.methods._peft import OnPeft, targets_of
from adaptune.methods._stacked import Change
from adaptune.models.assembly import Assembly
from adaptune.models.share import share

How = Literal["average", "arithmetic", "ties", "dare"]
Merge = Callable[[list[Tensor]], Tensor]
"""Updates of one tensor -> the combined update."""


@dataclass(frozen=True, slots=True)
class Combined:
    """A bundle made of others, and how all of them do on the rows given."""

    bundle: Path
    scores: dict[str, Scores]
    """Of the combined one, then of each parent; empty without rows."""


def combine(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    how: How,
    weights: Sequence[float] = (),
    density: float | None = None,
    head: str | Path | None = None,
    examples: Sequence[Example] = (),
    model: str | None = None,
    seed: int = 1,
) -> Combined:
    """Write the combination of two or more bundles of one base and one method.

    `weights`: one a bundle, else equal ones. `density`: the share of each update that ties and dare keep, else 0.2 and
    0.5. `head`: the bundle whose task, head and labels the result has; else all have the same and their heads are
    averaged. Raises BundleError, Unsupported.
    """
    check_free(Path(out))
    manifests = [read_manifest(Path(folder)) for folder in folders]
    names = [bundle_name(Path(folder)) for folder in folders]
    _check(manifests, names, weights, density)
    kept = None if head is None else _place(head, folders)
    if kept is None:
        _check_heads(manifests, names)
    first = load_bundle(folders[0], model=model)
    bundles = [first, *(load_bundle(folder, backbone=first.assembly.backbone) for folder in folders[1:])]
    shares = list(weights) or [1 / len(bundles)] * len(bundles)
    combined = _combined(bundles, _merge_of(how, shares, density), kept, shares, seed)
    combined.calibrated = _calibrated(bundles, names, kept)
    chosen = bundles[kept or 0]
    scores = _scored(chosen, combined, bundles, examples) if examples else {}
    save_bundle(
        Path(out),
        combined,
        chosen.task,
        columns=chosen.manifest.columns,
        max_length=min(manifest.preprocessing.max_length for manifest in manifests),
        scores={"data": scores["combined"]} if scores else {},
        gguf_file=chosen.manifest.base.gguf_file,
        lineage=[Ancestor(name=name, weights=one.weights) for name, one in zip(names, manifests, strict=True)],
    )
    return Combined(Path(out), scores)


def _calibrated(bundles: Sequence[Bundle], names: Sequence[str], kept: int | None) -> Calibrated | None:
    """That of the bundle whose head the result has, without what it was measured to be worth; averages have none."""
    if kept is None:
        lost = [name for name, bundle in zip(names, bundles, strict=True) if bundle.assembly.calibrated is not None]
        if lost:
            warn(
                f"an average of heads has no calibration, and that of {', '.join(lost)} is not kept: the result "
                "abstains from nothing and tells no scope; say --head BUNDLE to keep a head with its calibration"
            )
        return None
    found = bundles[kept].assembly.calibrated
    if found is None:
        return None
    warn(
        f"temperature and thresholds are those of bundle {names[kept]!r}, which were fitted with its own weights below "
        "its head and not with the combined ones: see with --data what they are worth now"
    )
    return found._replace(by=found.by.model_copy(update={"measured": {}}))


def _scored(
    chosen: Bundle, combined: Assembly, bundles: Sequence[Bundle], examples: Sequence[Example]
) -> dict[str, Scores]:
    """Of the combined one, then of each parent."""
    scores = {"combined": Bundle("combined", chosen.manifest, combined).evaluate(examples)}
    for place, bundle in enumerate(bundles, start=1):
        name = bundle.name if bundle.name not in scores else f"{bundle.name} ({place})"
        scores[name] = bundle.evaluate(examples)
    return scores


def merge_updates(updates: list[Tensor], how: How, weights: Sequence[float], density: float) -> Tensor:
    """Updates of one tensor -> the combined one.

    average: sum of w_i t_i with weights that add up to one (Wortsman et al. 2022, Model soups). arithmetic: sum of
    w_i t_i (Ilharco et al. 2023). ties (Yadav et al. 2023): trim to the largest `density`, elect signs, mean over
    those of the elected sign, the weights' mean taken as one. dare (Yu et al. 2024): drop all but `density` at random,
    rescale by 1 / density, sum of w_i t_i. Trimming is done tensor by tensor.
    """
    given = torch.tensor(weights, dtype=torch.float32)
    if how == "average":
        given = given / given.sum()
    if how in ("average", "arithmetic"):
        return merge_utils.task_arithmetic(updates, given)  # type: ignore[no-any-return]  # peft has no types
    if how == "dare":
        return merge_utils.dare_linear(updates, given, density)  # type: ignore[no-any-return]
    return merge_utils.ties(updates, given / given.mean(), density)  # type: ignore[no-any-return]


def _merge_of(how: How, weights: Sequence[float], density: float | None) -> Merge:
    kept = density if density is not None else {"ties": 0.2, "dare": 0.5}.get(how, 1.0)
    return lambda updates: merge_updates(updates, how, weights, kept)


@torch.no_grad()
def _combined(
    bundles: Sequence[Bundle], merge: Merge, kept: int | None, shares: Sequence[float], seed: int
) -> Assembly:
    """The fresh assembly with every combined tensor in it."""
    chosen = bundles[kept or 0]
    backbone, labels = chosen.assembly.backbone, chosen.assembly.labels
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        method, state = _combined_method(bundles, merge)
    assembly = Assembly(backbone, method, chosen.assembly.head, labels, seed=seed, approach=chosen.assembly.approach)
    assembly.method.load(assembly.trunk, state)
    heads = [bundle.assembly.layer.state_dict() for bundle in bundles]
    layer = (
        heads[kept]
        if kept is not None
        else {name: merge_updates([one[name] for one in heads], "average", shares, 1.0) for name in heads[0]}
    )
    assembly.layer.load_state_dict(layer)
    return assembly.eval()


def _combined_method(bundles: Sequence[Bundle], merge: Merge) -> tuple[Method, State]:
    """The method of the result and its state. Raises Unsupported for updates that do not add."""
    method, trunk = bundles[0].assembly.method, bundles[0].assembly.backbone.trunk
    states = [bundle.assembly.method.state(bundle.assembly.trunk) for bundle in bundles]
    if isinstance(method, OnPeft):
        changes = [
            bundle.assembly.method.changes(share(trunk), state)
            for bundle, state in zip(bundles, states, strict=True)
            if isinstance(bundle.assembly.method, OnPeft)
        ]
        if all(change.down is not None and change.gain is None for one in changes for change in one.values()):
            return _low_rank(bundles[0], changes, merge)
    if not method.touches_base and any(states):
        raise Unsupported(
            f"bundles of method {method.name!r} cannot be combined: what they learned is no sum of updates "
            "to the base's weights; combine bundles of lora (without dora), adalora, vera, loha, lokr, "
            "full, top_layers, bitfit, norms or head_only"
        )
    if any(state.keys() != states[0].keys() for state in states):
        raise Unsupported("the bundles train other weights of the base; combine bundles with equal settings")
    known = dict(trunk.named_parameters(remove_duplicate=False))
    base = {name: known[name].detach().float() for name in states[0]}
    merged = {name: base[name] + merge([state[name].float() - base[name] for state in states]) for name in base}
    return method, merged


def _low_rank(bundle: Bundle, changes: Sequence[dict[str, Change]], merge: Merge) -> tuple[Method, State]:
    """Updates U D of every matrix as one of LoRA with scale one; absent matrices have the update zero."""
    backbone = bundle.assembly.backbone
    paths = list(dict.fromkeys(path for one in changes for path in one))
    pairs = {path: _pair([one.get(path) for one in changes], merge) for path in paths}
    rank = max(len(down) for down, _ in pairs.values())
    targets, skip = targets_of(share(backbone.trunk), backbone.roles, paths)
    method = METHODS.make({"name": "lora", "rank": rank, "alpha": rank, "targets": targets, "skip_layers": skip})
    state = {}
    for path, (down, up) in pairs.items():
        missing = rank - len(down)
        state[f"{path}.lora_A.default.weight"] = torch.nn.functional.pad(down, (0, 0, 0, missing))
        state[f"{path}.lora_B.default.weight"] = torch.nn.functional.pad(up, (0, missing))
    return method, state


def _pair(changes: Sequence[Change | None], merge: Merge) -> tuple[Tensor, Tensor]:
    """(R, in) and (out, R) of the combined update of one matrix."""
    there = next(change for change in changes if change is not None)
    assert there.down is not None and there.up is not None
    nothing = torch.zeros(there.up.shape[0], there.down.shape[1])
    downs = [change.down.float() for change in changes if change is not None and change.down is not None]
    rank = min(sum(map(len, downs)), *nothing.shape)
    dense = [
        nothing if one is None or one.down is None or one.up is None else one.up.float() @ one.down.float()
        for one in changes
    ]
    u, s, vh = torch.linalg.svd(merge(dense), full_matrices=False)
    root = s[:rank].sqrt()
    return root[:, None] * vh[:rank], u[:, :rank] * root


def _check(
    manifests: Sequence[Manifest], names: Sequence[str], weights: Sequence[float], density: float | None
) -> None:
    """Refuse fewer than two bundles, other bases, other methods and numbers out of range."""
    if len(manifests) < 2:
        raise BundleError(f"there is {len(manifests)} bundle to combine, expected two or more")
    for manifest, name in zip(manifests[1:], names[1:], strict=True):
        if manifest.base.fingerprint != manifests[0].base.fingerprint:
            raise BundleError(
                f"bundle {name!r} stands on {manifest.base.name!r} (weights {manifest.base.fingerprint[:12]}…), "
                f"{names[0]!r} on {manifests[0].base.name!r} (weights {manifests[0].base.fingerprint[:12]}…); only "
                "bundles of one base can be combined"
            )
        if manifest.method["name"] != manifests[0].method["name"]:
            raise Unsupported(
                f"bundle {name!r} was made with method {manifest.method['name']!r}, {names[0]!r} with "
                f"{manifests[0].method['name']!r}; only bundles of one method can be combined"
            )
    if weights and (len(weights) != len(manifests) or sum(weights) <= 0):
        raise BundleError(f"--weights is {tuple(weights)}, expected {len(manifests)} numbers with a sum above zero")
    if density is not None and not 0 < density <= 1:
        raise BundleError(f"--density is {density:g}, expected a share above 0 and at most 1")


def _check_heads(manifests: Sequence[Manifest], names: Sequence[str]) -> None:
    """Heads are averaged where task, head and labels are equal. Raises Unsupported."""
    one = manifests[0].part
    for manifest, name in zip(manifests[1:], names[1:], strict=True):
        for what, mine, theirs in (
            ("task", one.task["name"], manifest.part.task["name"]),
            ("head", one.head["name"], manifest.part.head["name"]),
            ("tokens of its own", manifests[0].make_head().own_tokens, manifest.make_head().own_tokens),
            ("labels", one.labels, manifest.part.labels),
        ):
            if mine != theirs:
                raise Unsupported(
                    f"bundle {name!r} has the {what} {theirs!r}, {names[0]!r} has {mine!r}, and such heads have no "
                    "average; say whose head the result has: --head BUNDLE"
                )


def _place(head: str | Path, folders: Sequence[str | Path]) -> int:
    places = [Path(folder).absolute() for folder in folders]
    if Path(head).absolute() not in places:
        raise BundleError(f"--head is {str(head)!r}, which is none of the bundles to combine")
    return places.index(Path(head).absolute())
