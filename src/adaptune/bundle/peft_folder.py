"""The files by which the library peft loads a bundle's trunk. Knows no heads."""

from __future__ import annotations

from pathlib import Path

from adaptune.bundle.weights import write_tensors
from adaptune.models.assembly import Assembly


def write_peft(assembly: Assembly, folder: Path) -> None:
    """adapter_config.json and adapter_model.safetensors, for `PeftModel.from_pretrained(AutoModel, folder)`."""
    files = assembly.method.peft_files(assembly.trunk)
    files.config.base_model_name_or_path = assembly.backbone.name
    files.config.revision = assembly.backbone.revision
    if isinstance(files.config.target_modules, set):
        files.config.target_modules = sorted(files.config.target_modules)  # a set is written in any order
    write_tensors(files.tensors, folder / "adapter_model.safetensors")
    files.config.save_pretrained(str(folder))
