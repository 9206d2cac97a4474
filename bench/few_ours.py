"""`adaptune train` on a few rows with the processor's seconds of its training on the clock, as SetFit's are taken.

python bench/few_ours.py RECIPE KEY=VALUE ...: the run folder is the recipe's, and beside it lies `busy.json`.
"""

from __future__ import annotations

import json
import sys
import time

from adaptune.core.environment import environment
from adaptune.core.run_folder import RunDir
from adaptune.prepare import prepare
from adaptune.recipe import load_recipe
from adaptune.run import Clock, finish, learn
from adaptune.run.kitchen import set_up


def main() -> None:
    """One recipe."""
    recipe = load_recipe(sys.argv[1], sys.argv[2:])
    prepared, folder = prepare(recipe), RunDir(recipe.out)
    folder.begin(recipe.as_yaml(), environment() | prepared.record(), overwrite=False)
    kitchen = set_up(recipe, prepared)
    busy = time.process_time()
    fit = learn(kitchen, folder, resume=False)
    busy = time.process_time() - busy
    finish(kitchen, fit, folder, Clock())
    (recipe.out / "busy.json").write_text(json.dumps(busy), encoding="utf-8")


if __name__ == "__main__":
    main()
