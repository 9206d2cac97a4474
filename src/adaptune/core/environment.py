"""What a result depends on beside recipe and data: versions and machine. Knows no recipe."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from adaptune.core.lazy import torch

LIBRARIES = (
    "adaptune",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
    "numpy",
    "scikit-learn",
)


def main_process() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def environment() -> dict[str, Any]:
    """Versions of the libraries that matter, the machine, and the folder that relative paths start from."""
    return {
        "directory": str(Path.cwd()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def peak_memory_mb() -> float:
    """The most main memory that this process has held, in MB of 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
