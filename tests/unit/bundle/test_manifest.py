"""manifest.json: written in a stable order, read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adaptune.bundle.manifest import Manifest, read_manifest, write_manifest
from adaptune.core.calibration import Calibration
from adaptune.core.errors import BundleError
from adaptune.methods.head_only import HeadOnly
from adaptune.tasks.classify import Classify

MANIFEST: dict[str, Any] = {
    "format": 1,
    "adaptune": "0.1.0",
    "created": "2026-01-02T03:04:05+00:00",
    "base": {
        "name": "bert-tiny",
        "revision": None,
        "fingerprint": "ab" * 32,
        "family": "bert",
        "hidden_size": 32,
        "dtype": "float32",
        "gguf_file": None,
        "words": False,
    },
    "method": {"name": "head_only"},
    "parts": [
        {"task": {"name": "classify"}, "head": {"name": "classify", "pooling": "mean"}, "labels": ["good", "bad"]},
    ],
    "columns": {"text": "sentence", "label": "label"},
    "preprocessing": {"max_length": 128},
    "scores": {"test": {"values": {"accuracy": 0.5}, "per_class": {}, "confusion": [], "classes": []}},
    "golden": [
        {"values": {"text": "Good morning!"}, "answer": "good", "probability": 0.6, "probabilities": [0.6, 0.4]}
    ],
    "lineage": [{"name": "first", "weights": "cd" * 32}],
    "weights": "ef" * 32,
}


def _written(folder: Path, content: Any) -> Path:
    (folder / "manifest.json").write_text(
        content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
    )
    return folder


def test_a_manifest_is_written_in_the_order_of_its_fields_and_read_back_equal(tmp_path: Path) -> None:
    manifest = Manifest.model_validate(MANIFEST)
    write_manifest(manifest, tmp_path)
    assert list(json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))) == list(MANIFEST)
    assert read_manifest(tmp_path) == manifest


def test_a_manifest_without_a_calibration_reads_and_is_written_as_before(tmp_path: Path) -> None:
    manifest = read_manifest(_written(tmp_path, MANIFEST))
    assert manifest.part.calibration is None
    write_manifest(manifest, tmp_path)
    assert "calibration" not in (tmp_path / "manifest.json").read_text(encoding="utf-8")


def test_a_calibration_is_read_back_equal_and_stays_with_its_task(tmp_path: Path) -> None:
    own = {"columns": {}, "scores": {}, "golden": []}
    scope = {"score": "energy", "kept": 0.95, "above": -1.5, "label": None}
    calibration = {"temperature": 0.7, "abstain": {"accuracy": 0.9, "below": 0.6}, "scope": scope, "measured": {}}
    [part] = MANIFEST["parts"]
    parts = [{**part, "own": {"name": "a", **own}, "calibration": calibration}, {**part, "own": {"name": "b", **own}}]
    manifest = read_manifest(_written(tmp_path, {**MANIFEST, "parts": parts}))
    write_manifest(manifest, tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert manifest.alone("a").part.calibration == Calibration.model_validate(calibration)
    assert manifest.alone("b").part.calibration is None


def test_a_manifest_makes_its_parts(tmp_path: Path) -> None:
    manifest = read_manifest(_written(tmp_path, MANIFEST))
    assert isinstance(manifest.make_task(), Classify)
    assert isinstance(manifest.make_method(), HeadOnly)
    assert manifest.make_head().model_dump()["pooling"] == "mean"
    assert manifest.labels.names == ("good", "bad")


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"the folder has no manifest\.json; expected a folder that `adaptune train` wrote"
    ):
        read_manifest(tmp_path)
    with pytest.raises(BundleError, match="no such folder"):
        read_manifest(tmp_path / "nowhere")


def test_a_later_format_says_to_upgrade(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"has format 2, adaptune .* reads up to 1; upgrade it: pip install --upgrade"
    ):
        read_manifest(_written(tmp_path, {**MANIFEST, "format": 2, "unheard_of": 1}))


@pytest.mark.parametrize("content", ["[1, 2]", "{}", '{"format": "one"}', '{"format": 0}'])
def test_json_that_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(BundleError, match=r"has the format number .* expected 1, so this is no manifest of a bundle"):
        read_manifest(_written(tmp_path, content))


def test_a_truncated_manifest_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json is damaged"):
        read_manifest(_written(tmp_path, json.dumps(MANIFEST)[:200]))


def test_unknown_and_missing_fields_are_all_named(tmp_path: Path) -> None:
    content = {key: value for key, value in MANIFEST.items() if key != "weights"} | {"colour": "red"}
    with pytest.raises(BundleError) as caught:
        read_manifest(_written(tmp_path, content))
    assert "weights: Field required" in str(caught.value)
    assert "colour: Extra inputs are not permitted" in str(caught.value)


def test_a_manifest_without_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="parts: "):
        read_manifest(_written(tmp_path, {**MANIFEST, "parts": []}))


def test_several_parts_need_no_new_format_and_are_refused_by_number(tmp_path: Path) -> None:
    manifest = read_manifest(_written(tmp_path, {**MANIFEST, "parts": MANIFEST["parts"] * 2}))
    with pytest.raises(BundleError, match="the bundle holds 2 tasks"):
        manifest.make_task()


def _two() -> dict[str, Any]:
    own = {key: MANIFEST[key] for key in ("columns", "scores", "golden")}
    parts = [MANIFEST["parts"][0] | {"own": {"name": name, **own}} for name in ("mood", "topic")]
    return {**MANIFEST, "parts": parts, "columns": {}, "scores": {}, "golden": []}


def test_one_of_several_tasks_alone_is_as_a_bundle_of_one_says_it(tmp_path: Path) -> None:
    manifest = read_manifest(_written(tmp_path, _two()))
    assert manifest.names == ("mood", "topic")
    assert manifest.alone("topic") == Manifest.model_validate(MANIFEST)
    with pytest.raises(BundleError, match=r"holds 2 tasks \(mood, topic\).*name it: --task NAME"):
        manifest.alone(None)
    with pytest.raises(BundleError, match=r"no task 'topics'; did you mean 'topic'\? \(it has: mood, topic\)"):
        manifest.alone("topics")


def test_a_bundle_of_one_task_says_nothing_of_several(tmp_path: Path) -> None:
    manifest = Manifest.model_validate(MANIFEST)
    write_manifest(manifest, tmp_path)
    written = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert list(written["parts"][0]) == ["task", "head", "labels"]
    assert manifest.alone(None) is manifest
    with pytest.raises(BundleError, match="it has one, without a name; leave it out"):
        manifest.alone("mood")


def test_a_method_this_version_does_not_know_is_named(tmp_path: Path) -> None:
    manifest = read_manifest(_written(tmp_path, {**MANIFEST, "method": {"name": "telepathy"}}))
    with pytest.raises(BundleError, match="the bundle's method 'telepathy' cannot be made by adaptune"):
        manifest.make_method()
