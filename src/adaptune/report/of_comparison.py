"""The page of a comparison: verdict first, then candidates and baselines, what they cost, and how sure it is."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import adaptune
from adaptune.report.chart import Axis, Line, Point, plot
from adaptune.report.document import (
    Beside,
    Block,
    Cell,
    Code,
    Facts,
    Figure,
    Page,
    Paragraph,
    Picture,
    Section,
    Table,
    Verdict,
)
from adaptune.report.learning import curve_of, watched_of
from adaptune.report.of_run import environment_facts, settings_of, short
from adaptune.report.read import ComparisonFiles, Record, RunFiles, read_comparison
from adaptune.report.systems import Compared
from adaptune.report.words import Words


def comparison_page(path: Path, words: Words) -> Page:
    """What there is of a comparison."""
    files = read_comparison(path)
    found = files.found
    model = found.get("model") or (files.runs[0].section("model").get("name", "") if files.runs else "")
    task = found.get("task") or (files.runs[0].section("task").get("name", "") if files.runs else "")
    about = [words.name("task", str(task)) if task else "", short(str(model))]
    return Page(
        kind=words("page.comparison"),
        title=files.name,
        about=[one for one in about if one],
        verdict=_verdict(files, words),
        sections=list(_sections(files, words)),
        made=words("page.made", version=adaptune.__version__),
        missing=[
            words(f"missing.{why}", file=file, what=words.name("file", file))
            for file, why in sorted(files.reader.missing.items())
        ],
    )


def _sections(files: ComparisonFiles, words: Words) -> Iterator[Section]:
    of = Compared(files.found, words)
    parts: dict[str, Iterable[Block]] = {
        "table": of.table() if files.found else (),
        "pareto": of.costs(),
        "pairs": of.pairs(),
        "learning": _learning(files, words),
        "did": _did(files, words),
        "plan": _plan(files, words),
        "reproduce": _reproduce(files, words),
        "environment": [Facts(environment_facts(files.runs[0], words))] if files.runs else (),
    }
    for name, blocks in parts.items():
        if made := list(blocks):
            yield Section(name, words(f"{name}.title"), made)


def _verdict(files: ComparisonFiles, words: Words) -> Verdict:
    found, verdict = files.found, files.found.get("verdict")
    if not found:
        finished = sum(bool(run.report) for run in files.runs)
        sentences = [words("compare.runs", count=len(files.runs), finished=finished), words("compare.resume")]
        return Verdict("warn", words("compare.unfinished"), sentences)
    broken = [row["name"] for row in found["candidates"] if row["status"] in ("failed", "refused", "out of time")]
    if verdict is None:
        sentences = [words("compare.failed", names=words.joined(broken))] if broken else []
        return Verdict("warn", words("compare.no_verdict"), sentences)
    figures, sentences = list(_figures(found, words)), verdict["chinese" if words.language == "zh" else "english"]
    if verdict["worth_it"]:
        return Verdict("good", sentences[0], sentences[1:], figures)
    name = words.name("baseline", verdict["use"])
    _, _, why = sentences[0].partition("：" if words.language == "zh" else ": ")  # behind what the headline says
    return Verdict("bad", words("compare.not_worth_it", name=name), [why or sentences[0], *sentences[1:]], figures)


def _figures(found: Record, words: Words) -> Iterator[Figure]:
    metric = found["metric"]
    scored = [row for row in found["candidates"] if row["score"] is not None]
    if scored:
        best, ends = scored[0], scored[0]["interval"]
        beside = words.ends(metric, ends["low"], ends["high"])
        yield Figure(words("figure.best", name=best["name"]), words.score(metric, best["score"]), beside)
    if found["baselines"]:
        plain = max(found["baselines"], key=lambda one: one["score"])
        ends, name = plain["interval"], words.name("baseline", plain["name"])
        beside = words.ends(metric, ends["low"], ends["high"])
        yield Figure(words("figure.baseline", name=name), words.score(metric, plain["score"]), beside)
    of = words("figure.of", count=len(found["candidates"]))
    yield Figure(words("figure.candidates"), str(len(scored)), of)
    budget = words("figure.budget", seconds=words.seconds(found["budget"]))
    yield Figure(words("figure.took"), words.seconds(found["seconds"]), budget)


def _learning(files: ComparisonFiles, words: Words) -> Iterator[Block]:
    """Validation scores of every candidate's first seed."""
    metric = str(files.found.get("watched") or next((found for run in files.runs if (found := watched_of(run))), ""))
    pictures = []
    for over in ("step", "seconds"):
        curves = _curves(files, metric, over)
        lines = [Line(name, points, number, dots=True) for number, (name, points) in enumerate(curves) if points]
        if any(len(line.points) > 1 for line in lines):
            up = Axis(words.name("metric", metric), lambda value: words.tick(metric, value))
            across = Axis(words(f"learning.{over}"), lambda value: f"{value:,.0f}")
            title = words(f"learning.over_{over}", metric=words.name("metric", metric))
            pictures.append(Picture(plot(lines, across, up), title))
    if pictures:
        yield Beside(pictures)
        yield Paragraph(words("learning.rounds"), "soft")


