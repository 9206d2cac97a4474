"""The model card: README.md with the metadata that the Hugging Face hub reads. Knows no tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from huggingface_hub import EvalResult, ModelCardData

from adaptune.bundle.config import BundleConfig
from adaptune.bundle.made import Made, beside_of, data_of, limits_of, reproduce_of, use_of
from adaptune.bundle.manifest import Manifest
from adaptune.core.phrases import calibration_lines

PIPELINES = {
    "classify": "text-classification",
    "multilabel": "text-classification",
    "regress": "text-classification",
    "relate": "text-classification",
    "match": "sentence-similarity",
    "tag": "token-classification",
    "translate": "translation",
    "summarise": "summarization",
    "write": "text-generation",
    "chat": "text-generation",
    "rank": "text-ranking",
    "choose": "multiple-choice",
}
"""The hub's name of a task."""
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

_CARD = """\
---
{metadata}
---

# {name}

{task}{labels}, learned with the method `{method}` on the frozen model {base}.
This folder holds what was learned; the base model is loaded beside it, and must have the fingerprint
`{fingerprint}`.

## Use

```python
import adaptune

model = adaptune.load("path/to/this/folder")
print(model.predict(["Some text."]))
```
{peft}
## Intended use

{use}

## Limits

{limits}
{data}
## Scores

{scores}{beside}
{calibration}{label_names}{reproduce}
Written by adaptune {version} on {created}.
"""

_LABELS = """
## Labels

{}
"""

PEFT = """
The trunk alone, without the head, also loads with peft:
`PeftModel.from_pretrained(AutoModel.from_pretrained(base), "path/to/this/folder")`.
"""


def card(manifest: Manifest, config: BundleConfig, *, metric: str, peft: bool, made: Made | None = None) -> str:
    """The whole text of README.md; `metric` is the one that the task is judged by, `made` what it came from."""
    part = manifest.part
    task = str(part.task["name"])
    what = PIPELINES.get(task, task).replace("-", " ")
    name = config.name or f"{short_name(manifest.base.name)}, {task}"
    return _CARD.format(
        metadata=_metadata(manifest, config, name=name, peft=peft).to_yaml(),
        name=name,
        task=what.capitalize(),
        labels=f" with {len(part.labels)} labels" if part.labels else "",
        method=manifest.method["name"],
        base=base_of(manifest),
        fingerprint=manifest.base.fingerprint,
        peft=PEFT if peft else "",
        use=use_of(part, config, what),
        limits=limits_of(manifest, made),
        data=data_of(made, config),
        scores=score_table(manifest, metric),
        beside=beside_of(made),
        calibration=calibration_of(manifest),
        reproduce=reproduce_of(made),
        label_names=_LABELS.format(", ".join(f"`{label}`" for label in part.labels)) if part.labels else "",
        version=manifest.adaptune,
        created=manifest.created,
    )


def base_of(manifest: Manifest) -> str:
    """The base's name, and how its matrices are held where not as usual."""
    held = manifest.base.weights
    how = "" if held == "float" else f", whose matrices are quantised to {held} when it is loaded"
    return f"`{short_name(manifest.base.name)}`{how}"


def short_name(base: str) -> str:
    """A hub id as it is, of a folder its last part: a card tells no paths of the machine that wrote it."""
    return base if HUB_ID.fullmatch(base) else re.split(r"[/\\]", base.rstrip("/\\"))[-1]


def calibration_of(manifest: Manifest) -> str:
    """A list of what was fitted and what it is worth; nothing where nothing was."""
    calibration = manifest.part.calibration
    lines = calibration_lines(calibration.model_dump(mode="json")) if calibration else []
    return "".join(f"\n- {line}" for line in lines) + ("\n" if lines else "")


def _metadata(manifest: Manifest, config: BundleConfig, *, name: str, peft: bool) -> ModelCardData:
    task, method = str(manifest.part.task["name"]), str(manifest.method["name"])
    results = results_of(manifest, PIPELINES.get(task, task), config.dataset or "unspecified")
    found = metadata_of(manifest, config, results, name=name, peft=peft, tags=["adaptune", task, method])
    found.pipeline_tag = PIPELINES.get(task)
    return found


def metadata_of(
    manifest: Manifest,
    config: BundleConfig,
    results: Sequence[EvalResult],
    *,
    name: str,
    peft: bool,
    tags: list[str],
) -> ModelCardData:
    """What the hub reads of a bundle, whatever its tasks."""
    base = manifest.base.name
    return ModelCardData(
        base_model=base if HUB_ID.fullmatch(base) else None,
        language=list(config.language) or None,
        library_name="peft" if peft else "adaptune",
        license=config.license,
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=name,
        eval_results=list(results) or None,
        tags=tags,
    )


def results_of(manifest: Manifest, task_type: str, dataset: str) -> list[EvalResult]:
    """What the hub shows as results: every metric of the test split."""
    test = manifest.scores.get("test")
    return [
        EvalResult(
            task_type=task_type,
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split="test",
            metric_type=metric,
            metric_value=round(value, 6),
        )
        for metric, value in (test.values if test else {}).items()
    ]


def score_table(manifest: Manifest, metric: str) -> str:
    """A row a split, the metric that the task is judged by first."""
    if not manifest.scores:
        return "None were measured."
    metrics = list(dict.fromkeys(name for split in manifest.scores.values() for name in split.values))
    metrics.sort(key=lambda name: name != metric)
    rows = [["split", *metrics], ["---"] * (len(metrics) + 1)]
    for split, found in manifest.scores.items():
        rows.append([split, *(f"{found.values[name]:.4f}" if name in found.values else "" for name in metrics)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
