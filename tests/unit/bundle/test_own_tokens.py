"""Bundles whose head has tokens of its own: what they hold, what goes on from them, what they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adaptune.bundle.combine import combine
from adaptune.bundle.export import export
from adaptune.bundle.load import load_bundle
from adaptune.bundle.merge import merge
from adaptune.bundle.start import continue_from
from adaptune.bundle.weights import read_tensors
from adaptune.core.backbone import Backbone
from adaptune.core.errors import Unsupported
from adaptune.core.types import Labels
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.assembly import Assembly
from adaptune.tasks.relate import Relate

from .conftest import moved, save

LABELS = Labels(("Cause(e1,e2)", "Other"))
TEXT = "the <e1>rain</e1> brought the <e2>river</e2>"
OWN = r"\[E1\], \[/E1\], \[E2\], \[/E2\]"


def _assembly(backbone: Backbone, method: str = "lora", markers: str = "tokens", seed: int = 1) -> Assembly:
    head = HEADS.make({"name": "relate", "markers": markers})
    return Assembly(backbone, METHODS.make({"name": method}), head, LABELS, seed=seed)


@pytest.mark.parametrize("method", ["head_only", "lora", "prompt", "full"])
def test_a_bundle_holds_them_and_answers_as_what_was_saved(bert: Backbone, tmp_path: Path, method: str) -> None:
    before = {name: tensor.clone() for name, tensor in bert.whole.state_dict().items()}
    assembly = moved(_assembly(bert, method)).eval()
    manifest = save(tmp_path / "one", assembly, columns={})
    assert manifest.part.head["markers"] == "tokens"
    stored = read_tensors(tmp_path / "one" / "weights.safetensors")["head.markers"]
    own = assembly.head.own_embeddings(assembly.layer)
    assert own is not None
    assert torch.equal(stored, own)
    found = load_bundle(tmp_path / "one", backbone=bert)
    assert torch.equal(found.assembly.layer.get_parameter("markers"), stored)
    [answer] = found.predict([TEXT])
    found.assembly.layer.get_parameter("markers").data.neg_()
    assert found.predict([TEXT])[0]["probability"] != answer["probability"]
    after = bert.whole.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_what_no_vocabulary_has_cannot_be_taken_elsewhere(bert: Backbone, tmp_path: Path) -> None:
    save(tmp_path / "one", moved(_assembly(bert)), columns={})
    assert not (tmp_path / "one" / "adapter_config.json").exists()
    bundle = load_bundle(tmp_path / "one", backbone=bert)
    message = f"the model reads {OWN}, own tokens of the head 'relate', .*serve the bundle as it is"
    with pytest.raises(Unsupported, match=message):
        merge(bundle, tmp_path / "merged")
    with pytest.raises(Unsupported, match=message):
        export(bundle, tmp_path / "exported")
    assert not (tmp_path / "merged").exists()
    assert not (tmp_path / "exported").exists()


def test_a_run_goes_on_with_them(bert: Backbone, tmp_path: Path) -> None:
    first = moved(_assembly(bert)).eval()
    save(tmp_path / "one", first, columns={})
    second = _assembly(bert, seed=5)
    continue_from(second, Relate(), tmp_path / "one")
    state = first.state()
    assert [name for name, tensor in second.state().items() if not torch.equal(tensor, state[name])] == []


def test_a_run_from_signs_may_begin_with_them_and_one_from_them_keeps_them(bert: Backbone, tmp_path: Path) -> None:
    signs = moved(_assembly(bert, markers="signs"))
    save(tmp_path / "signs", signs, columns={})
    tokens = _assembly(bert, seed=5)
    start = tokens.layer.get_parameter("markers").clone()
    continue_from(tokens, Relate(), tmp_path / "signs")
    assert torch.equal(tokens.layer.get_parameter("weight"), signs.layer.get_parameter("weight"))
    assert torch.equal(tokens.layer.get_parameter("markers"), start)
    save(tmp_path / "tokens", moved(tokens), columns={})
    message = f"'tokens', which learned to read {OWN}, .*markers is 'signs' here and 'tokens' in the bundle"
    with pytest.raises(Unsupported, match=message):
        continue_from(_assembly(bert, markers="signs"), Relate(), tmp_path / "tokens")


def test_they_are_averaged_with_the_heads_and_only_with_others_of_their_kind(bert: Backbone, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    own = []
    for seed, folder in enumerate(folders):
        assembly = moved(_assembly(bert, seed=seed))
        assembly.layer.get_parameter("markers").data.mul_(seed + 1)
        save(folder, assembly, columns={})
        own.append(assembly.layer.get_parameter("markers"))
    done = combine(folders, tmp_path / "both", how="average", weights=[3, 1], model=bert.name)
    found = load_bundle(done.bundle, backbone=bert).assembly.layer.get_parameter("markers")
    torch.testing.assert_close(found, 0.75 * own[0] + 0.25 * own[1])
    save(tmp_path / "signs", _assembly(bert, markers="signs"), columns={})
    message = r"'signs' has the tokens of its own \(\), 'one' has \('\[E1\]', .*--head BUNDLE"
    with pytest.raises(Unsupported, match=message):
        combine([folders[0], tmp_path / "signs"], tmp_path / "none", how="average", model=bert.name)
