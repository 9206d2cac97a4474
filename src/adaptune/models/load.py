"""A pretrained model becomes a Backbone: frozen, whole, with the tokenizer and settings it came with. Knows no task."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from adaptune.core.backbone import Backbone, Pooling, Roles
from adaptune.core.errors import ModelError
from adaptune.core.lazy import shell, torch, transformers
from adaptune.core.log import notice, warn
from adaptune.models.config import ModelConfig
from adaptune.models.families import fitted, roles_of
from adaptune.models.find import locate
from adaptune.models.fingerprint import Stored, fingerprint, others, trunk_tensors
from adaptune.models.layout import Located, check_library, read_config, weight_files

UNKNOWN = 10**6
"""Tokenizers that know no limit say a number as large as 1e30."""
UNLIMITED = 512
"""Tokens for models whose positions are relative and whose files name no limit (T5 was trained on as many)."""
CLASSIFIES = "ForSequenceClassification"
"""How transformers' classes that classify whole texts end."""
_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""safetensors' names of types, and torch's."""

_POOLINGS: Mapping[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
    "pooling_mode_lasttoken": "last",
    "mean": "mean",
    "cls": "first",
    "lasttoken": "last",
}


def load_config(config: ModelConfig) -> dict[str, Any]:
    """config.json of a model, read without weights and torch, for `roles_of` and `layers_of`. Raises ModelError."""
    located = locate(config, weights=False)
    return _settings(config, located)


def load_backbone(config: ModelConfig, *, words: bool = False, weights: bool = True) -> Backbone:
    """The pretrained model, frozen; `words`: with its output layer over words.

    Not `weights`: its settings and its tokenizer alone, quickly; its modules are empty and compute nothing.
    Raises ModelError, MissingExtra, Unsupported.
    """
    check_library(config.weights)
    located = locate(config)
    roles = roles_of(_settings(config, located))
    digest = fingerprint(located, roles) if weights else ""
    if located.source not in ("folder", "file"):
        notice(f"model {config.name}: from {located.source}" + (f" ({located.gguf})" if located.gguf else ""))
    with quiet():
        tokenizer = _tokenizer(config, located)
        whole = _model(config, located, roles, words) if weights else _empty(config, located, roles, words)
    _agree_on_padding(whole, tokenizer)
    trunk = shell.trunk_of(whole)
    roles = fitted(roles_of(whole.config.to_dict()), trunk)
    if weights and config.weights != "float":
        # Its classes stand on torch's, and what is refused before a model is loaded does not wait for torch.
        import_module("adaptune.models.quantise").quantise(trunk, roles, config.weights)
    roles = replace(roles, segments=roles.segments and "token_type_ids" in tokenizer.model_input_names)
    return Backbone(
        whole=whole,
        trunk=trunk,
        vocabulary=shell.Words(whole) if words else None,
        roles=roles,
        tokenizer=tokenizer,
        name=config.name,
        revision=located.revision,
        fingerprint=digest,
        weights=config.weights,
        pooling=pooling_of(located.folder, roles),
        max_length=max_length_of(config, located.folder, roles, whole.config, tokenizer),
        pooler=_pooler(located, roles) if weights else {},
        classifier=_classifier(located, roles, whole.config) if weights else {},
    )


def without_words(backbone: Backbone) -> Backbone:
    """The same base over the same tensors, as if it had been loaded without its output layer over words."""
    return replace(backbone, whole=backbone.trunk, vocabulary=None)


def pooling_of(folder: Path, roles: Roles) -> Pooling:
    """As the folder's sentence-transformers settings say; else the mean, or for decoders the last token."""
    usual: Pooling = "last" if roles.main.causal else "mean"
    settings = _json(folder / "1_Pooling" / "config.json")
    if not settings:
        return usual
    named = [name for name, value in settings.items() if name.startswith("pooling_mode_") and value is True]
    if isinstance(mode := settings.get("pooling_mode"), str):
        named = [mode]
    if len(named) == 1 and named[0] in _POOLINGS:
        return _POOLINGS[named[0]]
    file = folder / "1_Pooling" / "config.json"
    warn(f"{file} asks for the pooling {' + '.join(named)}, which is not built; {usual!r} is used")
    return usual


def max_length_of(config: ModelConfig, folder: Path, roles: Roles, settings: Any, tokenizer: Any) -> int:
    """The length that the recipe asks for, or the smallest that position table, tokenizer and training allow."""
    positions = getattr(settings, "max_position_embeddings", None)
    if positions and roles.offset_positions:
        positions -= settings.pad_token_id + 1
    if config.max_length is not None:
        if positions and config.max_length > positions:
            raise ModelError(
                f"model.max_length is {config.max_length}, the model {config.name!r} has {positions} positions; "
                f"use at most {positions}"
            )
        return config.max_length
    trained = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    limits = [limit for limit in (positions, tokenizer.model_max_length, trained) if limit and limit < UNKNOWN]
    return int(min(limits, default=UNLIMITED))


