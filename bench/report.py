"""Writes docs/bench.md and its plots from the JSON of bench/side_by_side.py; runs nothing.

python bench/report.py [--results results/bench] [--out docs/bench.md]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from adaptune.report.plots import Curve, draw_bars, draw_curves
from final_scores import scorer
from peers.catalogue import PEERS, SETTINGS, WINDOWS, settings_of
from peers.rows import TASKS, Task
from profiles import profiled
from ratios import OWN, SHARE, goal_of, seconds_to, summary
from tables import difference, table
from technique_table import techniques

ROOT = Path(__file__).resolve().parent.parent
SHOWN = {"tuned": "tuned by us", "padded": "without dropout alone", "documented": "as documented"}
WINDOW = 20
"""Seconds of a window of throughput, where it is not cut."""
HEAD = """# Training, side by side

adaptune beside other ways to train a LoRA adapter, on one machine, on the same rows. This page and its plots are made
by `python bench/report.py` from one JSON a measurement under `results/bench/`. To measure again, on a quiet machine:
`ADAPTUNE_DATA=FOLDER make bench MODELS=FOLDER BUDGET=minutes ROWS=1000` (finished measurements are skipped).

- **Systems**: `bench/peers/`, a process each, in environments that `bench/environments/` pins; PyTorch is the same for
  all. LoRA has rank 8 on all matrices of attention, but for SetFit and the naive guide, which train whole encoders.
- **As documented**: each system's own values, dropout included: for transformers' Trainer and the loop by hand those
  of peft's quicktour; for trl those of SFTConfig, bf16 and gradients computed anew among them; for SetFit eight
  sentences a label.
- **Without dropout alone**: dropout off on both sides and fp32, batches as documented; throughput alone.
- **Tuned by us**: dropout off on all sides, fp32, batches of like lengths where the system can, and the best of three
  learning rates by validation after one pass over a sample; on all rows half of that. The loop by hand is as fast as
  we can write one; that its gradients are adaptune's is a test (`tests/unit/test_side_by_side.py`).
- **Rows of a batch**: each system's own; where texts are learned in trainings to the end 8, which is trl's default,
  for all that are tuned, so that the few rows that there is time for make some steps.
- **Tokens** are real ones, padding not counted. adaptune does not read the last token of a text that is written, since
  nothing is predicted from it, and does not count it.
- **Rows**: `bench/peers/rows.py`; all systems are given the same passes over them. Where a training read a sample of
  them, it is spread evenly over the file.
- **adaptune, bi-encoder**, on pairs of sentences: its task `match`, which reads each sentence by itself, as this model
  was pretrained to, instead of both together, as the others do and as its task `regress` does.
- **adaptune, upper layers**: its defaults and `method.skip_layers=2`, so that LoRA changes the upper four of six layers
  alone. What the lower two give for each text is computed once and kept.
"""
LEFT = """## What was tried, and what is left

- **Two trainings at once** were measured, each on a core of its own, between calibrations that ran nearly as fast as
  alone. Rates were tried beside other work, which changes no score.
- **Against the loop by hand** there is no gain in throughput: most of a step are products of matrices, which both do
  at nearly the speed that this machine has for them alone. All that is left beside them, taken together, could make a
  step no more than a third faster; the table below says what it consists of.
- **bf16** is of no use on this processor, which has no instructions for it: see the last technique.
- **torch.compile** of a step was not through after 80 seconds of the processor, for the first of many lengths, which is
  longer than whole trainings here: it is not offered.
- **Less work for the same score** comes from the warm start, where a head on frozen features is nearly all there is to
  learn (intents), from reading pairs as the model was made for, from averages of weights, and from layers that go
  without LoRA: with that in the upper four of six alone a pass takes two thirds of the time.
- **Defaults before tuning**: one pass over a sample prefers rates that are too high for five passes, in adaptune's case
  over that of its own rule (0.004 here), with which it is better on BANKING77 and WNUT17; the loop by hand comes to
  nothing on SST-2 at the rate so chosen, and is better there as documented.
- **SST-2** is where adaptune ends below the best other system (one seed): by more than the interval on the test rows,
  not on validation rows. Batches of half the size, three passes instead of five and LoRA in the upper layers alone
  were tried there, and changed nothing for the better.
