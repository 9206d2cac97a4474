"""A comparison from its first step to its verdict: trials, rounds, finals, test rows. Here the room comes together."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean

from adaptune.compare.baselines import baseline_answers
from adaptune.compare.candidates import Candidate
from adaptune.compare.gathering import Finished, gather
from adaptune.compare.race import Costs, for_so_many, kept, lay_out, others, ranking, reached
from adaptune.compare.running import NO_STEPS, Entry, Track, curve_of, is_finished, look, train_to, try_out
from adaptune.compare.values import Comparison, Plan, Status
from adaptune.core.config import Config
from adaptune.core.errors import AdaptuneError, Interrupted
from adaptune.core.files import replacing_folder, write_atomically
from adaptune.core.head import LOG_LIKELIHOOD
from adaptune.core.log import notice, warn
from adaptune.core.run_folder import RunDir
from adaptune.methods.head_only import HeadOnly
from adaptune.prepare import Prepared
from adaptune.recipe import Recipe
from adaptune.run import Kitchen, warmed

PLAN, RESULT, BUNDLE = "plan.json", "comparison.json", "bundle"
"""Files of a comparison's folder, beside runs/."""


class Layout(Config):
    """plan.json: written before anything is trained, so that a resumed comparison goes on with the same race."""

    fingerprint: str
    """Of recipe and data."""
    seeds: int
    """As many were asked for."""
    plan: Plan
    notes: tuple[str, ...]


@dataclass(slots=True)
class Race:
    """A comparison under way."""

    track: Track
    entries: dict[str, Entry]
    seeds: Sequence[int]
    deadline: float
    """On the monotonic clock."""
    layout: Layout
    finishing: float
    """Seconds that scoring test rows and saving a bundle takes, about."""
    notes: list[str] = field(default_factory=list)

    @property
    def alive(self) -> list[Entry]:
        """Those that nothing stands against."""
        return _alive(self.entries)

    def plan_of(self, entry: Entry) -> Plan:
        """The race's, or none where the candidate takes no step."""
        return self.layout.plan if entry.of_steps else NO_STEPS

    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()


def compare(
    recipe: Recipe,
    prepared: Prepared,
    candidates: Sequence[Candidate],
    *,
    seeds: int = 3,
    budget: float = 900.0,
    resume: bool = False,
) -> Comparison:
    """Which candidate to use, by a race on validation rows and test rows that are read once a run of a finalist.

    `recipe`: as `settled` gives it, and `prepared` is of that; `recipe.out` is the comparison's folder. Raises
    AdaptuneError for what the user can mend; what is wrong with a candidate is said in its row.
    """
    started = time.monotonic()
    layout = _opened(recipe.out, prepared, resume=resume)
    try:
        track = Track(recipe, prepared)
        _load_words(track, candidates)
        base = _base(track)
        race = _begun(track, base, candidates, layout, seeds=seeds, deadline=started + budget)
        _run_rounds(race)
        _run_finals(race)
        notice("baselines on test rows")
        found = Finished(race.entries, race.seeds, baseline_answers(base), race.layout.plan, race.notes)
        comparison = gather(track, base, found, budget=budget, seconds=time.monotonic() - started)
        _write(comparison, recipe.out)
        for entry in race.entries.values():
            if entry.status == "stopped":  # one that time ran out for may go on
                shutil.rmtree(track.folder(entry.candidate, race.seeds[0]).checkpoint, ignore_errors=True)
        track.forget()
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; what is finished is kept in {recipe.out}; give the same command with --resume to go on",
            signal.SIGINT,
        ) from None
    return comparison


def _opened(out: Path, prepared: Prepared, *, resume: bool) -> Layout | None:
    """The plan of a comparison that is gone on with. Raises AdaptuneError."""
    file = out / PLAN
    if not file.exists():
        if out.exists() and any(out.iterdir()):
            raise AdaptuneError(f"--out: {out} holds other files and no comparison; name a new or empty folder")
        out.mkdir(parents=True, exist_ok=True)
        return None
    if not resume:
        raise AdaptuneError(
            f"{out} holds a comparison; go on with it, or add candidates, by --resume, or name another folder: --out"
        )
    layout = Layout.model_validate_json(file.read_bytes())
    if layout.fingerprint != prepared.fingerprint:
        raise AdaptuneError(f"{out} holds a comparison with another recipe or other data; name another folder: --out")
    return layout


