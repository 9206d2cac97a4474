"""How often a comparison finds a better system where there is none, and covers a difference that there is.

    python bench/false_better.py

Answers are drawn, nothing is trained: rows differ in difficulty, runs by their seeds, and rows by what seeds change in
them. Writes results/statistics/false-better.json, which docs/results.md shows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptune.compare.statistics import compare_systems
from adaptune.evaluate.intervals import difference_interval
from adaptune.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "results" / "statistics" / "false-better.json"
COMPARISONS = 2000
DRAWS = 300
OF_ROWS = 0.3
"""Standard deviation of what a seed changes in one row, where difficulties of rows have 1."""
LEVEL = 0.95


class Scenario(NamedTuple):
    """What comparisons are drawn from."""

    task: str
    rows: int
    systems: int
    """Trained ones; beside them is one baseline without seeds."""
    seeds: int
    of_seeds: float
    """Standard deviation of what a seed changes in all rows."""
    of_others: float
    """The same of all systems but the first: some methods end where they end, whatever the seed."""
    apart: float
    """How much better the first system is where there is a difference, in the unit of difficulties."""


SCENARIOS = (
    Scenario("classify", 200, 2, 3, 0.10, 0.10, 0.3),
    Scenario("classify", 200, 2, 3, 0.10, 0.00, 0.3),
    Scenario("classify", 200, 2, 3, 0.00, 0.00, 0.3),
    Scenario("classify", 200, 4, 3, 0.03, 0.03, 0.3),
    Scenario("classify", 200, 2, 5, 0.10, 0.10, 0.3),
    Scenario("classify", 200, 2, 2, 0.10, 0.10, 0.3),
    Scenario("tag", 150, 2, 3, 0.10, 0.10, 0.3),
)


def main() -> None:
    """Every scenario, as one JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=COMPARISONS, help=f"of each scenario ({COMPARISONS:,})")
    count = parser.parse_args().comparisons
    found = []
    for scenario in SCENARIOS:
        found.append(measured(scenario, comparisons=count))
        print(json.dumps(found[-1]), flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"level": LEVEL, "scenarios": found}) + "\n", encoding="utf-8")