- **Batches of 512 tokens** instead of 1,024 come to a score in fewer passes on WNUT17 (three, with the upper layers
  alone: 49.8 after 64 s), and end lower on BANKING77 and SST-2: the default stays. These and the tries on SST-2 were
  single runs beside other work, which are not in the tables.
- **Trainer on WNUT17** ends without one entity at each rate that was tried for five passes: it answers that no word is
  part of one. Two passes at 0.004, whose steps become small sooner, came to 42.6 once, which is not in the table.
- **Not measured**: GPUs (bf16, flash attention and fused kernels there); SetFit trained to its end but once; e2e-nlg as
  documented, where others load SmolLM2 in bf16 and a step takes minutes here.
"""

OF_WINDOWS = """Median of windows that the systems took in turn, least and greatest in brackets. Share: operations that
these tokens call for (`bench/peers/limit.py` has the formula), of those a second that products of the model's own
matrices reach alone, in windows of the same rounds.
"""

Run = dict[str, Any]


def main() -> None:
    """The page and its plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "bench")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "bench.md")
    options = parser.parse_args()
    text = HEAD + "".join(f"\n{section}" for section in sections(options.results, options.out.with_suffix("")))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")


def sections(results: Path, plots: Path) -> Iterator[str]:
    """Markdown; `plots` is the folder beside the page that its plots stand in."""
    sessions = loaded(results / "throughput")
    runs, whole = loaded(results / "quality"), loaded(results / "whole")
    yield shrunk(sessions, runs, whole, loaded(results / "rates"))
    yield summary(sessions, runs, whole)
    for setting in reversed(WINDOWS):
        if some := [session for session in sessions if session["setting"] == setting]:
            yield throughput(some, setting, plots)
    if sessions:
        yield costs(sessions)
    for task in TASKS.values():
        for found, name in ((runs, task.name), (whole, f"{task.name}-whole")):
            if some := [run for run in found if run["task"] == task.name]:
                yield quality(task, some, plots, name)
    if text := profiled(loaded(results / "profile")):
        yield LEFT
        yield text
    if text := techniques(results):
        yield text