def _base(track: Track) -> Kitchen:
    """The model as it is before training, with the warm start that most candidates share."""
    recipe = track.recipe.model_copy(update={"method": HeadOnly()})
    kitchen = track.kitchen(recipe, track.prepared)
    linear = kitchen.assembly.head.linear(kitchen.assembly.layer)
    if recipe.train.warm_start and linear is not None and kitchen.examples("train"):
        notice("the head's optimum on frozen features, shared by all that begin with these")
        warm = warmed(kitchen)
        assert warm is not None, "there is a linear layer and the recipe asks for a warm start"
        track.pantry(recipe).keep_warm(kitchen, warm)
    return kitchen


def _load_words(track: Track, candidates: Sequence[Candidate]) -> None:
    """The base with its output layer over words first, where a candidate reads these: others then share its tensors.

    What stands against it is said in that candidate's row.
    """
    for candidate in candidates:
        with suppress(AdaptuneError):
            recipe = candidate.recipe(track.recipe)
            if recipe.head.reads_words:
                track.pantry(recipe)
                return


def _begun(
    track: Track,
    base: Kitchen,
    candidates: Sequence[Candidate],
    layout: Layout | None,
    *,
    seeds: int,
    deadline: float,
) -> Race:
    """Every candidate tried, what takes no step looked at, and the race laid out unless it is."""
    entries = {candidate.name: Entry(candidate) for candidate in candidates}
    for entry in entries.values():
        _guarded(entry, partial(try_out, track, entry), "refused")
    first, late = track.recipe.seed, []
    for entry in (one for one in _alive(entries) if not one.of_steps):
        if time.monotonic() > deadline and any(one.look_seconds for one in entries.values()):
            entry.status = "out of time"
            late.append(f"{entry.candidate.name} was not looked at: time was up")
            continue
        notice(f"without a step: {entry.candidate.name}")
        _guarded(entry, partial(look, track, entry, first), "failed")
    racing = [entry for entry in _alive(entries) if entry.of_steps]
    costs = _costs(base, _alive(entries))
    if layout is None or (racing and not layout.plan.steps):  # such a plan was laid out without a race
        of_steps = max((entry.of_steps for entry in racing), default=0)
        plan, notes = lay_out(len(racing), seeds, of_steps, costs, deadline - time.monotonic())
        layout = Layout(fingerprint=track.prepared.fingerprint, seeds=seeds, plan=plan, notes=notes)
        write_atomically(track.recipe.out / PLAN, layout.model_dump_json(indent=2) + "\n")
    count = layout.plan.seeds if seeds == layout.seeds else seeds
    notes = (*(text for text in layout.notes if count == layout.plan.seeds or "seeds are run" not in text), *late)
    for text in notes:
        notice(text)
    plan = for_so_many(layout.plan, len(racing)).model_copy(update={"seeds": count})
    layout = layout.model_copy(update={"plan": plan})
    return Race(track, entries, range(first, first + count), deadline, layout, costs.a_finish, list(notes))


def _alive(entries: Mapping[str, Entry]) -> list[Entry]:
    return [entry for entry in entries.values() if entry.status in ("stopped", "compared")]


def _costs(base: Kitchen, alive: Sequence[Entry]) -> Costs:
    """By the trials, and one look at the validation rows."""
    started = time.monotonic()
    base.watch()
    evaluation = time.monotonic() - started
    rows = {part: len(base.examples(part)) for part in ("valid", "test")}
    # A bundle's reference of validation rows, its golden answers and the calibration read these rows again.
    finish = evaluation * (3 + rows["test"] / max(1, rows["valid"]))
    racing, looked = ([one for one in alive if bool(one.of_steps) == steps] for steps in (True, False))
    passes = 2 + len(base.examples("train")) / max(1, rows["valid"])
    return Costs(
        a_step=fmean(entry.step_seconds for entry in racing) if racing else 0.0,
        an_evaluation=evaluation,
        a_finish=finish,
        a_start=fmean(entry.own_start for entry in racing) * passes * evaluation if racing else 0.0,
        others=max((entry.look_seconds for entry in looked), default=0.0) + finish if looked else 0.0,
    )


def _run_rounds(race: Race) -> None:
    """The first seed of every candidate that takes steps, to the end of each round; a part stays."""
    plan = race.layout.plan
    staying = [entry for entry in race.alive if entry.of_steps]
    count = len(staying)
    for number, until in enumerate(plan.rounds):
        for entry in staying:
            if race.left() < 0 and any(other.rounds > number for other in race.alive):
                _out_of_time(race, entry)
                continue
            _advance(race, entry, race.seeds[0], until, f"round {number + 1} of {len(plan.rounds)}, to step {until}")
            entry.rounds = number + 1
        staying = _best(race, [entry for entry in staying if entry.status == "stopped"], until)
        staying = staying[: kept(count, number + 1)]


