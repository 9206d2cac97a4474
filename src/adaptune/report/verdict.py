"""What a run comes to, in words: how good it is, beside what it need be better than, and what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adaptune.report.document import Figure, Tone, Verdict
from adaptune.report.of_task import OfTask
from adaptune.report.read import RunFiles
from adaptune.report.words import Words, megabytes, parameters, share_of

FEW = 200
"""Test rows; with fewer a verdict says how little they tell."""
WORST_FIRST: tuple[Tone, ...] = ("bad", "warn", "", "good")
CALIBRATED = 0.05
"""Expected calibration error up to which probabilities may be taken as they are."""


def verdict_of(files: RunFiles, tasks: Sequence[OfTask], words: Words) -> Verdict:
    """The verdict of one task; of several the worst of theirs, all in sentences."""
    if not files.report:
        return Verdict(
            "warn", words("verdict.unfinished"), list(_how_far(files, words)), figures_of(files, tasks, words)
        )
    each = [_of_task(one) for one in tasks]
    if len(each) == 1:
        [found] = each
        sentences = [*found.sentences, *_training(files, words)]
        return Verdict(found.tone, found.headline, sentences, figures_of(files, tasks, words))
    tone: Tone = next((tone for tone in WORST_FIRST if any(one.tone == tone for one in each)), "good")
    sentences = [
        words("verdict.task", name=task.name, text=" ".join([one.headline, *one.sentences]))
        for task, one in zip(tasks, each, strict=True)
    ]
    headline = words("verdict.several", count=len(each), good=sum(one.tone == "good" for one in each))
    return Verdict(tone, headline, [*sentences, *_training(files, words)], figures_of(files, tasks, words))


def _of_task(of: OfTask) -> Verdict:
    words, metric = of.words, words_for(of)
    if of.metric not in of.test:
        return Verdict("warn", words("verdict.no_test"), list(_valid(of)))
    score = of.score(of.test[of.metric])
    sentences = list(_sentences(of))
    if not of.baselines:
        return Verdict(
            "", words("verdict.alone", metric=metric, score=score), [words("verdict.no_baselines"), *sentences]
        )
    best, gains = of.baselines[0], of.report.get("gains") or {}
    name = words.name("baseline", best[0])
    rivals = [one for one, _ in of.baselines if one in gains and gains[one]["low"] <= 0]
    if not gains:
        return Verdict(
            "", words("verdict.beside", metric=metric, score=score, name=name, other=of.score(best[1])), sentences
        )
    if not rivals:
        gain = words.gap(of.metric, of.test[of.metric] - best[1]).lstrip("+")
        headline = words("verdict.worth_it", metric=metric, score=score, gain=gain, unit=unit(of), name=name)
        return Verdict("good", headline, sentences)
    rival = words.name("baseline", rivals[0])
    key = "verdict.worse" if gains[rivals[0]]["high"] < 0 else "verdict.not_worth_it"
    return Verdict("bad", words(key, name=rival, metric=metric, score=score), sentences)


def words_for(of: OfTask) -> str:
    """What its metric is called."""
    return of.words.name("metric", of.metric)


def unit(of: OfTask) -> str:
    """Of a difference of scores."""
    return of.words("points") if of.words.gap(of.metric, 1.0) == "+100.0" else ""


def _sentences(of: OfTask) -> Iterator[str]:
    words, ends, metric = of.words, of.report.get("interval"), of.metric
    if ends:
        yield words(
            "verdict.interval",
            metric=words_for(of),
            score=of.score(of.test[metric]),
            ends=words.ends(metric, ends["low"], ends["high"]),
            level=f"{of.level:.0%}",
            rows=f"{of.test_rows:,}",
        )
    gains = of.report.get("gains") or {}
    for name, value in of.baselines[:2]:
        if gain := gains.get(name):
            yield words(
                "verdict.gain",
                name=words.name("baseline", name),
                score=of.score(value),
                gain=words.gap(metric, of.test[metric] - value),
                ends=words.gaps(metric, gain["low"], gain["high"]),
                unit=unit(of),
            )
    if 0 < of.test_rows < FEW:
        yield words("verdict.few", rows=of.test_rows)
    yield from _trust(of)


def _trust(of: OfTask) -> Iterator[str]:
    """Whether probabilities can be taken as they are."""
    measured = ((of.report.get("calibration") or {}).get("measured") or {}).get("test") or {}
    if "ece" in measured:
        key = "verdict.trusted" if measured["ece"] <= CALIBRATED else "verdict.not_trusted"
        yield of.words(key, ece=f"{100 * measured['ece']:.1f}")


def _valid(of: OfTask) -> Iterator[str]:
    found = of.report.get("valid") or {}
    metric = str(of.report.get("metric") or of.metric)
    if metric in found:
        score = of.words.score(metric, found[metric])
        yield of.words("verdict.valid_only", metric=of.words.name("metric", metric), score=score)


def _training(files: RunFiles, words: Words) -> Iterator[str]:
    training = files.report.get("training") or {}
    if training.get("best_step") == 0 and training.get("steps"):
        yield words("learning.warm_is_best")


def _how_far(files: RunFiles, words: Words) -> Iterator[str]:
    if files.steps:
        last = files.steps[-1]
        yield words("verdict.stopped_at", step=last["step"], epoch=f"{last.get('epoch', 0.0):.2f}")
    else:
        yield words("verdict.no_steps")
    if files.folder.checkpoint.exists():
        yield words("verdict.resume")


def figures_of(files: RunFiles, tasks: Sequence[OfTask], words: Words) -> list[Figure]:
    """The numbers that matter, as far as there are any."""
    found = []
    for of in tasks:
        if of.metric in of.test:
            ends = of.report.get("interval")
            beside = words.ends(of.metric, ends["low"], ends["high"]) if ends else ""
            name = words("figure.test", metric=words_for(of)) if of.name is None else f"{of.name}: {words_for(of)}"
            found.append(Figure(name, of.score(of.test[of.metric]), beside))
    if numbers := files.report.get("parameters"):
        share = share_of(numbers["trained"], numbers["total"])
        found.append(
            Figure(words("figure.trained"), parameters(numbers["trained"]), words("figure.of_all", share=share))
        )
    seconds = files.report.get("seconds") or {}
    if "train" in seconds:
        total = words("figure.total", seconds=words.seconds(seconds["total"]))
        found.append(Figure(words("figure.seconds"), words.seconds(seconds["train"]), total))
    if files.bundle_bytes:
        found.append(Figure(words("figure.bundle"), megabytes(files.bundle_bytes), ""))
    return found
