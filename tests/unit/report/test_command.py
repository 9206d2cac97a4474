"""`adaptune report`: the command that writes a page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .conftest import Folder


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from adaptune.cli import main\ntry:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "report", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_report_is_written_where_it_is_asked_for_without_torch(run: Folder, tmp_path: Path) -> None:
    folder, out = run(), tmp_path / "pages" / "report.html"
    done = _run(str(folder), "--out", str(out), "--language", "zh")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"report: {out}\nFalse\n", "")
    assert '<html lang="zh-CN">' in out.read_text(encoding="utf-8")
    assert not (folder / "report.html").exists()


def test_what_holds_no_run_is_refused_with_exit_code_2(tmp_path: Path) -> None:
    done = _run(str(tmp_path))
    assert done.returncode == 2
    assert "holds neither a run nor a comparison: it has no environment.json and no comparison.json" in done.stderr
