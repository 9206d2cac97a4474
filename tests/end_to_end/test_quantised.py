"""A recipe with a quantised base: trained, saved, answered from in a fresh process, merged; and what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import adaptune
from adaptune.bundle.load import load_bundle
from adaptune.bundle.merge import merge
from adaptune.core.errors import BundleError, Unsupported
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone

if importlib.util.find_spec("bitsandbytes") is None:
    pytest.skip("bitsandbytes is not installed: pip install 'adaptune[quantised]'", allow_module_level=True)

ROWS = "text,label\n" + "a good film,good\na bad film,bad\na great book,good\na terrible book,bad\n" * 4
RECIPE = """\
task: classify
data: {{train: rows.csv, valid: rows.csv, test: rows.csv}}
model: {model}
method: {{name: lora, rank: 2, targets: all}}
train: {{max_steps: 6, device: cpu}}
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Models this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(_one_thread: None, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a recipe was trained on nf4."""
    folder = tmp_path_factory.mktemp("quantised")
    (folder / "rows.csv").write_text(ROWS, encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE.format(model=tiny_bert), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        adaptune.train("recipe.yaml", "model.weights=nf4", "out=run")
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def _in_a_fresh_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adaptune", *arguments], capture_output=True, text=True, check=False, env={**os.environ}
    )


def test_a_fresh_process_holds_the_base_as_it_was_and_gives_the_same_answers() -> None:
    manifest = json.loads(Path("run/bundle/manifest.json").read_text(encoding="utf-8"))
    assert manifest["base"]["weights"] == "nf4"
    assert "quantised to nf4" in Path("run/bundle/README.md").read_text(encoding="utf-8")
    (own,) = load_bundle("run/bundle").predict(["a great film"])
    done = _in_a_fresh_process("predict", "run/bundle", "a great film")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["probability"] == pytest.approx(own["probability"], abs=1e-6)
    assert "bitsandbytes" not in done.stderr


def test_training_goes_on_from_a_quantised_bundle_on_an_equal_base_alone() -> None:
    start = "method.start=run/bundle"
    again = adaptune.train("recipe.yaml", "model.weights=nf4", start, "out=again")
    assert load_bundle(again.bundle).manifest.lineage[0].name == "run"
    with pytest.raises(BundleError, match=r"model\.weights=nf4"):
        adaptune.train("recipe.yaml", start, "out=other")


def test_a_base_that_is_held_otherwise_is_refused(tiny_bert: Path) -> None:
    plain = load_backbone(ModelConfig(name=str(tiny_bert)))
    with pytest.raises(BundleError, match=r"'run' was trained with model\.weights=nf4.*model\.weights=float.*load it"):
        load_bundle("run/bundle", backbone=plain)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_merged_model_is_plain_and_gives_the_same_answers(tmp_path: Path) -> None:
    bundle = load_bundle("run/bundle")
    merged = merge(bundle, tmp_path / "merged")  # compares the answers itself
    settings = json.loads((merged.folder / "config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in settings


def test_a_method_that_trains_matrices_is_refused_before_torch_is_imported() -> None:
    program = (
        "import sys\n"
        "from adaptune.prepare import prepare\n"
        "from adaptune.recipe import load_recipe\n"
        "recipe = load_recipe('recipe.yaml', ['method={name: full}', 'model.weights=int8'])\n"
        "try:\n    prepare(recipe)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    refusal, imported = done.stdout.splitlines()
    assert refusal.startswith(f"{Unsupported.__name__} method 'full' trains matrices of the base")
    assert "model.weights=int8" in refusal
    assert imported == "False"
