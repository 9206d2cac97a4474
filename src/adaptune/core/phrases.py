"""A calibration in sentences, and the name of a label as a text. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ROWS = {"test": "test", "valid": "validation"}


def calibration_lines(calibration: Mapping[str, Any]) -> list[str]:
    """What was fitted and what it is worth on test rows, or on validation rows where there are no others."""
    measured = calibration["measured"]
    part = next((part for part in _ROWS if part in measured), None)
    worth, rows = ({}, "") if part is None else (measured[part], f"of {_ROWS[part]} rows")
    temperature = calibration["temperature"]
    lines = ["no temperature" if temperature == 1 else f"temperature {temperature:.4g}, fitted on validation rows"]
    if worth:
        changes = ", ".join(
            f"{what} {worth[f'{name}_before']:.4f} -> {worth[name]:.4f}"
            for name, what in (("ece", "expected calibration error"), ("brier", "Brier score"))
        )
        lines.append(f"{changes} ({rows})")
    if (abstain := calibration["abstain"]) is not None:
        line = f"abstains below probability {abstain['below']:.4g}"
        if "answered" in worth:
            right = f", {worth['accuracy_answered']:.1%} of them rightly" if "accuracy_answered" in worth else ""
            line += f": answers {worth['answered']:.1%} {rows}{right}"
        lines.append(line)
    if (scope := calibration["scope"]) is not None:
        line = f"out of scope where {scope['score']} is above {scope['above']:.4g}"
        if "kept" in worth:
            line += f": keeps {worth['kept']:.1%} {rows} in scope"
        if "auroc" in worth:
            line += f", finds {worth['found']:.1%} of those out of scope, AUROC {worth['auroc']:.4f}"
        lines.append(line)
    return lines


def spoken(name: str) -> str:
    """`card_arrival` as people would write it."""
    return " ".join(name.replace("_", " ").split()) or name
