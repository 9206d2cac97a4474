"""A search for the settings of one method on validation rows, in one process or several. Never reads a test row."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adaptune
from adaptune.compare.candidates import Candidate
from adaptune.compare.race import SAFETY
from adaptune.compare.running import Entry, Track, try_out
from adaptune.compare.search import Proposal, Search, State, open_search
from adaptune.compare.values import Trial, Tuning
from adaptune.core.config import Config
from adaptune.core.errors import AdaptuneError, Interrupted, Unsupported
from adaptune.core.files import write_atomically
from adaptune.core.head import LOG_LIKELIHOOD
from adaptune.core.log import notice, silence, warn
from adaptune.core.space import Among, Between, Values
from adaptune.engine.fit import Evaluation
from adaptune.engine.loop import plan_steps, usual_rate
from adaptune.prepare import Prepared, prepare, prepared_for
from adaptune.recipe import Recipe, load_recipe
from adaptune.run import observe

PLAN, RESULT = "plan.json", "tuning.json"
LONGEST = 40
"""Letters of a value that a recipe may hold and that is searched beside the method's own choices."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is searched, so that another process can search it, too."""

    recipe: str
    """Its file."""
    overrides: tuple[str, ...]
    task: str | None
    out: Path
    trials: int
    budget: float
    """Seconds."""
    workers: int = 1

    def load(self, *settings: str) -> Recipe:
        """The recipe with settings. Raises RecipeError."""
        return load_recipe(self.recipe, [*self.overrides, *settings], task=self.task)


EVALUATIONS = 4
"""Of a whole trial: after each of them it may be stopped."""


class SearchPlan(Config):
    """plan.json: written before the first trial, so that a search that goes on compares like with like."""

    fingerprint: str
    steps: int
    """Of every trial that is not stopped early."""
    of_steps: int
    """As many the recipe would take."""
    every: int
    """Steps between evaluations."""
    usual_rate: float


def tune(asked: Asked, prepared: Prepared, *, resume: bool = False) -> Tuning:
    """Try settings of the recipe's method, its own ones first, and say which did best and what mattered.

    Raises AdaptuneError for what the user can mend.
    """
    started = time.monotonic()
    recipe = asked.load()
    if recipe.track:
        notice("track: trials of a search are not tracked; the one you choose is, when it is trained")
    _open(asked.out, resume=resume)
    try:
        track = _track(recipe, prepared)
        plan = _planned(asked, track)
        space = space_of(recipe, plan.usual_rate)
        search = open_search(asked.out, space, seed=recipe.seed)
        search.abandon()
        search.begin_with(_own(recipe, space, plan.usual_rate))
        deadline = time.time() + asked.budget - (time.monotonic() - started)
        if asked.workers == 1:
            _try_all(asked, track, search, plan, deadline)
        else:
            _in_processes(asked, deadline)
        found = _result(asked, search, seconds=time.monotonic() - started)
        write_atomically(asked.out / RESULT, found.model_dump_json(indent=2) + "\n")
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; trials that are over are kept in {asked.out}; give the same command with --resume to go on",
            signal.SIGINT,
        ) from None
    return found


def space_of(recipe: Recipe, rate: float) -> dict[str, Values]:
    """What is varied: what the method declares, and the recipe's own values among it. Raises Unsupported."""
    space = dict(recipe.method.space(rate))
    if not space:
        raise Unsupported(f"method {recipe.method.name!r} has no setting to search for; tune another one, as lora")
    for path, values in space.items():
        if isinstance(values, Among) and (own := _value(recipe, path)) not in values.values and _plain(own):
            space[path] = Among((own, *values.values))
    return space


def _own(recipe: Recipe, space: Mapping[str, Values], rate: float) -> dict[str, Any]:
    """The recipe's own settings, as far as they lie in the space."""
    found = {}
    for path, values in space.items():
        own = _value(recipe, path)
        if isinstance(values, Between):
            found[path] = min(max(own or rate, values.low), values.high)
        elif own in values.values:
            found[path] = own
    return found


def _value(recipe: Recipe, path: str) -> Any:
    part, _, name = path.partition(".")
    return getattr(getattr(recipe, part), name)


def _plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool)) and len(str(value)) <= LONGEST


