"""What can be refused before torch is imported: damaged files, another base, or none. Knows no tensors."""

from __future__ import annotations

import hashlib
from pathlib import Path

from adaptune.bundle.manifest import WEIGHTS, Base, Manifest, read_manifest
from adaptune.core.errors import BundleError, ModelError
from adaptune.models.config import ModelConfig
from adaptune.models.families import roles_of
from adaptune.models.find import locate
from adaptune.models.fingerprint import fingerprint
from adaptune.models.layout import Located, check_library
from adaptune.models.load import load_config

AGAIN = "copy the bundle again from where it was made, or train it again"


def check_bundle(folder: str | Path, *, model: str | None = None) -> Manifest:
    """The manifest of a bundle whose files are whole and whose base (`model` or its own) is here and the right one.

    Raises BundleError, ModelError.
    """
    folder = Path(folder)
    manifest = check_files(folder)
    find_base(manifest.base, bundle_name(folder), model=model)
    return manifest


def check_files(folder: Path) -> Manifest:
    """The manifest of a bundle whose weights file is the one that was written. Raises BundleError."""
    manifest = read_manifest(folder)
    file = folder / WEIGHTS
    if not file.is_file():
        raise BundleError(f"{file} is missing; copy the whole bundle folder again from where it was made")
    found = sha256_of(file)
    if found != manifest.weights:
        raise BundleError(
            f"{file} is damaged: its SHA-256 is {found[:12]}…, the manifest says {manifest.weights[:12]}…; {AGAIN}"
        )
    return manifest


def sha256_of(file: Path) -> str:
    """Of the file's bytes, as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def bundle_name(folder: Path) -> str:
    """The folder's name, or its run's where it is called `bundle` like every run's."""
    folder = folder.absolute()
    return folder.parent.name if folder.name == "bundle" else folder.name


def check_base(base: Base, found: str, model: str, name: str) -> None:
    """Refuse a model with another fingerprint than the one that the bundle was trained on. Raises BundleError."""
    if base.fingerprint != found:
        raise BundleError(
            f"bundle {name!r} was trained on {base.name!r} (weights {base.fingerprint[:12]}…), this is {model!r} "
            f"(weights {found[:12]}…); name the one it was trained on: --model NAME, or `model` in a recipe"
        )


def check_weights(base: Base, found: str, name: str) -> None:
    """Refuse a base whose matrices are held otherwise than they were in training. Raises BundleError."""
    if base.weights != found:
        raise BundleError(
            f"bundle {name!r} was trained with model.weights={base.weights}, this base is loaded with "
            f"model.weights={found}, and would give other answers; load it with model.weights={base.weights} "
            "(`adaptune merge` writes a model that needs neither)"
        )


def find_base(base: Base, name: str, *, model: str | None, trust_remote_code: bool = False) -> ModelConfig:
    """How to load the base in its recorded precision, once its files have the recorded fingerprint.

    Raises ModelError where it is not here, BundleError for another one, MissingExtra where it was quantised.
    """
    given = (
        {"name": base.name, "revision": base.revision, "gguf_file": base.gguf_file}
        if model is None
        else {"name": model}
    )
    config = ModelConfig.model_validate(
        {**given, "dtype": base.dtype, "weights": base.weights, "trust_remote_code": trust_remote_code}
    )
    check_library(config.weights)
    try:
        config, located = _find(config)
    except ModelError as error:
        if model is not None:
            raise
        raise ModelError(
            f"bundle {name!r} was trained on {base.name!r}, which is not here: {error}\n"
            "name a copy of that model with --model (from Python: load(folder, model=...))"
        ) from error
    check_base(base, fingerprint(located, roles_of(load_config(config))), config.name, name)
    return config


def _find(config: ModelConfig) -> tuple[ModelConfig, Located]:
    """Where the model lies; any revision will do where the recorded one cannot be had: the fingerprint decides."""
    try:
        return config, locate(config)
    except ModelError:
        if config.revision is None:
            raise
        config = config.model_copy(update={"revision": None})
        return config, locate(config)
