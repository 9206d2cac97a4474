"""What a comparison says, in plain words, English and Chinese. Computes no score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from adaptune.compare.values import Baseline, Difference, Row, Verdict


class Said(NamedTuple):
    """One sentence twice."""

    english: str
    chinese: str


class _Case(NamedTuple):
    """What the sentences are about."""

    rows: Sequence[Row]
    """Candidates that were scored on test rows, the best first."""
    alike: Sequence[Row]
    """Those of them that cannot be told from the best: first those that are near it, the cheapest first."""
    near: int
    """How many lie within one standard error of the best."""
    rivals: Sequence[tuple[Baseline, Difference]]
    """Baselines that the best candidate is not distinctly better than, the best first."""
    metric: str
    level: float


def verdict_of(
    rows: Sequence[Row],
    baselines: Sequence[Baseline],
    differences: Sequence[Difference],
    *,
    metric: str,
    level: float,
) -> Verdict | None:
    """What to use, how sure that is, what cannot be told apart, and the cheapest of that; None where nothing finished.

    A candidate cannot be told from the best where their simultaneous interval holds 0. Of these the cheapest is taken
    that lies within one standard error of the best (Breiman et al., 1984): with few rows much cannot be told apart that
    is worse. Training is worth it where the best candidate is distinctly better than every baseline.
    """
    scored = sorted((row for row in rows if row.score is not None), key=lambda row: -(row.score or 0.0))
    if not scored:
        return None
    best = scored[0]
    gaps = {row.name: _between(best.name, row.name, differences) for row in scored[1:]}
    near = {best.name, *(name for name, gap in gaps.items() if not gap.distinct and _is_near(gap))}
    beside = near | {name for name, gap in gaps.items() if not gap.distinct}
    alike = sorted((row for row in scored if row.name in beside), key=lambda row: (row.name not in near, *_price(row)))
    rivals = [(one, _between(best.name, one.name, differences)) for one in baselines]
    rivals = [(one, gap) for one, gap in rivals if not gap.distinct or gap.difference < 0]
    case = _Case(scored, alike, len(near), sorted(rivals, key=lambda pair: -pair[0].score), metric, level)
    said = list(_sentences(case, rows))
    return Verdict(
        use=case.rivals[0][0].name if case.rivals else alike[0].name,
        best=best.name,
        alike=tuple(row.name for row in alike),
        worth_it=not case.rivals,
        english=tuple(one.english for one in said),
        chinese=tuple(one.chinese for one in said),
    )


def _sentences(case: _Case, rows: Sequence[Row]) -> Iterator[Said]:
    yield _what_to_use(case)
    yield _how_sure(case)
    if len(case.alike) > 1:
        yield _alike(case)
    worse = [row.name for row in case.rows if row not in case.alike]
    if worse:
        yield Said(f"Distinctly worse: {', '.join(worse)}.", f"明显更差：{'、'.join(worse)}。")
    if any(run.finished for row in case.rows for run in row.runs) and all(row.spread is None for row in case.rows):
        yield Said(
            "One seed was run: how much another seed would change is not known, and not in the intervals.",
            "只用了一个随机种子：换种子会有多大变化未知，区间也不包含这一变化。",
        )
    stopped = [row.name for row in rows if row.status == "stopped"]
    if stopped:
        yield Said(
            f"Stopped early, by validation rows: {', '.join(stopped)}.",
            f"根据验证集提前停止：{'、'.join(stopped)}。",
        )
    broken = [row.name for row in rows if row.status in ("failed", "refused", "out of time")]
    if broken:
        yield Said(f"Without a result: {', '.join(broken)}.", f"没有结果：{'、'.join(broken)}。")


def _what_to_use(case: _Case) -> Said:
    cheapest, best = case.alike[0], case.rows[0]
    if case.rivals:
        baseline, gap = case.rivals[0]
        ends = _ends(gap)
        english, chinese = ("is better", "更好") if gap.distinct else ("is as good", "已同样好")
        return Said(
            f"Fine-tuning is not worth it here: {baseline.name} {english} ({case.metric} {_points(baseline.score)}); "
            f"the best that was trained, {best.name}, has {_points(best.score)}, a difference of {ends}.",
            f"这里不值得微调：{baseline.name} {chinese}（{case.metric} {_points(baseline.score)}）；训练过的最好的"
            f" {best.name} 为 {_points(best.score)}，相差 {ends}。",
        )
    if cheapest is best:
        return Said(f"Use {best.name}.", f"使用 {best.name}。")
    return Said(
        f"Use {cheapest.name}: it lies within one standard error of {best.name}, which scored best, and is the "
        "cheapest of those that do.",
        f"使用 {cheapest.name}：它与得分最高的 {best.name} 相差不到一个标准误，且是其中最便宜的。",
    )


def _how_sure(case: _Case) -> Said:
    best, level = case.rows[0], f"{case.level:.0%}"
    assert best.interval is not None and best.best_in is not None, "it was scored"
    low, high = _points(best.interval.low), _points(best.interval.high)
    seeds = sum(run.finished for run in best.runs)
    return Said(
        f"{best.name} scored best on test rows: {case.metric} {_points(best.score)}, {level} interval {low} to {high}, "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}; over test rows and seeds drawn anew it is the best in "
        f"{best.best_in:.0%} of the draws.",
        f"{best.name} 在测试集上得分最高：{case.metric} {_points(best.score)}，{level} 区间 {low} 至 {high}，"
        f"{seeds} 个种子；对测试行与种子重抽时，{best.best_in:.0%} 的抽样中它最好。",
    )


def _alike(case: _Case) -> Said:
    names = [row.name for row in case.alike]
    parts = [part for part in (case.alike[: case.near], case.alike[case.near :]) if part]
    english, chinese = (
        ["; ".join(f"{row.name} {_cost(row)}" for row in part) for part in parts],
        ["；".join(f"{row.name} {_cost_in_chinese(row)}" for row in part) for part in parts],
    )
    return Said(
        f"Not distinguishable at {case.level:.0%}: {', '.join(names)}. "
        f"The cheapest first: {'; further from the best: '.join(english)}.",
        f"在 {case.level:.0%} 水平上无法区分：{'、'.join(names)}。从便宜到贵：{'；离最好的更远：'.join(chinese)}。",
    )


def _is_near(gap: Difference) -> bool:
    """Within one standard error, where it is known."""
    return gap.error is None or abs(gap.difference) <= gap.error


def _price(row: Row) -> tuple[int, float, int]:
    return (row.trained or 0, row.seconds or 0.0, row.bytes or 0)


def _cost(row: Row) -> str:
    return f"({row.trained or 0:,} trained parameters, {row.seconds or 0:,.0f} s, {(row.bytes or 0) / 1e6:,.1f} MB)"


def _cost_in_chinese(row: Row) -> str:
    return f"（训练参数 {row.trained or 0:,}，{row.seconds or 0:,.0f} 秒，{(row.bytes or 0) / 1e6:,.1f} MB）"


def _between(first: str, second: str, differences: Sequence[Difference]) -> Difference:
    """The difference of the first less the second, whichever way round it was measured."""
    for one in differences:
        if (one.first, one.second) == (first, second):
            return one
        if (one.second, one.first) == (first, second):
            low, high = -one.interval.high, -one.interval.low
            turned = {"first": first, "second": second, "difference": -one.difference}
            return one.model_copy(update=turned | {"interval": type(one.interval)(low=low, high=high)})
    raise KeyError(f"{first!r} and {second!r} were not compared")


def _points(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.1f}"


def _ends(gap: Difference) -> str:
    low, high = gap.interval.low, gap.interval.high
    return f"{100 * gap.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