def measured(scenario: Scenario, *, comparisons: int) -> dict[str, Any]:
    """Rates over so many comparisons without a difference, and as many with one; each with its 95 % interval."""
    task = TASKS.get(scenario.task)()
    false, plain, covered, power = 0, 0, 0, 0
    widths = []
    for number in range(comparisons):
        runs, baseline = _drawn(scenario, np.random.default_rng([7, number]), 0.0)
        found = compare_systems(task.metric_of, runs, {"baseline": baseline}, seed=number, draws=DRAWS)
        false += any(pair.distinct for pair in found.pairs)
        low, high = difference_interval(task, runs["0"], runs["1"], samples=DRAWS // 2, seed=number)
        plain += low > 0 or high < 0
        runs, baseline = _drawn(scenario, np.random.default_rng([8, number]), scenario.apart)
        pairs = compare_systems(task.metric_of, runs, {"baseline": baseline}, seed=number, draws=DRAWS).pairs
        covered += all(pair.low <= gap <= pair.high for pair, gap in zip(pairs, _gaps(scenario), strict=True))
        power += pairs[0].low > 0
        widths.append(pairs[0].high - pairs[0].low)
    rates = {
        "false_better": false,
        "plain_bootstrap_false_better": plain,
        "coverage": covered,
        "found": power,
    }
    return {
        **scenario._asdict(),
        "comparisons": comparisons,
        "score": _truth(scenario, 0.0),
        "score_of_the_better": _truth(scenario, scenario.apart),
        "spread_of_seeds": _spread(scenario, 0),
        "spread_of_others": _spread(scenario, 1),
        "interval_width": float(np.median(widths)),
        **{name: _rate(hits, comparisons) for name, hits in rates.items()},
    }


Counts = NDArray[np.int64]


def _drawn(scenario: Scenario, generator: np.random.Generator, apart: float) -> tuple[dict[str, list[Counts]], Counts]:
    """Of every trained system its runs, and a baseline as good as the plain ones whose rows no seed changes."""
    draw = _draw_labels if scenario.task == "classify" else _draw_spans
    run = draw(scenario.rows, generator)
    runs = {
        str(system): [
            run(_of_seed(scenario, system) * generator.standard_normal() + (apart if system == 0 else 0.0))
            for _ in range(scenario.seeds)
        ]
        for system in range(scenario.systems)
    }
    return runs, run(0.0)


def _of_seed(scenario: Scenario, system: int) -> float:
    return scenario.of_others if system else scenario.of_seeds


BASE = 0.9
"""How able systems are, in the unit of difficulties."""
SPURIOUS = 1.2
"""How far below the threshold lie spans that are none."""


def _draw_labels(rows: int, generator: np.random.Generator) -> Callable[[float], Counts]:
    """(R, 2) right answers and answers of a run with an ability."""
    ease = generator.standard_normal(rows)

    def run(ability: float) -> Counts:
        right = BASE + ability + ease + OF_ROWS * generator.standard_normal(rows) > 0
        return np.stack([right.astype(np.int64), np.ones(rows, dtype=np.int64)], axis=1)

    return run


def _draw_spans(rows: int, generator: np.random.Generator) -> Callable[[float], Counts]:
    """(R, 3) spans that are right, that were predicted, that were expected."""
    there, elsewhere = generator.poisson(1.5, rows), generator.poisson(1.0, rows)
    of_there, of_elsewhere = np.repeat(np.arange(rows), there), np.repeat(np.arange(rows), elsewhere)
    ease, lure = generator.standard_normal(len(of_there)), generator.standard_normal(len(of_elsewhere))

    def run(ability: float) -> Counts:
        hits = BASE + ability + ease + OF_ROWS * generator.standard_normal(len(ease)) > 0
        wrong = lure - SPURIOUS - ability + OF_ROWS * generator.standard_normal(len(lure)) > 0
        right = np.bincount(of_there[hits], minlength=rows)
        extra = np.bincount(of_elsewhere[wrong], minlength=rows)
        return np.stack([right, right + extra, there], axis=1).astype(np.int64)

    return run


def _truth(scenario: Scenario, ability: float, system: int = 0) -> float:
    """The mean score over all seeds there could be, on all rows there could be."""
    return float(np.average(_scores(scenario, ability, _of_seed(scenario, system) * NODES), weights=WEIGHTS))


def _spread(scenario: Scenario, system: int) -> float:
    """Standard deviation of the score over seeds."""
    scores = _scores(scenario, 0.0, _of_seed(scenario, system) * NODES)
    mean = np.average(scores, weights=WEIGHTS)
    return float(np.sqrt(np.average((scores - mean) ** 2, weights=WEIGHTS)))


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
"""Gauss-Hermite quadrature over a standard normal."""


def _scores(scenario: Scenario, ability: float, seeds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of runs with what these seeds change, on all rows there could be."""
    at = ability + seeds
    scale = np.sqrt(1 + OF_ROWS**2)
    hits = _normal((BASE + at) / scale)
    if scenario.task == "classify":
        return hits
    right, wrong = 1.5 * hits, 1.0 * _normal((-SPURIOUS - at) / scale)
    return 2 * right / (right + wrong + 1.5)


def _normal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distribution function: of the integral of the density, by quadrature from 0."""
    points, weights = np.polynomial.legendre.leggauss(60)
    grid = values[:, None] * (points + 1) / 2
    area = (np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi) * weights).sum(axis=1) * values / 2
    found: NDArray[np.float64] = 0.5 + area
    return found


def _gaps(scenario: Scenario) -> Iterator[float]:
    """The true difference of every pair, in their order: the first system is the better one."""
    better, other = _truth(scenario, scenario.apart), _truth(scenario, 0.0, 1)
    plain = float(_scores(scenario, 0.0, np.zeros(1))[0])
    scores = [better, *[other] * (scenario.systems - 1), plain]
    for first in range(scenario.systems):
        for second in range(first + 1, len(scores)):
            yield scores[first] - scores[second]


def _rate(hits: int, of: int) -> dict[str, float]:
    """With Wilson's interval (1927)."""
    z, share = 1.96, hits / of
    middle = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return {"rate": share, "low": float(max(0.0, middle - half)), "high": float(min(1.0, middle + half))}


if __name__ == "__main__":
    main()
