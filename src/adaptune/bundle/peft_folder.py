"""The files by which the library peft loads a bundle's trunk. Knows no heads."""

from __future__ import annotations

from pathlib import Path

from adaptune.bundle.weights import write_tensors
from adaptune.models.assembly import Assembly


def write_peft(assembly: Assembly, folder: Path) -> bool:
    """adapter_config.json and adapter_model.safetensors, for `PeftModel.from_pretrained(AutoModel, folder)`.

    False, and no files, where peft has no such method for this model.
    """
    files = assembly.method.peft_files(assembly.trunk)
    if files is None:
        return False
    files.config.base_model_name_or_path = assembly.backbone.name
    files.config.revision = assembly.backbone.revision
    if isinstance(getattr(files.config, "target_modules", None), set):
        files.config.target_modules = sorted(files.config.target_modules)  # a set is written in any order
    write_tensors(files.tensors, folder / "adapter_model.safetensors")
    files.config.save_pretrained(str(folder))
    return True
