"""How a bundle came about and what it is fit for, as sections of its model card. Knows no tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import yaml

from adaptune.bundle.config import BundleConfig
from adaptune.bundle.manifest import Learned, Manifest, Measured

WEAKEST = 3
"""Classes that are named as limits."""
SURE = 0.8
"""F1 from which a class is no limit."""


class Made(NamedTuple):
    """What a bundle was made by and from."""

    recipe: str
    """As YAML, resolved."""
    rows: Mapping[str, int] = {}
    """How many there are of each part; of several tasks by `TASK, PART`."""
    interval: str = ""
    """`accuracy 0.9123 (95% interval 0.8950 to 0.9300)`, on test rows."""
    baselines: Mapping[str, float] = {}
    """The same metric of plain models."""


def use_of(part: Learned, config: BundleConfig, what: str) -> str:
    """Intended use, in two sentences; `what`: its task in words."""
    languages = f" in {', '.join(config.language)}" if config.language else ""
    into = f", with the {len(part.labels)} labels below" if part.labels else ""
    return (
        f"For {what} on texts{languages} like those that it was trained on{into}. It is not meant for texts of another "
        "kind or language, nor to decide alone about people: keep a person who can look at its errors."
    )


def limits_of(manifest: Manifest, made: Made | None) -> str:
    """What it cannot do, as a list."""
    return "\n".join(f"- {line}" for line in _limits(manifest, made))


def _limits(manifest: Manifest, made: Made | None) -> Iterator[str]:
    part, test = manifest.part, manifest.scores.get("test")
    if part.labels and (part.calibration is None or part.calibration.scope is None):
        yield "Texts that belong to none of its labels are not told: they get one of them, too."
    if part.labels and part.calibration is None:
        yield "Its probabilities are not calibrated."
    yield from _weakest(test)
    if test is None:
        yield "No test rows were scored: how good it is on new texts is not known."
    elif made is not None and (count := made.rows.get("test")):
        yield f"Scores are of {count:,} test rows; texts that differ from these are answered less well."
    yield (
        f"One pass reads {manifest.preprocessing.max_length} tokens; of longer texts the end is cut, or they are read "
        "in windows, as the task says."
    )
    yield "What its base model learned from its own training texts, biases included, it keeps."


def _weakest(test: Measured | None) -> Iterator[str]:
    found = [(row["f1"], name) for name, row in (test.per_class if test else {}).items() if row.get("support")]
    weak = [f"`{name}` ({score:.2f})" for score, name in sorted(found)[:WEAKEST] if score < SURE]
    if weak:
        yield f"Weakest by F1 on test rows: {', '.join(weak)}."


def data_of(made: Made | None, config: BundleConfig) -> str:
    """The data section, or nothing where nothing is known of them."""
    lines = [f"Data set: {config.dataset}."] if config.dataset else []
    if made is not None and made.rows:
        rows = ", ".join(f"{count:,} {part}" for part, count in made.rows.items() if count)
        lines.append(f"Rows: {rows}. Validation rows chose the weights; test rows were read once, at the end.")
    return "\n## Data\n\n" + "\n".join(lines) + "\n" if lines else ""


def beside_of(made: Made | None) -> str:
    """The main score's interval, and what plain models have; nothing where that was not measured."""
    if made is None or not made.interval:
        return ""
    plain = ", ".join(f"`{name}` {score:.4f}" for name, score in made.baselines.items())
    return f"\n\nTest {made.interval}" + (f"; plain models on the same rows: {plain}." if plain else ".")


def reproduce_of(made: Made | None) -> str:
    """The command and the recipe, which names no folder of the machine that it was carried out on."""
    if made is None:
        return ""
    return (
        "\n## Reproduce\n\nSave this as `recipe.yaml`, put in where your data and the base model are, and run\n\n"
        f"```\nadaptune train recipe.yaml\n```\n\n```yaml\n{portable(made.recipe)}```\n"
    )


def portable(recipe: str) -> str:
    """A recipe whose files and models are named without the folders of the machine, and that names no run folder."""
    found = yaml.safe_load(recipe)
    kept = {key: _without_folders(value) for key, value in found.items() if key != "out"}
    text: str = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=120)
    return text


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(of) for key, of in value.items()}
    if isinstance(value, list):
        return [_without_folders(of) for of in value]
    if not isinstance(value, str) or "\n" in value:
        return value
    for kind in (PurePosixPath, PureWindowsPath):
        if (path := kind(value)).is_absolute():
            return path.name
    return value