def _curves(files: ComparisonFiles, metric: str, over: str) -> list[tuple[str, list[Point]]]:
    """By the candidates' names, in the order of the table; before there is a table, by their folders'."""
    if files.found:
        rows = files.found["candidates"]
        return [
            (row["name"], [(point[over], point["score"]) for point in row["runs"][0]["curve"]] if row["runs"] else [])
            for row in rows
        ]
    found: dict[str, list[Point]] = {}
    for run in files.runs:
        found.setdefault(run.folder.path.parent.name, curve_of(run, metric, over))
    return list(found.items())


def _did(files: ComparisonFiles, words: Words) -> Iterator[Block]:
    """Every run with what it was set to and how far it came."""
    keys = ("name", "settings", "rounds", "run", "steps", "best", "valid", "test", "folder")
    rows: list[Sequence[str | Cell]] = []
    if files.found:
        for row in files.found["candidates"]:
            parts = "; ".join(_part(section) for section in row["sections"].values())
            rows += [_candidate_run(files.found, row, run, parts, words) for run in row["runs"]]
            if not row["runs"]:
                rows.append([row["name"], parts, *["–"] * 6, ""])
    else:
        rows = [_begun_run(run, words) for run in files.runs]
    if rows:
        yield Table([words(f"did.{key}") for key in keys], rows, words=2)


def _part(section: Record) -> str:
    """`lora (rank=8, alpha=16)`"""
    settings = settings_of(section)
    return f"{section.get('name', '')} ({settings})" if settings else str(section.get("name", ""))


def _candidate_run(found: Record, row: Record, run: Record, parts: str, words: Words) -> list[str | Cell]:
    best = max(run["curve"], key=lambda point: point["score"], default=None)
    test = run["test"].get(found["metric"])
    return [
        row["name"],
        parts,
        str(row["rounds"]),
        str(run["seed"]),
        f"{run['steps']:,}",
        "–" if best is None else f"{best['step']:,}",
        "–" if run["valid"] is None else words.score(found["watched"], run["valid"]),
        "–" if test is None else words.score(found["metric"], test),
        run["folder"],
    ]


def _begun_run(run: RunFiles, words: Words) -> list[str | Cell]:
    metric = watched_of(run)
    curve = curve_of(run, metric, "step") if metric else []
    best = max(curve, key=lambda point: point[1], default=None)
    test = (run.report.get("test") or {}).get(metric or "")
    folder = run.folder.path
    return [
        folder.parent.name,
        _part(run.section("method")),
        "–",
        str(run.settings.get("seed", "–")),
        f"{run.steps[-1]['step']:,}" if run.steps else "0",
        "–" if best is None else f"{best[0]:,.0f}",
        "–" if best is None or metric is None else words.score(metric, best[1]),
        "–" if test is None or metric is None else words.score(metric, test),
        "/".join(folder.parts[-3:]),
    ]


def _plan(files: ComparisonFiles, words: Words) -> Iterator[Block]:
    found = files.found
    plan: Mapping[str, object] = found.get("plan") or files.plan.get("plan") or {}
    pairs: list[tuple[str, str]] = []
    if plan:
        rounds = plan["rounds"] if isinstance(plan["rounds"], list) else []
        pairs = [
            (words("plan.steps"), words("plan.of_steps", steps=plan["steps"], of=plan["of_steps"])),
            (words("plan.every"), str(plan["every"])),
            (words("plan.rounds"), words.joined([str(step) for step in rounds]) or "–"),
            (words("plan.finalists"), _finalists(found, plan)),
            (words("plan.seeds"), str(plan["seeds"])),
        ]
    if rows := found.get("rows"):
        counts = {part: f"{rows.get(part, 0):,}" for part in ("train", "valid", "test")}
        pairs.append((words("plan.rows"), words("plan.of_rows", **counts)))
        pairs.append((words("plan.level"), f"{found['level']:.0%}"))
    if pairs:
        yield Facts(pairs)
    if notes := found.get("notes") or files.plan.get("notes"):
        yield Paragraph(words("plan.notes"), "soft")
        yield Code("\n".join(notes))


def _finalists(found: Record, plan: Mapping[str, object]) -> str:
    """How many went to the end; of a comparison that is under way, how many of those that take steps are to."""
    rows = found.get("candidates")
    return str(sum(row["status"] == "compared" for row in rows) if rows else plan["finalists"])


def _reproduce(files: ComparisonFiles, words: Words) -> Iterator[Block]:
    """The command, and the recipe of the first run."""
    # One that takes steps: another's epochs are none, and would be so for all.
    written = sorted((one for one in files.runs if one.recipe), key=lambda one: not one.section("train").get("epochs"))
    run = next(iter(written), None)
    if run is None:
        return
    yield Paragraph(words("reproduce.compare"), "soft")
    if files.found:
        names = ",".join(row["name"] for row in files.found["candidates"])
        seeds, budget = files.found["plan"]["seeds"], f"{files.found['budget']:.0f}s"
        command = f"adaptune compare recipe.yaml --candidates {shlex.quote(names)} --seeds {seeds} --budget {budget}"
        yield Code(command)
    yield Code(run.recipe, words("reproduce.recipe"), folded=True)