def _settings(config: ModelConfig, located: Located) -> dict[str, Any]:
    if located.gguf is None:
        return read_config(located)
    with quiet(), _as_model_error(config):
        found = transformers.AutoConfig.from_pretrained(located.folder, gguf_file=located.gguf, local_files_only=True)
    settings: dict[str, Any] = found.to_dict()
    return settings


def _tokenizer(config: ModelConfig, located: Located) -> Any:
    more = {"gguf_file": located.gguf} if located.gguf else {}
    with _as_model_error(config):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            located.folder, local_files_only=True, trust_remote_code=config.trust_remote_code, **more
        )
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer of {config.name!r} is a {type(tokenizer).__name__} without offsets; "
            "a fast one is needed: save it with a tokenizer.json"
        )
    return tokenizer


def _model(config: ModelConfig, located: Located, roles: Roles, words: bool) -> Any:
    options: dict[str, Any] = {"gguf_file": located.gguf} if located.gguf else {"use_safetensors": True}
    if roles.pooler is not None and not words:
        options["add_pooling_layer"] = False
    if config.attention != "auto":
        options["attn_implementation"] = config.attention
    with _as_model_error(config):
        whole, report = _class(roles, words).from_pretrained(
            located.folder,
            dtype=config.dtype,
            local_files_only=True,
            trust_remote_code=config.trust_remote_code,
            output_loading_info=True,
            **options,
        )
    if missing := sorted(report["missing_keys"]):
        what = "output layer over words" if words else "weights"
        raise ModelError(
            f"the files of {config.name!r} lack {len(missing)} of its tensors ({', '.join(missing[:3])}, ...): "
            f"its {what} would be random; download it again, or choose a model that holds them"
        )
    return whole.requires_grad_(False).eval()


def _empty(config: ModelConfig, located: Located, roles: Roles, words: bool) -> Any:
    """The model's modules on a device that holds no numbers."""
    more: dict[str, Any] = {"gguf_file": located.gguf} if located.gguf else {}
    with _as_model_error(config), torch.device("meta"):
        settings = transformers.AutoConfig.from_pretrained(
            located.folder, local_files_only=True, trust_remote_code=config.trust_remote_code, **more
        )
        return _class(roles, words).from_config(settings, trust_remote_code=config.trust_remote_code).eval()


def _class(roles: Roles, words: bool) -> Any:
    if not words:
        return transformers.AutoModel
    if len(roles.stacks) == 2:
        return transformers.AutoModelForSeq2SeqLM
    return transformers.AutoModelForCausalLM if roles.main.causal else transformers.AutoModelForMaskedLM


def _agree_on_padding(whole: Any, tokenizer: Any) -> None:
    """A model without padding takes the end token for it; nothing is resized, padding is masked anyway."""
    if tokenizer.pad_token_id is None:
        known = whole.config.pad_token_id
        tokenizer.pad_token = tokenizer.eos_token if known is None else tokenizer.convert_ids_to_tokens(known)
    if tokenizer.pad_token_id is None:
        raise ModelError(
            "the tokenizer has neither a padding nor an end token; set pad_token in its tokenizer_config.json"
        )
    if whole.config.pad_token_id is None:
        whole.config.pad_token_id = tokenizer.pad_token_id
        whole.base_model.config.pad_token_id = tokenizer.pad_token_id


def _pooler(located: Located, roles: Roles) -> dict[str, torch.Tensor]:
    """The stored pooling layer, by names within it."""
    if roles.pooler is None or located.gguf is not None:
        return {}
    as_stack = replace(roles, stacks=(replace(roles.main, embeddings=(roles.pooler,), final_norm=None),))
    stored = [
        tensor
        for tensor in trunk_tensors(weight_files(located.folder), as_stack)
        if tensor.name.startswith(f"{roles.pooler}.")
    ]
    return {tensor.name.removeprefix(f"{roles.pooler}."): _as_tensor(tensor) for tensor in stored}


def _classifier(located: Located, roles: Roles, settings: Any) -> dict[str, torch.Tensor]:
    """The stored classifier, where the files are of a model that classifies whole texts."""
    kinds = getattr(settings, "architectures", None) or ()
    if located.gguf is not None or not any(kind.endswith(CLASSIFIES) for kind in kinds):
        return {}
    stored = others(weight_files(located.folder), roles)
    return {tensor.name: _as_tensor(tensor) for tensor in stored if tensor.dtype in _FLOATS}


def _as_tensor(stored: Stored) -> torch.Tensor:
    """In fp32."""
    kind = getattr(torch, _FLOATS[stored.dtype])
    return torch.frombuffer(bytearray(stored.data), dtype=kind).reshape(stored.shape).float()


@contextmanager
def _as_model_error(config: ModelConfig) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"transformers cannot load the model {config.name!r}: {' '.join(lines[:2])}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without progress bars and load reports: what they would tell is checked here and is an error."""
    logging = transformers.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _json(file: Path) -> dict[str, Any]:
    """An empty one where there is no such file. Raises ModelError."""
    if not file.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{str(file)!r} is no JSON ({error}); correct it or take it away") from None
    return found
