"""Makes the environments of the systems that bench/side_by_side.py measures: one a system, PyTorch once for all.

    python bench/environments.py [--folder .bench] [--index URL] [--only NAME]

bench/environments/NAME.txt pins every package of one; what stands in base.txt (torch and what it needs) is installed
once and seen by all through a path file. An environment whose pins have not changed is left as it is. Standard library
alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "bench" / "environments"
BASE = "base"


def main() -> None:
    """Every environment that is not there."""
    options = parse()
    names = [options.only] if options.only else sorted(file.stem for file in PINS.glob("*.txt") if file.stem != BASE)
    for name in [BASE, *names]:
        make(options.folder, name, options.index)
        print(f"{name}: {size(options.folder / name) / 1e6:,.0f} MB", flush=True)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench", help="where they stand (default: .bench)")
    parser.add_argument("--index", help="another index for PyTorch, such as that of its builds for processors")
    parser.add_argument("--only", metavar="NAME", help="one of them, beside the base")
    return parser.parse_args()


def make(folder: Path, name: str, index: str | None) -> None:
    """One environment; half-made ones are made anew."""
    own, pins = folder / name, (PINS / f"{name}.txt").read_text(encoding="utf-8")
    stamp = own / "pins.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == pins:
        return
    shutil.rmtree(own, ignore_errors=True)
    venv.create(own, with_pip=True)
    if name != BASE:
        (packages(own) / "base.pth").write_text(f"{packages(folder / BASE)}\n")
    more = ["--extra-index-url", index] if index else []
    install(own, "--requirement", str(PINS / f"{name}.txt"), *more)
    if name == "adaptune":
        install(own, "--no-deps", "--editable", str(ROOT))
    stamp.write_text(pins, encoding="utf-8")


def install(own: Path, *what: str) -> None:
    """By pip, with exact versions also of what builds packages."""
    constraints = str(ROOT / "constraints.txt")
    environment = os.environ | {"PIP_BUILD_CONSTRAINT": constraints}
    command = [str(python(own)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    subprocess.run([*command, *what], check=True, env=environment)
    # Bytecode is made now: the first start of a system must not pay for it.
    subprocess.run([str(python(own)), "-m", "compileall", "-qq", "-j", "0", str(packages(own))], check=False)


def python(own: Path) -> Path:
    """Its interpreter."""
    return own / "bin" / "python"


def packages(own: Path) -> Path:
    """Where its packages stand."""
    return own / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def size(own: Path) -> int:
    """Bytes of its packages, without pip and without bytecode."""
    files = (file for file in packages(own).rglob("*") if file.is_file() and not file.is_symlink())
    return sum(
        file.stat().st_size
        for file in files
        if file.suffix != ".pyc" and file.relative_to(packages(own)).parts[0].partition("-")[0] != "pip"
    )


if __name__ == "__main__":
    main()
