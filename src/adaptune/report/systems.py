"""Candidates and baselines of a comparison as tables and pictures: scores, costs, differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adaptune.report.chart import Axis, Bar, Layer, Level, Line, Named, Point, intervals, plot
from adaptune.report.document import Beside, Block, Cell, Paragraph, Picture, Table, Tone
from adaptune.report.read import Record
from adaptune.report.words import Words, capital, megabytes, parameters

COSTS = ("trained", "seconds", "bytes", "latency_ms", "memory_mb")
"""What may be known of a candidate, as comparison.json names it."""
SPREAD = 20
"""How many times the least cost the largest is where they are drawn by powers of ten."""


class Compared:
    """What comparison.json says, as tables and pictures; of an empty one nothing."""

    def __init__(self, found: Record, words: Words) -> None:
        self.words = words
        self.metric = str(found.get("metric", ""))
        self.watched = str(found.get("watched", ""))
        self.level = f"{found.get('level', 0.95):.0%}"
        self.candidates: Sequence[Record] = found.get("candidates") or ()
        self.baselines: Sequence[Record] = sorted(found.get("baselines") or (), key=lambda one: -one["score"])
        self.differences: Sequence[Record] = found.get("differences") or ()
        self.verdict: Record = found.get("verdict") or {}
        self.colours = {row["name"]: number for number, row in enumerate(self.candidates)}

    def table(self) -> Iterator[Block]:
        """Every candidate and every baseline as a row, by their scores; those without one at the end."""
        words, metric = self.words, words_of(self)
        names = ("trained", "seconds", "bundle")
        head = [words("table.name"), words("table.score", metric=metric), words("table.interval", level=self.level)]
        head += [words("table.best_in"), words("table.seeds"), *(words(f"table.{name}") for name in names)]
        scored = [(row["score"], self._row(row)) for row in self.candidates]
        scored += [(row["score"], self._baseline(row)) for row in self.baselines]
        scored.sort(key=lambda pair: -1.0 if pair[0] is None else pair[0], reverse=True)
        yield Table(head, [row for _, row in scored], words("table.caption"))

    def _row(self, row: Record) -> list[str | Cell]:
        words, alike = self.words, row["name"] in self.verdict.get("alike", ())
        done = sum(run["finished"] for run in row["runs"])
        failed = row["status"] in ("failed", "refused", "out of time")
        return [
            Cell(
                row["name"],
                "good" if row["name"] == self.verdict.get("use") else "bad" if failed else "",
                note=self._status(row, alike=alike),
            ),
            *self._measured(row),
            str(done) if done else "–",
            parameters(row["trained"]) if row["trained"] else "–",
            words.seconds(row["seconds"]) if row["seconds"] is not None else "–",
            megabytes(row["bytes"]) if row["bytes"] else "–",
        ]

    def _baseline(self, row: Record) -> list[str | Cell]:
        name = capital(self.words.name("baseline", row["name"]))
        used = row["name"] == self.verdict.get("use")
        tone: Tone = "good" if used else "soft"
        return [
            Cell(name, tone, note=self.words("status.use_baseline" if used else "table.baseline")),
            *self._measured(row),
            "–",
            "–",
            "–",
            "–",
        ]

    def _measured(self, row: Record) -> list[str | Cell]:
        if row["score"] is None:
            return ["–", "–", "–"]
        ends, best_in = row["interval"], row["best_in"]
        between = self.words.ends(self.metric, ends["low"], ends["high"])
        return [self.words.score(self.metric, row["score"]), between, f"{best_in:.0%}"]

    def _status(self, row: Record, *, alike: bool) -> str:
        if row["name"] == self.verdict.get("use"):
            return self.words("status.use")
        if alike:
            return self.words("status.best" if row["name"] == self.verdict["best"] else "status.alike")
        score = "–" if row["valid"] is None else self.words.score(self.watched, row["valid"])
        looked = row["status"] == "stopped" and not row["rounds"]
        return self.words(
            "status.looked" if looked else f"status.{row['status']}",
            rounds=row["rounds"],
            metric=self.words.name("metric", self.watched),
            score=score,
            error=(row["error"] or "–").splitlines()[0],
        )

    def costs(self) -> Iterator[Block]:
        """The score against each cost that was measured."""
        scored = [row for row in self.candidates if row["score"] is not None]
        known = [cost for cost in COSTS if sum(bool(row.get(cost)) for row in scored) >= 1]
        if not scored:
            return
        yield Beside([self._pareto(cost, [row for row in scored if row.get(cost)]) for cost in known])
        yield Paragraph(self.words("pareto.caption"), "soft")
        unknown = {"memory_mb": "memory", "latency_ms": "latency"}
        names = [self.words(f"pareto.{name}") for cost, name in unknown.items() if cost not in known]
        if names:
            yield Paragraph(self.words("pareto.unmeasured", names=self.words.joined(names)), "soft")

    def _pareto(self, cost: str, rows: Sequence[Record]) -> Picture:
        words, size = self.words, 1e6 if cost == "bytes" else 1.0
        at = sorted(((row[cost] / size, row["score"], row) for row in rows), key=lambda one: (one[0], -one[1]))
        front: list[Point] = []
        for x, y, _ in at:
            if not front or y > front[-1][1]:
                front.append((x, y))
        layers: list[Layer] = [Level(words.name("baseline", one["name"]), one["score"]) for one in self.baselines[:1]]
        layers.append(Line("", front, colour=7, faint=True))
        for number, (x, y, row) in enumerate(at):
            ends = (row["interval"]["low"], row["interval"]["high"])
            said = f"{row['name']}: {words.score(self.metric, y)}, {_shown(cost, x)}"
            layers.append(Named(row["name"], (x, y), ends, self.colours[row["name"]], said, above=number % 2 == 0))
        every = [y for row in rows for y in (row["interval"]["low"], row["interval"]["high"])]
        every += [one["score"] for one in self.baselines[:1]]
        room = 0.08 * (max(every) - min(every)) or 0.01
        name = words(f"pareto.{cost}")
        costs = [x for x, _, _ in at]
        across = Axis(name, lambda value: _shown(cost, value), log=max(costs) > SPREAD * min(costs))
        up = Axis(words_of(self), self._score, low=min(every) - room, high=max(every) + room)
        return Picture(plot(layers, across, up), words("pareto.over", metric=words_of(self), cost=name))

    def _score(self, value: float) -> str:
        return self.words.tick(self.metric, value)

    def pairs(self) -> Iterator[Block]:
        """The best candidate less each other system; then all pairs."""
        words, best = self.words, self.verdict.get("best")
        mine = [_less(one, best) for one in self.differences if best in (one["first"], one["second"])]
        if not mine:
            return
        bars = [
            Bar(
                words("pairs.name", name=self._called(name)),
                gap,
                low,
                high,
                colour=0 if low > 0 else 1 if high < 0 else 7,
                said=f"{words.gap(self.metric, gap)}  {words.gaps(self.metric, low, high)}",
            )
            for name, gap, low, high in sorted(mine, key=lambda one: one[1])
        ]
        axis = Axis(words("pairs.axis", metric=words_of(self)), lambda value: words.gap_tick(self.metric, value))
        title = words("pairs.picture", best=best, level=self.level)
        yield Picture(intervals(bars, axis, zero=True), title, words("pairs.caption", best=best))
        head = [words(f"pairs.{name}") for name in ("first", "second", "difference", "interval", "distinct")]
        rows = [
            [
                self._called(one["first"]),
                self._called(one["second"]),
                words.gap(self.metric, one["difference"]),
                words.gaps(self.metric, one["interval"]["low"], one["interval"]["high"]),
                words("yes" if one["distinct"] else "no"),
            ]
            for one in self.differences
        ]
        yield Table(head, rows, words=2, folded=words("pairs.table", count=len(rows)))

    def _called(self, name: str) -> str:
        plain = any(one["name"] == name for one in self.baselines)
        return self.words.name("baseline", name) if plain else name


def words_of(of: Compared) -> str:
    """What the metric is called."""
    return of.words.name("metric", of.metric)


def _less(pair: Record, best: object) -> tuple[str, float, float, float]:
    """The other system's name, and best less other with its interval."""
    ends = pair["interval"]
    if pair["first"] == best:
        return str(pair["second"]), pair["difference"], ends["low"], ends["high"]
    return str(pair["first"]), -pair["difference"], -ends["high"], -ends["low"]


def _shown(cost: str, value: float) -> str:
    if cost == "trained":
        return parameters(value)
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