def loaded(folder: Path) -> list[Run]:
    """Every measurement below a folder, in the order of tasks and systems."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob("*.json"))]
    tasks, peers = list(TASKS), list(PEERS)
    return sorted(found, key=lambda run: (tasks.index(run["task"]), peers.index(run.get("system", peers[0]))))


def shrunk(sessions: Sequence[Run], runs: Sequence[Run], whole: Sequence[Run], trials: Sequence[Run]) -> str:
    """What was measured on, and what is missing or less than planned; `whole`: trainings on all rows."""
    lines = ["## What was measured, and what was shrunk\n\n"]
    everything = [*sessions, *runs, *whole]
    for text in sorted({machine_of(run) for run in everything}):
        lines.append(f"- Machine: {text}.\n")
    lines.append(
        "- Planned smaller than it could be: e2e-nlg has one reference of each attribute list, one pass and 200 test "
        "lists, and its texts are scored by the probability of their tokens, not generated; learning rates are tried "
        "for one pass; three seeds are for BANKING77 alone; a training ends after ten minutes.\n"
    )
    lines += short_windows(sessions)
    for name, there, planned in counted(sessions, runs, trials):
        if there < planned:
            lines.append(f"- {name}: {there} of {planned} are there.\n")
    if whole:
        lines.append(f"- Trainings on all rows, which nothing but time limits: {len(whole)} are there.\n")
    if capped := [named(run) for run in [*runs, *whole] if run["capped"]]:
        lines.append(f"- Cut off by the time limit: {', '.join(capped)}.\n")
    if failed := [f"{s['failed']} on {s['task']}, {s['setting']}" for s in sessions if s["failed"]]:
        lines.append(f"- Systems that failed in a measurement of throughput: {'; '.join(failed)}.\n")
    if busy := sum(bool(run["busy"]) for run in everything):
        lines.append(f"- {busy} measurements were made on a machine that may have been busy.\n")
    return "".join(lines)


def short_windows(sessions: Sequence[Run]) -> Iterator[str]:
    """What was looked at more briefly than planned."""
    short: dict[str, list[str]] = {}
    for session in sessions:
        if session.get("window_seconds", WINDOW) < WINDOW:
            rounds = max(len(peer["tokens_per_second"]) for peer in session["peers"].values())
            short.setdefault(f"{rounds} windows of {session['window_seconds']:g} s", []).append(session["task"])
    for windows, tasks in short.items():
        yield f"- {windows} of a system, and not 5 of {WINDOW} s: {', '.join(dict.fromkeys(tasks))}.\n"


def machine_of(run: Run) -> str:
    """In words."""
    found = run["machine"]
    cores = f"{found.get('cores_used', found['cores'])} of {found['cores']} cores"
    return f"{found['processor']}, {cores}, {found['memory_gb']} GB, {found['threads']} threads a system"


def counted(sessions: Sequence[Run], runs: Sequence[Run], trials: Sequence[Run]) -> Iterator[tuple[str, int, int]]:
    """Of each kind of measurement how many are there, and how many are planned."""
    pairs = [(peer, task) for peer in PEERS.values() for task in peer.tasks]
    settings = sum(len(settings_of(peer)) for peer, _ in pairs)
    seeds = 2 * sum("tuned" in settings_of(peer) for peer, task in pairs if task == "banking77") + 4
    yield "Throughput, by task and setting", len(sessions), len(TASKS) * len(WINDOWS)
    yield "Trainings on samples of rows", len(runs), settings + seeds
    tried = [len(peer.rates.get(TASKS[task].kind, ())) for peer, task in pairs]
    yield "Trials of learning rates", len(trials), sum(count for count in tried if count > 1)


def named(run: Run) -> str:
    """`trl on e2e-nlg, as documented`"""
    return f"{PEERS[run['system']].shown} on {run['task']}, {SHOWN[run['setting']]} (seed {run['seed']})"


def throughput(sessions: Sequence[Run], setting: str, plots: Path) -> str:
    """Real tokens a second, the spread of windows, and the share of what the machine can do."""
    lines = [f"## Real tokens a second, {SHOWN[setting]}\n\n{OF_WINDOWS}\n"]
    names = [name for name in PEERS if any(name in session["peers"] for session in sessions)]
    rows = [[PEERS[name].shown, *(cell(session, name) for session in sessions)] for name in names]
    lines.append(table(["system", *(session["task"] for session in sessions)], rows))
    for session in sessions:
        bars = {PEERS[n].shown: session["peers"][n]["tokens_per_second"] for n in names if n in session["peers"]}
        if bars:
            title = f"{session['task']}, {SHOWN[setting]}"
            files = draw_bars(plots / f"throughput-{session['task']}-{setting}", title, "real tokens a second", bars)
            lines.append(picture(title, files, plots))
    return "".join(lines)


def cell(session: Run, name: str) -> str:
    """`5,210 (5,180 to 5,260), 61 %`"""
    found, limit = session["peers"].get(name), session["limit"]
    if found is None:
        return "-"
    rates = found["tokens_per_second"]
    text = f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
    if limit is None:
        return text
    share = median(rates) * limit["operations_per_token"] / median(limit["operations_per_second"])
    return f"{text}, {100 * share:.0f} %"


def costs(sessions: Sequence[Run]) -> str:
    """Seconds to the first step, memory, environment."""
    rows = []
    for name in PEERS:
        found = [(s["task"], s["peers"][name]) for s in sessions if s["setting"] == "tuned" and name in s["peers"]]
        found = found or [(s["task"], s["peers"][name]) for s in sessions if name in s["peers"]]
        if found:
            starts = ", ".join(f"{task} {peer['startup_seconds']:.0f}" for task, peer in found)
            memory = ", ".join(f"{task} {peer['peak_memory_mb']:,}" for task, peer in found)
            own = found[0][1]
            rows.append([PEERS[name].shown, starts, memory, f"{own['environment_mb']:,} ({own['of_it_torch_mb']:,})"])
    names = ["system", "seconds until the first step is done", "peak memory, MB", "environment, MB (of it PyTorch)"]
    about = "Of the processes above, since they were started: imports, reading and tokenising included."
    return f"## What it takes\n\n{about}\n\n{table(names, rows)}"


def quality(task: Task, runs: Sequence[Run], plots: Path, name: str) -> str:
    """How good, and how soon; `name` is that of the plot."""
    goal = goal_of(runs)
    rows_of = runs[0]["rows"]
    about = (
        f"{task.model}; {rows_of['train']:,} training rows, {rows_of['valid']:,} for validation; at most {task.epochs} "
        f"passes, {task.evaluations} evaluations in each. Seconds are those since "
        f"the process was started, to {100 * SHARE:.0f} % of the best final validation score of another "
        f"system, {100 * goal:.2f}, and to the last evaluation. The test rows were answered once, with the weights "
        "that were best by validation."
    )
    names = [
        "system",
        "setting",
        "learning rate",
        "seeds",
        "validation",
        "test, 95 % interval",
        f"seconds to {100 * SHARE:.0f} %",
        "seconds in all",
        "peak memory, MB",
    ]
    groups = grouped(runs)
    rows = [row(group, goal, task.metric) for group in groups]
    title = f"{task.name}, {rows_of['train']:,} rows: validation {task.metric}"
    lines = [f"## {title} over time\n\n{about}\n\n{table(names, rows)}"]
    lines += differences(task, groups)
    systems = list(dict.fromkeys(run["system"] for run in runs))
    curves = [
        Curve(
            f"{PEERS[run['system']].shown}, {SHOWN[run['setting']]}",
            [point["seconds"] for point in run["curve"]],
            [point["score"] for point in run["curve"]],
            colour=systems.index(run["system"]),
            style=list(SHOWN).index(run["setting"]),
        )
        for run in (group[0] for group in groups)
    ]
    files = draw_curves(plots / f"quality-{name}", title, task.metric, curves, goal)
    lines.append(picture(title, files, plots))
    return "".join(lines)


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """The seeds of each system and setting, tuned ones first."""
    found: dict[tuple[str, str], list[Run]] = {}
    for setting in reversed(SETTINGS):
        for run in sorted(runs, key=lambda run: int(run["seed"])):
            if run["setting"] == setting:
                found.setdefault((setting, run["system"]), []).append(run)
    return list(found.values())


def row(group: Sequence[Run], goal: float, metric: str) -> list[str]:
    """One system in one setting."""
    first = group[0]
    rate = "as documented" if first["learning_rate"] is None else f"{first['learning_rate']:g}"
    low, high = first["interval"]["low"], first["interval"]["high"]
    test = mean(run["test"][metric] for run in group)
    reached = [seconds_to(run, goal) for run in group]
    known = [seconds for seconds in reached if seconds is not None]
    capped = " (cut off)" if any(run["capped"] for run in group) else ""
    soon = f"{mean(known):.0f}" if len(known) == len(reached) else f"not reached by {len(reached) - len(known)}"
    return [
        PEERS[first["system"]].shown,
        SHOWN[first["setting"]],
        rate,
        str(len(group)),
        f"{100 * mean(run['valid'] for run in group):.2f}",
        f"{100 * test:.2f} ({100 * low:.1f} to {100 * high:.1f})",
        soon,
        f"{mean(run['seconds'] for run in group):.0f}{capped}",
        f"{max(run['peak_memory_mb'] for run in group):,.0f}",
    ]


def differences(task: Task, groups: Sequence[Sequence[Run]]) -> Iterator[str]:
    """adaptune, by its defaults and tuned, minus each other system where that is tuned, on the same test rows."""
    for ours in (group for group in groups if group[0]["system"] in OWN):
        for theirs in (group for group in groups if group[0]["system"] not in OWN and group[0]["setting"] == "tuned"):
            own, other = ours[0], theirs[0]
            text = f"{PEERS[own['system']].shown}, {SHOWN[own['setting']]} - {PEERS[other['system']].shown}"
            yield difference(scorer(task.kind), text, ours, theirs, task.metric)


def picture(title: str, files: Sequence[Path], plots: Path) -> str:
    """A plot in the page, by its place beside it."""
    return f"\n![{title}]({plots.name}/{files[0].name})\n"


if __name__ == "__main__":
    main()
