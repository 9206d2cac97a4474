"""An adapter that peft made alone becomes a bundle: checked against base and recipe, measured on the recipe's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptune.approaches.finetune import Finetune
from adaptune.bundle.peft_head import classes_of, head_of, known_labels, load_head
from adaptune.bundle.peft_import import Adopted, adopt, check_same_base, read_peft
from adaptune.bundle.save import check_free, save_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.catalogue import section
from adaptune.core.config import Part
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head
from adaptune.core.log import notice, warn
from adaptune.core.types import Labels, Scores
from adaptune.data.stored import answered
from adaptune.engine.warm_start import warm_start
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.models.load import load_backbone
from adaptune.prepare import Prepared, prepare
from adaptune.recipe import Recipe
from adaptune.recipe.values import DEFAULT_METHOD
from adaptune.run import Kitchen, answered_well, kitchen_of


@dataclass(frozen=True, slots=True)
class Imported:
    """A bundle made of a PEFT folder."""

    bundle: Path
    scores: Mapping[str, Scores]
    """Of the recipe's validation and test rows."""


def import_peft(
    folder: str | Path, recipe: Recipe, *, out: str | Path, labels: Sequence[str] = (), same_base: bool = False
) -> Imported:
    """Make a bundle of the PEFT folder that stands on the recipe's model and learned the recipe's task.

    A classifier in the folder becomes the head; where there is none, the recipe's head is fitted to its optimum on the
    adapter's features of the recipe's training rows. `labels`: the names of the classifier's rows. Raises
    BundleError, Unsupported and what `prepare` and `load_backbone` raise.
    """
    check_free(Path(out))
    _check_unsaid("approach", recipe.approach, Finetune(), Finetune())
    found = read_peft(Path(folder))
    if not same_base:
        check_same_base(found, recipe.model.name)
    prepared = prepare(recipe)
    backbone = load_backbone(recipe.model, words=recipe.head.reads_words)
    adopted = adopt(found, backbone)
    _check_unsaid("method", recipe.method, METHODS.get(DEFAULT_METHOD)(), adopted.method)
    head = head_of(found, adopted, backbone)
    kitchen = _put_together(adopted, head, recipe, prepared, backbone=backbone, given=tuple(labels))
    scores = {
        part: kitchen.score(part, answered_well(kitchen, part)) for part in ("valid", "test") if kitchen.examples(part)
    }
    save_bundle(
        Path(out),
        kitchen.assembly,
        recipe.task,
        columns=prepared.columns,
        max_length=kitchen.assembly.max_length,
        scores=scores,
        config=recipe.bundle,
        gguf_file=recipe.model.gguf_file,
    )
    return Imported(Path(out), scores)


def _put_together(
    adopted: Adopted,
    head: Head | None,
    recipe: Recipe,
    prepared: Prepared,
    *,
    backbone: Backbone,
    given: tuple[str, ...],
) -> Kitchen:
    """The assembly with every weight in its place, and the recipe's rows as it reads them."""
    if head is None:
        if given:
            raise Unsupported("--labels names the rows of a classifier, and this adapter holds none; leave it out")
        labels = recipe.task.labels(answered(prepared.splits.train))
        assembly = Assembly(backbone, adopted.method, recipe.head, labels, seed=recipe.seed)
    else:
        if recipe.task.name != (task := "tag" if head.name == "tag" else "classify"):
            raise Unsupported(
                f"the adapter's classifier is one for task {task!r}, and the recipe's task is {recipe.task.name!r}; "
                f"write task: {task}, or train the head with adaptune"
            )
        _check_unsaid("head", recipe.head, HEADS.get(recipe.task.default_head)(), head)
        labels = _labels(head, adopted, backbone, given, recipe.task.labels(answered(prepared.splits.train)))
        assembly = Assembly(backbone, adopted.method, head, labels, seed=recipe.seed)
        load_head(assembly.head, assembly.layer, adopted, backbone, labels)
    assembly.method.load(assembly.trunk, adopted.state)
    assembly.eval()
    kitchen = kitchen_of(recipe, prepared, assembly)
    if head is None:
        _fit(kitchen)
    return kitchen


def _fit(kitchen: Kitchen) -> None:
    """The recipe's head at its optimum on the features of the adapter. Raises Unsupported for a head without one."""
    head = kitchen.assembly.head
    if head.learns_texts:
        return  # the model's own output layer, which is there
    fitted = warm_start(
        kitchen.assembly,
        kitchen.in_order("train"),
        kitchen.in_order("valid"),
        evaluate=kitchen.watch,
        metric=kitchen.metric,
    )
    if fitted is None:
        raise Unsupported(
            f"the adapter holds no classifier, and head {head.name!r} cannot be fitted without training; "
            f"use head {kitchen.recipe.task.default_head!r}"
        )
    notice(f"the adapter holds no classifier; head {head.name!r} was fitted to the recipe's training rows")


def _labels(head: Head, adopted: Adopted, backbone: Backbone, given: tuple[str, ...], in_rows: Labels) -> Labels:
    """The names of the classifier's rows. Raises Unsupported where they are not those of the data."""
    classes = classes_of(head, adopted, backbone)
    names = known_labels(given, backbone, classes)
    if names is None:
        if len(in_rows) != classes:
            raise Unsupported(
                f"the adapter's classifier has {classes} rows, and the recipe's training rows have {len(in_rows)} "
                f"labels ({', '.join(in_rows.names[:8])}); name them in the classifier's order: --labels a,b,c"
            )
        warn(
            f"peft records no labels; the classifier's rows are taken for {', '.join(in_rows.names)} in this order: "
            "look at the scores, or name them with --labels"
        )
        names = in_rows.names
    labels = Labels(names)
    if strange := [name for name in in_rows.names if name not in labels]:
        raise Unsupported(
            f"the training rows have the label {strange[0]!r}, which the adapter's classifier does not know (it knows: "
            f"{', '.join(names[:20])}); name its rows with --labels, or correct the data"
        )
    return labels


def _check_unsaid(kind: str, said: Part, default: Part, imported: Part) -> None:
    """Refuse a part of the recipe that would be ignored: the folder decides. Raises Unsupported."""
    if said in (default, imported):
        return
    raise Unsupported(
        f"the recipe's {kind} is {section(said)}, and the adapter's is {section(imported)}; "
        f"leave {kind} out of the recipe: it follows from the adapter"
    )
