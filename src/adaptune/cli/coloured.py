"""Rows in tokens as coloured text; without colours the same signs say what carries loss. Imports rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from adaptune.data.readings import AsRead, Learned, Token
from adaptune.readings import RowReadings

LEGEND = {
    "token=label": "this token carries loss, with this label",
    "<token>": "the head reads the label of the whole sequence here",
}


def print_readings(rows: Sequence[RowReadings]) -> None:
    """Every token sequence of every row, and below them what the signs mean that stand there."""
    console = Console(highlight=False)
    for row in rows:
        for text in _row(row):
            console.print(text, soft_wrap=not console.is_terminal)
    tokens = [token for row in rows for reading in row.sequences for token in (*reading.tokens, *reading.decoder)]
    used = {"token=label": any(token.label is not None for token in tokens), "<token>": any(t.read for t in tokens)}
    for sign, meaning in LEGEND.items():
        if used[sign]:
            console.print(Text(f"{sign}: {meaning}", style="dim"), soft_wrap=True)


def _row(row: RowReadings) -> list[Text]:
    if not row.sequences:
        return [Text(row.where, style="bold"), Text("  left out: the recipe skips it")]
    lines = []
    for number, reading in enumerate(row.sequences, 1):
        of = f", sequence {number} of {len(row.sequences)}" if len(row.sequences) > 1 else ""
        lines += [Text(row.where + of, style="bold"), *_reading(reading)]
    return lines


def _reading(reading: AsRead) -> list[Text]:
    lines = [Text.assemble("  label:    ", (_shown(reading.label), "bold green"))] if reading.label is not None else []
    if not reading.learns:
        lines.append(Text("  label:    none, nothing of it carries loss"))
    lines.append(_line("  tokens:  ", reading.tokens))
    return [*lines, _line("  decoder: ", reading.decoder)] if reading.decoder else lines


def _line(name: str, tokens: Sequence[Token]) -> Text:
    line = Text(name)
    for token in tokens:
        line.append(" ")
        line.append(f"<{token.text}>" if token.read else token.text, style=_style(token))
        if token.label is not None:
            line.append(f"={_shown(token.label)}", style="bold green")
    return line


def _style(token: Token) -> str:
    if token.label is not None:
        return "green"
    if token.read:
        return "bold cyan"
    return "dim" if token.special else ""


def _shown(label: Learned) -> str:
    if isinstance(label, tuple):
        return ", ".join(label) or "none of them"
    return label if isinstance(label, str) else f"{label:g}"
