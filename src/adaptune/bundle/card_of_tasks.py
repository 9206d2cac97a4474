"""The model card of a bundle of several tasks. Knows no tensors."""

from __future__ import annotations

from collections.abc import Mapping

from huggingface_hub import ModelCardData

from adaptune.bundle.card import (
    PEFT,
    PIPELINES,
    base_of,
    calibration_of,
    metadata_of,
    results_of,
    score_table,
    short_name,
)
from adaptune.bundle.config import BundleConfig
from adaptune.bundle.made import Made, data_of, limits_of, reproduce_of, use_of
from adaptune.bundle.manifest import Manifest

_CARD = """\
---
{metadata}
---

# {name}

{number} tasks, learned together with the method `{method}` on the frozen model {base}.
This folder holds what was learned; the base model is loaded beside it, and must have the fingerprint
`{fingerprint}`.

## Use

```python
import adaptune

model = adaptune.load("path/to/this/folder")
print(model.predict(["Some text."], task="{first}"))
print(model.predict(["Some text."]))  # the answers of all tasks, by their names
```
{peft}{data}
{tasks}{reproduce}
Written by adaptune {version} on {created}.
"""

_TASK = """\
## {name}: {task}{labels}

{use}

{scores}
{calibration}{label_names}
Limits:

{limits}
"""


def card_of_tasks(
    manifest: Manifest, config: BundleConfig, *, metrics: Mapping[str, str], peft: bool, made: Made | None = None
) -> str:
    """The whole text of README.md; `metrics`: of each task the one that it is judged by, `made` what it came from."""
    name = config.name or f"{short_name(manifest.base.name)}, {', '.join(manifest.names)}"
    return _CARD.format(
        metadata=_metadata(manifest, config, name=name, peft=peft).to_yaml(),
        name=name,
        number=len(manifest.parts),
        method=manifest.method["name"],
        base=base_of(manifest),
        fingerprint=manifest.base.fingerprint,
        first=manifest.names[0],
        peft=PEFT if peft else "",
        data=data_of(made, config),
        tasks="\n".join(_task(manifest.alone(task), config, task, metrics[task]) for task in manifest.names),
        reproduce=reproduce_of(made),
        version=manifest.adaptune,
        created=manifest.created,
    )


def _task(alone: Manifest, config: BundleConfig, name: str, metric: str) -> str:
    kind, labels = str(alone.part.task["name"]), alone.part.labels
    what = PIPELINES.get(kind, kind).replace("-", " ")
    return _TASK.format(
        name=name,
        task=what,
        use=use_of(alone.part, config, what),
        limits=limits_of(alone, None),
        labels=f" with {len(labels)} labels" if labels else "",
        scores=score_table(alone, metric),
        calibration=calibration_of(alone),
        label_names=f"\nLabels: {', '.join(f'`{label}`' for label in labels)}\n" if labels else "",
    )


def _metadata(manifest: Manifest, config: BundleConfig, *, name: str, peft: bool) -> ModelCardData:
    kinds = [str(part.task["name"]) for part in manifest.parts]
    dataset = config.dataset or "unspecified"
    results = [
        result
        for task, kind in zip(manifest.names, kinds, strict=True)
        for result in results_of(manifest.alone(task), PIPELINES.get(kind, kind), f"{dataset}, {task}")
    ]
    tags = ["adaptune", "multi-task", *dict.fromkeys(kinds), str(manifest.method["name"])]
    return metadata_of(manifest, config, results, name=name, peft=peft, tags=tags)
