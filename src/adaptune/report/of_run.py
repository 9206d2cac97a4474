"""The page of one run: verdict first, then what it stands on. Knows no HTML."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import adaptune
from adaptune.report.document import Block, Cell, Code, Facts, Page, Paragraph, Section, Table, Tone
from adaptune.report.learning import learning
from adaptune.report.of_task import OfTask, sections_of
from adaptune.report.read import Record, RunFiles, read_run
from adaptune.report.verdict import verdict_of
from adaptune.report.words import Words, megabytes, parameters, share_of

MOST_CLASSES = 40
"""That the table of counts lists."""
MOST_ROWS = 5
"""Rows that a finding names."""
TONES: Mapping[str, Tone] = {"error": "bad", "warning": "warn"}
"""Of a finding's level."""
PLAIN = frozenset(("name", "start"))
"""Of a method what is no setting."""


def run_page(path: Path, words: Words) -> Page:
    """What there is of a run."""
    files = read_run(path)
    tasks = tasks_of(files, words)
    sections = list(_sections(files, tasks, words))
    about = [words.name("task", one.kind) + (f" ({one.name})" if one.name else "") for one in tasks if one.kind]
    about += [short(str(files.section("model").get("name", ""))), str(files.section("method").get("name", ""))]
    return Page(
        kind=words("page.run"),
        title=files.name,
        about=[one for one in about if one],
        verdict=verdict_of(files, tasks, words),
        sections=sections,
        made=words("page.made", version=adaptune.__version__),
        missing=[*missing_of(files, words), *_missing_of_tasks(files, tasks, words)],
    )


def tasks_of(files: RunFiles, words: Words) -> list[OfTask]:
    """The tasks of a run, each with the files that hold its rows."""
    found = files.report.get("tasks") or files.settings.get("tasks")
    if not isinstance(found, Mapping):
        return [OfTask(files, words, files.report)]
    separate = files.settings.get("adapters") == "separate" or files.report.get("adapters") == "separate"
    told = files.report.get("tasks") or {}
    if separate:
        own = {name: read_run(files.folder.path / name) for name in found}
        return [OfTask(one, words, one.report or told.get(name) or {}, name) for name, one in own.items()]
    return [OfTask(files, words, told.get(name) or {}, name, within=name) for name in found]


def _sections(files: RunFiles, tasks: Sequence[OfTask], words: Words) -> Iterator[Section]:
    if data := list(_data(files, words)):
        yield Section("data", words("data.title"), data)
    for one in _trained(files, tasks):
        if blocks := learning(one, words):
            behind = "" if one is files else f"-{one.name}"
            title = words("learning.title")
            yield Section(
                f"learning{behind}", title if one is files else words("of_task", title=title, name=one.name), blocks
            )
    for task in tasks:
        yield from sections_of(task)
    if method := list(_method(files, words)):
        yield Section("method", words("method.title"), method)
    if files.recipe:
        yield Section("reproduce", words("reproduce.title"), list(reproduce(files, words)))
    if files.environment.get("python"):
        yield Section("environment", words("environment.title"), [Facts(environment_facts(files, words))])


def _trained(files: RunFiles, tasks: Sequence[OfTask]) -> list[RunFiles]:
    """The folders that hold logs of a training."""
    own = [one.files for one in tasks if one.files is not files]
    return own or [files]


def _data(files: RunFiles, words: Words) -> Iterator[Block]:
    of_tasks = files.environment.get("tasks")
    told = of_tasks if isinstance(of_tasks, Mapping) else {"": files.environment}
    for name, record in told.items():
        findings = record.get("findings") or {}
        rows, counts = findings.get("rows") or {}, findings.get("counts") or {}
        if not rows:
            continue
        head = [words("data.task", name=name) if name else "", *(words.name("part", part) for part in rows)]
        table: list[Sequence[str | Cell]] = [[words("data.rows"), *(f"{count:,}" for count in rows.values())]]
        if fingerprints := record.get("data"):
            table.append([words("data.fingerprint"), *(str(fingerprints.get(part, "–"))[:12] for part in rows)])
        yield Table(head, table)
        yield from _class_counts(counts, list(rows), words)
        yield from _findings(findings.get("findings") or (), words)
    if rejected := files.reader.lines(files.folder.rejected):
        yield Paragraph(words("data.rejected", count=f"{len(rejected):,}"), "warn")


def _class_counts(counts: Record, parts: Sequence[str], words: Words) -> Iterator[Block]:
    train: Mapping[str, int] = counts.get("train") or next(iter(counts.values()), {})
    names = list(dict.fromkeys([*train, *(name for of in counts.values() for name in of)]))
    if not names:
        return
    most = {part: max((counts.get(part) or {}).values(), default=0) for part in parts}
    rows: list[Sequence[str | Cell]] = [
        [name, *(_count(counts.get(part) or {}, name, most[part]) for part in parts)] for name in names[:MOST_CLASSES]
    ]
    more = words("data.more", count=len(names) - MOST_CLASSES) if len(names) > MOST_CLASSES else ""
    head = [words("data.class"), *(words.name("part", part) for part in parts)]
    folded = words("data.classes", count=len(names)) if len(names) > 12 else ""
    yield Table(head, rows, more, folded=folded)


