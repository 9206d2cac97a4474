"""The quickstart notebook runs from its first cell to its last, and what it prints is fit to be read there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "quickstart.ipynb"
THINGS = ("film", "book", "phone", "train", "game", "house", "bank", "river")


EXECUTE = """
import sys
import nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""
"""In a process of its own: the loops and sockets of a kernel's client are closed by its end."""


def test_the_quickstart_runs_to_its_end(tiny_bert: Path, tmp_path: Path) -> None:
    rows = [
        f"the {thing} was {word},{'positive' if place < 2 else 'negative'}"
        for thing in THINGS
        for place, word in enumerate(("good", "great", "bad", "poor"))
    ]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (tmp_path / "recipe.yaml").write_text(
        f"task: classify\ndata: {{train: rows.csv, test_share: 0.25, valid_share: 0.25}}\nmodel: {tiny_bert}\n"
        "train: {max_steps: 3, batch_rows: 4, evaluate_every: 1, device: cpu}\n"
    )
    smaller = {"QUICKSTART_MODEL": str(tiny_bert), "QUICKSTART_RECIPE": "recipe.yaml"}
    own = {"IPYTHONDIR": str(tmp_path / "ipython"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", EXECUTE, str(NOTEBOOK), str(tmp_path / "done.ipynb")]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | smaller | own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    shown = {cell: "".join(map(_html, found)) for cell, found in outputs.items()}
    train, plot, predict, listed = (shown[cell] for cell in list(shown)[2:])
    assert "<td>test</td><td>accuracy</td>" in train
    assert "image/png" in plot
    assert predict.count("<tr>") == 4
    assert {"finished", "classify", "lora"} <= set(re.sub(r"\x1b\[[0-9;]*m", "", listed).split())
    progress = [one for one in outputs[list(outputs)[2]] if "train  " in str(one.get("data", {}).get("text/plain"))]
    assert len(progress) <= 1, "one line that changes, not one for every evaluation"


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []


def _html(output: nbformat.NotebookNode) -> str:
    """As a notebook would show it, or the kind of a picture."""
    if output.output_type == "stream":
        return str(output.text)
    data = output.data
    return "image/png" if "image/png" in data else str(data.get("text/html", data.get("text/plain", "")))