def _open(out: Path, *, resume: bool) -> None:
    if (out / PLAN).exists() and not resume:
        raise AdaptuneError(f"{out} holds a search; go on with it by --resume, or name another folder: --out")
    if not (out / PLAN).exists() and out.exists() and any(out.iterdir()):
        raise AdaptuneError(f"--out: {out} holds other files and no search; name a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)


def _track(recipe: Recipe, prepared: Prepared) -> Track:
    track = Track(recipe, prepared)
    track.pantry(recipe)  # what is wrong with the model ends the search
    return track


def _planned(asked: Asked, track: Track) -> SearchPlan:
    """As many steps a trial as let all trials end in time, were none stopped early."""
    file = asked.out / PLAN
    if file.exists():
        plan = SearchPlan.model_validate_json(file.read_bytes())
        if plan.fingerprint != track.prepared.fingerprint:
            raise AdaptuneError(f"{asked.out} holds a search with another recipe or other data; name another --out")
        return plan
    entry = Entry(Candidate(track.recipe.method.name, track.recipe.method))
    try_out(track, entry, track.recipe)
    kitchen = track.kitchen(track.recipe, track.prepared)
    of_steps = plan_steps(kitchen.batches(), track.recipe.train)
    if of_steps == 0:
        raise Unsupported("train.epochs is 0, so that there is nothing to search for; set it to 1 or more")
    fit = int(SAFETY * asked.budget * asked.workers / (asked.trials * max(entry.step_seconds, 1e-6)))
    steps = max(min(of_steps, EVALUATIONS), min(of_steps, fit))
    if steps < of_steps:
        notice(f"every trial takes {steps:,} of {of_steps:,} steps at most, so that the search ends in time")
    plan = SearchPlan(
        fingerprint=track.prepared.fingerprint,
        steps=steps,
        of_steps=of_steps,
        every=max(1, steps // EVALUATIONS),
        usual_rate=float(f"{track.recipe.train.learning_rate or usual_rate(kitchen.assembly):.3g}"),
    )
    write_atomically(file, plan.model_dump_json(indent=2) + "\n")
    return plan


def _in_processes(asked: Asked, deadline: float) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.workers, mp_context=context) as pool:
        for done in [pool.submit(_work, asked, number, deadline) for number in range(asked.workers)]:
            done.result()


def _work(asked: Asked, number: int, deadline: float) -> None:
    """One of several processes at the same search."""
    if number:
        silence()
    recipe = asked.load()
    plan = SearchPlan.model_validate_json((asked.out / PLAN).read_bytes())
    search = open_search(asked.out, space_of(recipe, plan.usual_rate), seed=recipe.seed + 1000 * (number + 1))
    _try_all(asked, _track(recipe, prepare(recipe)), search, plan, deadline)


def _try_all(asked: Asked, track: Track, search: Search, plan: SearchPlan, deadline: float) -> None:
    """One trial after another, while there are trials and time left; a trial that began is brought to its end."""
    longest = 0.0
    while (begun := search.begun()) < asked.trials and time.time() + longest < deadline:
        proposal, started = search.propose(), time.monotonic()
        notice(f"trial {begun + 1} of {asked.trials}: {' '.join(overrides_of(proposal.settings))}")
        score, state = _try_one(asked, track, proposal, plan)
        search.tell(proposal, score, state)
        longest = max(longest, time.monotonic() - started)


def _try_one(asked: Asked, track: Track, proposal: Proposal, plan: SearchPlan) -> tuple[float | None, State]:
    """The best validation score; a trial that fails is one of the search, not its end."""
    try:
        recipe = asked.load(*overrides_of(proposal.settings))
        steps = plan.steps if plan.steps < plan.of_steps else recipe.train.max_steps
        shape = {"max_steps": steps, "evaluate_every": plan.every, "patience": None}
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=shape)})
        kitchen = track.kitchen(recipe, prepared_for(recipe, track.prepared))
        fit = observe(kitchen, track.pantry(recipe), _pruning(proposal, kitchen.metric))
    except Interrupted:
        raise KeyboardInterrupt from None
    except Exception as error:
        warn(f"{' '.join(overrides_of(proposal.settings))}: {error}")
        return None, "failed"
    return fit.best.score, "complete" if fit.finished else "pruned"


def _pruning(proposal: Proposal, metric: str) -> Callable[[Evaluation], bool]:
    """Whether a trial is stopped after an evaluation; the warm start, which trials share, tells nothing."""

    def stop(event: Evaluation) -> bool:
        return event.step > 0 and proposal.report(event.scores[metric], event.step)

    return stop


def overrides_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """As the command line takes them."""
    values = {path: str(value).lower() if isinstance(value, bool) else value for path, value in settings.items()}
    return tuple(f"{path}={value}" for path, value in values.items())


def _result(asked: Asked, search: Search, *, seconds: float) -> Tuning:
    recipe = asked.load()
    trials = tuple(
        Trial(
            number=one.number,
            state=one.state,
            score=one.score,
            overrides=overrides_of(one.settings),
            seconds=one.seconds,
        )
        for one in search.tried()
    )
    best = next((trial for trial in trials if trial.state == "complete"), None)
    return Tuning(
        adaptune=adaptune.__version__,
        recipe=asked.recipe,
        watched=recipe.train.metric or (LOG_LIKELIHOOD if recipe.head.learns_texts else recipe.task.metric),
        trials=trials,
        best=best.score if best else None,
        usual=next((trial.score for trial in trials if trial.number == 0), None),
        overrides=(*asked.overrides, *best.overrides) if best else asked.overrides,
        importances=search.importances(),
        seconds=seconds,
    )