def _best(race: Race, entries: Sequence[Entry], until: int | None) -> list[Entry]:
    """Those that have been evaluated, the best first."""
    watched, scores = _watched(race.track), {}
    for entry in entries:
        curve = curve_of(race.track.folder(entry.candidate, race.seeds[0]), watched)
        if curve:
            scores[entry.candidate.name] = reached([(point.step, point.score) for point in curve], until)
    cheap = {name: entry.trained for name, entry in race.entries.items()}
    return [race.entries[name] for name in ranking(scores, cheap)]


def _run_finals(race: Race) -> None:
    """The best to the end, then the other seeds, as far as there is time.

    Candidates that an earlier comparison in this folder has finished are compared, too.
    """
    plan = race.layout.plan
    racing = [entry for entry in race.alive if entry.of_steps]
    order = _best(race, racing, plan.rounds[-1] if plan.rounds else None)
    order.sort(key=lambda entry: -entry.rounds)
    order += [entry for entry in racing if entry not in order]
    looked = _best(race, [entry for entry in race.alive if not entry.of_steps], None)
    finalists = [*_first_finals(race, looked, others(len(racing))), *_first_finals(race, order, plan.finalists)]
    for seed in race.seeds[1:]:
        for entry in finalists:
            done = is_finished(race.track, entry, seed, race.plan_of(entry))
            if not done and race.left() < _cost(race, entry, 0):
                _note(race, f"{entry.candidate.name} was not run with seed {seed}: time was up")
                continue
            _advance(race, entry, seed, None, f"final, seed {seed}")


def _first_finals(race: Race, order: Sequence[Entry], count: int) -> list[Entry]:
    """The first seed of so many candidates to the end, the next ones where some fail."""
    first, late = race.seeds[0], False
    finalists: list[Entry] = []
    for entry in order:
        done = is_finished(race.track, entry, first, race.plan_of(entry))
        if not done and (late or len(finalists) >= count):
            continue
        if not done and finalists and race.left() < _cost(race, entry, entry.rounds):
            late = True
            _out_of_time(race, entry)
            continue
        _advance(race, entry, first, None, f"final, seed {first}")
        if entry.seeds:
            finalists.append(entry)
            entry.status = "compared"
    return finalists


def _advance(race: Race, entry: Entry, seed: int, until: int | None, about: str) -> None:
    plan = race.plan_of(entry)
    notice(f"{about}: {entry.candidate.name}")
    _guarded(entry, partial(train_to, race.track, entry, seed, plan, until), "failed")
    if until is None and is_finished(race.track, entry, seed, plan):
        entry.seeds.append(seed)


def _guarded(entry: Entry, work: Callable[[], None], status: Status) -> None:
    """What goes wrong with one candidate is said in its row; a finalist that has finished runs stays one."""
    try:
        work()
    except Interrupted:
        raise
    except Exception as error:
        text = str(error) if isinstance(error, AdaptuneError) else f"{type(error).__name__}: {error}"
        entry.error = text
        unfit = isinstance(error, AdaptuneError) and status == "refused"
        if not entry.seeds:
            entry.status = "refused" if unfit else "failed"
        warn(f"{entry.candidate.name}: {text}")


def _cost(race: Race, entry: Entry, rounds: int) -> float:
    """Seconds to train one seed to its end from the end of a round, and to finish it."""
    plan = race.layout.plan
    if not entry.of_steps:
        return entry.look_seconds + race.finishing
    done = plan.rounds[rounds - 1] if rounds else 0
    return (plan.steps - done) * entry.step_seconds + race.finishing


def _out_of_time(race: Race, entry: Entry) -> None:
    entry.status = "out of time"
    _note(race, f"{entry.candidate.name} was not trained to the end: time was up")


def _note(race: Race, text: str) -> None:
    race.notes.append(text)
    notice(text)


def _watched(track: Track) -> str:
    recipe = track.recipe
    return recipe.train.metric or (LOG_LIKELIHOOD if recipe.head.learns_texts else recipe.task.metric)


def _write(comparison: Comparison, out: Path) -> None:
    """The winner's bundle first: the comparison names it."""
    if comparison.verdict is not None:
        name = comparison.verdict.alike[0]
        row = next(row for row in comparison.candidates if row.name == name)
        best = max((run for run in row.runs if run.finished), key=lambda run: run.valid or 0.0)
        with replacing_folder(out / BUNDLE) as folder:
            shutil.copytree(RunDir(out / best.folder).bundle, folder, dirs_exist_ok=True)
    write_atomically(out / RESULT, comparison.model_dump_json(indent=2) + "\n")
