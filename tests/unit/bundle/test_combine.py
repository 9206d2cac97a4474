"""Bundles of one base as one: formulas against plain ones, updates against dense sums, refusals by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adaptune.bundle.combine import combine, merge_updates
from adaptune.bundle.load import load_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.calibration import Abstention, Calibrated, Calibration
from adaptune.core.errors import BundleError, Unsupported
from adaptune.core.types import Example, Labels, Row
from adaptune.models.assembly import Assembly
from adaptune.models.share import share
from adaptune.tasks.classify import Classify

from .conftest import Saved, Trained, save

A = torch.tensor([4.0, -1.0, 3.0, 0.1])
B = torch.tensor([-2.0, -3.0, 1.0, 0.2])


def _rows() -> list[Example]:
    rows = [("The film was great", "good"), ("a slow and terrible book", "bad")]
    return [
        Classify().example(Row("here", n, {"text": text, "label": label})) for n, (text, label) in enumerate(rows, 1)
    ]


def test_average_and_arithmetic_are_weighted_sums() -> None:
    assert merge_updates([A, B], "average", [3, 1], 1.0).tolist() == pytest.approx([2.5, -1.5, 2.5, 0.125])
    assert merge_updates([A, B], "arithmetic", [3, 1], 1.0).tolist() == pytest.approx([10, -6, 10, 0.5])


def test_ties_trims_elects_signs_and_averages_those_that_agree() -> None:
    # The larger half of each: A [4, 0, 3, 0], B [-2, -3, 0, 0]; signs by the sum: +, -, +, (none left).
    assert merge_updates([A, B], "ties", [0.5, 0.5], 0.5).tolist() == pytest.approx([4, -3, 3, 0])


def test_dare_keeps_the_expectation_by_its_seed() -> None:
    torch.manual_seed(0)
    ones = [torch.ones(40_000), torch.ones(40_000)]
    found = merge_updates(ones, "dare", [0.5, 0.5], 0.25)
    assert set(found.tolist()) == {0.0, 2.0, 4.0}
    assert abs(float(found.mean()) - 1) < 0.02


def _dense(assembly: Assembly, path: str) -> torch.Tensor:
    """W of a merged trunk, less that of the base."""
    merged = assembly.method.merged(share(assembly.trunk))
    base = assembly.backbone.trunk.get_parameter(path)
    return merged.get_parameter(path).detach() - base


@pytest.mark.parametrize("method", ["lora", "adalora", "loha", "full", "bitfit"])
@pytest.mark.parametrize("how", ["average", "arithmetic"])
def test_the_update_is_the_weighted_sum_of_the_updates(trained: Trained, tmp_path: Path, method: str, how: str) -> None:
    parents = [trained(method), trained(method)]
    with torch.no_grad():
        for parameter in parents[1].parameters():
            if parameter.requires_grad:
                parameter.mul_(-0.7)
    for place, parent in enumerate(parents):
        save(tmp_path / f"p{place}", parent)
    done = combine([tmp_path / "p0", tmp_path / "p1"], tmp_path / "both", how=how, weights=[0.75, 0.25])  # type: ignore[arg-type]
    both = load_bundle(done.bundle)
    leaf = "bias" if method == "bitfit" else "weight"
    for path in (f"encoder.layer.0.attention.self.query.{leaf}", f"encoder.layer.1.attention.self.value.{leaf}"):
        expected = 0.75 * _dense(parents[0], path) + 0.25 * _dense(parents[1], path)
        assert (_dense(both.assembly, path) - expected).abs().max() < 1e-5
        assert expected.abs().max() > 1e-3
    heads = [parent.layer.weight for parent in parents]
    assert torch.allclose(both.assembly.layer.weight, 0.75 * heads[0] + 0.25 * heads[1], atol=1e-6)  # type: ignore[arg-type,operator]
    assert [ancestor.name for ancestor in both.manifest.lineage] == ["p0", "p1"]


@pytest.mark.parametrize("how", ["ties", "dare"])
def test_three_bundles_are_scored_beside_the_result_and_the_seed_decides(
    saved: Saved, tmp_path: Path, how: str
) -> None:
    folders = [saved("lora", name=f"p{place}", rank=2) for place in range(3)]
    first = combine(folders, tmp_path / "one", how=how, examples=_rows(), seed=4)  # type: ignore[arg-type]
    again = combine(folders, tmp_path / "two", how=how, seed=4)  # type: ignore[arg-type]
    assert list(first.scores) == ["combined", "p0", "p1", "p2"]
    assert load_bundle(first.bundle).manifest.weights == load_bundle(again.bundle).manifest.weights
    assert load_bundle(first.bundle).manifest.method["rank"] == 6


def test_another_base_method_label_set_or_kind_is_refused_by_name(saved: Saved, bert: Backbone, tmp_path: Path) -> None:
    lora = saved("lora", name="one")
    with pytest.raises(Unsupported, match="'two' was made with method 'bitfit', 'one' with 'lora'"):
        combine([lora, saved("bitfit", name="two")], tmp_path / "out", how="average")
    other = saved("lora", labels=Labels(("bad", "good")), name="three")
    with pytest.raises(Unsupported, match=r"'three' has the labels .*--head BUNDLE"):
        combine([lora, other], tmp_path / "out", how="average")
    done = combine([lora, other], tmp_path / "out", how="average", head=other)
    assert load_bundle(done.bundle).manifest.part.labels == ("bad", "good")
    prompts = [saved("prompt", name="four"), saved("prompt", name="five")]
    with pytest.raises(Unsupported, match="bundles of method 'prompt' cannot be combined"):
        combine(prompts, tmp_path / "none", how="average")
    file = other / "manifest.json"
    file.write_text(file.read_text().replace(bert.fingerprint, "0" * 64))
    with pytest.raises(BundleError, match="only bundles of one base can be combined"):
        combine([lora, other], tmp_path / "none", how="average")
    with pytest.raises(BundleError, match=r"--weights is \(1, 2, 3\), expected 2 numbers"):
        combine([lora, lora], tmp_path / "none", how="average", weights=[1, 2, 3])


def test_a_head_that_is_kept_keeps_its_calibration_and_averages_say_that_they_have_none(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worth = {"ece": 0.1, "ece_before": 0.2, "brier": 0.3, "brier_before": 0.4}
    by = Calibration(temperature=0.5, abstain=Abstention(accuracy=0.9, below=0.4), measured={"test": worth})
    for name in ("sure", "plain"):
        assembly = trained("lora")
        assembly.calibrated = Calibrated(by) if name == "sure" else None
        save(tmp_path / name, assembly)
    folders = [tmp_path / "sure", tmp_path / "plain"]
    kept = combine(folders, tmp_path / "kept", how="average", head=tmp_path / "sure")
    assert "those of bundle 'sure', which were fitted with its own weights" in said(capsys)
    found = load_bundle(kept.bundle)
    assert found.manifest.part.calibration == by.model_copy(update={"measured": {}})
    assert found.predict(["rain"])[0]["abstained"] in (True, False)
    plain = combine(folders, tmp_path / "plain-head", how="average", head=tmp_path / "plain")
    assert said(capsys) == ""
    averaged = combine(folders, tmp_path / "averaged", how="average")
    assert "that of sure is not kept" in said(capsys)
    assert [load_bundle(one.bundle).manifest.part.calibration for one in (plain, averaged)] == [None, None]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """On the error stream, as one line."""
    return " ".join(capsys.readouterr().err.split())