def _count(of: Mapping[str, int], name: str, most: int) -> Cell:
    count = of.get(name, 0)
    return Cell(f"{count:,}", "own" if count else "warn", count / most if most else 0.0)


def _findings(findings: Sequence[Record], words: Words) -> Iterator[Block]:
    if not findings:
        yield Paragraph(words("data.nothing"), "good")
        return
    rows: list[Sequence[str | Cell]] = []
    for one in findings:
        named = [str(row).replace("\\", "/").rsplit("/", 1)[-1] for row in one.get("rows") or ()]
        more = len(named) + int(one.get("unnamed_rows", 0)) - MOST_ROWS
        where = "; ".join(named[:MOST_ROWS]) + (words("data.and_more", count=f"{more:,}") if more > 0 else "")
        level = str(one.get("level", "note"))
        rows.append([Cell(words.name("level", level), TONES.get(level, "soft")), str(one.get("text", "")), where])
    head = [words("data.finding"), words("data.what"), words("data.where")]
    yield Table(head, rows, words("data.findings"), words=3)


def _method(files: RunFiles, words: Words) -> Iterator[Block]:
    report, training = files.report, files.report.get("training") or {}
    method, seconds = files.section("method"), report.get("seconds") or {}
    pairs: list[tuple[str, str]] = [(words("method.name"), str(method.get("name", "")))]
    if settings := settings_of(method):
        pairs.append((words("method.settings"), settings))
    for part in ("approach", "head"):
        if name := files.section(part).get("name"):
            pairs.append((words(f"method.{part}"), str(name)))
    if numbers := report.get("parameters"):
        pairs.append((words("method.trained"), trained_share(numbers, words)))
    if training:
        pairs += [
            (words("method.steps"), words("method.of_steps", best=training["best_step"], steps=training["steps"])),
            (words("method.ended"), str(training["ended"])),
            (words("method.tokens"), f"{training['tokens']:,}"),
        ]
    pairs += [(words(f"seconds.{name}"), words.seconds(value)) for name, value in seconds.items() if name != "tasks"]
    if memory := report.get("peak_memory_mb"):
        pairs.append((words("method.memory"), f"{memory:,.0f} MB"))
    if files.bundle_bytes:
        pairs.append((words("method.bundle"), megabytes(files.bundle_bytes)))
    if "seed" in files.settings:
        pairs.append((words("method.seed"), str(files.settings["seed"])))
    if len(pairs) > 1 or pairs[0][1]:
        yield Facts([(name, value) for name, value in pairs if value])


def settings_of(section: Record) -> str:
    """`rank=8, alpha=16`: what a part is set to, without what is off."""
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in section.items()
        if name not in PLAIN and value not in (None, False, 0, "", [], {})
    )


def trained_share(numbers: Mapping[str, int], words: Words) -> str:
    """Of all parameters those that learn."""
    trained, total = numbers["trained"], numbers["total"]
    share = share_of(trained, total)
    return words("method.share", trained=f"{trained:,}", total=parameters(total), share=share)


def reproduce(files: RunFiles, words: Words) -> Iterator[Block]:
    """The commands, and the recipe as it was resolved."""
    out = shlex.quote(f"{files.name}-again")
    lines = [f"adaptune train {files.folder.recipe.name} out={out}"]
    if files.bundle_bytes:
        lines.append(f"adaptune show {files.folder.bundle.name}")
    yield Paragraph(words("reproduce.how"), "soft")
    yield Code("\n".join(lines))
    yield Code(files.recipe, words("reproduce.recipe"), folded=True)


def environment_facts(files: RunFiles, words: Words) -> list[tuple[str, str]]:
    """Machine and versions."""
    found: Mapping[str, Any] = files.environment
    pairs = [(words(f"environment.{name}"), found.get(name)) for name in ("python", "platform", "processor", "cores")]
    pairs += list((found.get("libraries") or {}).items())
    if created := files.manifest.get("created"):
        pairs.append((words("environment.created"), created))
    return [(name, str(value)) for name, value in pairs if value is not None]


def missing_of(files: RunFiles, words: Words) -> list[str]:
    """What is not there, or not whole, as sentences; called when all else was read."""
    return [
        words(f"missing.{why}", file=file, what=words.name("file", file))
        for file, why in sorted(files.reader.missing.items())
        if not (file == files.folder.rejected.name and why == "absent")
    ]


def _missing_of_tasks(files: RunFiles, tasks: Sequence[OfTask], words: Words) -> Iterator[str]:
    for task in tasks:
        if task.files is not files:
            yield from (words("verdict.task", name=task.name, text=text) for text in missing_of(task.files, words))


def short(name: str) -> str:
    """A hub id as it is, of a folder its last part."""
    return name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] if name.startswith(("/", ".", "\\")) else name
