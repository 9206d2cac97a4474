"""The sections on serving in docs/results.md, from the JSON of serving.py and serving_faults.py. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

ABOUT = """## Sixty-four bundles of one base in one process

LoRA bundles of rank 8 on all-MiniLM-L6-v2 with random weights, which take as long as trained ones: half classify, half
tag. {clients} clients send one real text at a time to a bundle drawn uniformly (`make bench-serving`, wrk on loopback);
medians of {rounds} rounds of {seconds} seconds, the systems by turns on one machine. All have the same HTTP, queue,
tokenizer, heads and one thread for the model; `adapter_names` is peft's own mixed pass over as many rows,
`set_adapter` one pass a request. Before that, every system's answers were those of the bundles alone. Memory is what a
process has for itself; the last row is {bundles} times that of a server with one bundle.
"""
FAULTS = """## A server under faults

Real processes of `adaptune serve` on loopback, with {bundles} bundles of four tasks and six methods on a tiny model:
what is looked at is not speed (`make bench-faults`; each part ends with an error where an answer is wrong, lost or
late, and runs in a smaller size with the tests).
"""
NAMES = {
    "adaptune": "adaptune serve",
    "adapter_names": "peft, adapter_names",
    "set_adapter": "peft, set_adapter",
}


def section(result: dict[str, Any]) -> str:
    """Markdown."""
    windows = result["windows"]
    about = ABOUT.format(**result, rounds=len(windows["adaptune"]))
    rates = {name: median(one["requests"] / one["seconds"] for one in some) for name, some in windows.items()}
    lines = ["| system | requests a second | p50, ms | p95, ms | p99, ms | memory, MB |", f"|{' --- |' * 6}"]
    for name, some in windows.items():
        times = " | ".join(f"{median(one[place] for one in some):.0f}" for place in ("p50", "p95", "p99"))
        lines.append(f"| {NAMES[name]} | {rates[name]:.0f} | {times} | {result['resident_mb'][name]:.0f} |")
    lines.append(f"| a process for each bundle | - | - | - | - | {result['resident_mb']['a process each']:.0f} |")
    ratios = ", ".join(
        f"{rates['adaptune'] / rate:.1f} times {NAMES[name]}" for name, rate in rates.items() if name != "adaptune"
    )
    tensors, own = result["tensor_bytes"], result["weights_bytes"]
    limit = tensors["base"] + own
    share = (tensors["base"] + tensors["bundles"]) / limit
    held = (
        f"Tensors of the base take {tensors['base'] / 1e6:.1f} MB, those of all bundles "
        f"{tensors['bundles'] / 1e6:.1f} MB; their weight files {own / 1e6:.1f} MB: {share:.2f} times base and files."
    )
    return f"{about}\n" + "\n".join(lines) + f"\n\nRequests a second: {ratios}.\n\n{held}\n"


def faults_section(found: dict[str, Any]) -> str:
    """Markdown, of the parts that were run."""
    rows = [(what, tell(found[part])) for part, (what, tell) in PARTS.items() if part in found]
    head = ["| what is done to it | what came of it |", "| --- | --- |"]
    table = "\n".join([*head, *(f"| {what} | {told} |" for what, told in rows)])
    return f"{FAULTS.format(bundles=found.get('swap', {}).get('bundles', 13))}\n{table}\n"


def _told_swap(one: dict[str, Any]) -> str:
    return (
        f"{one['requests']:,} requests, {one['at_a_time']} at a time, {one['swaps']} swaps: every answer that of one "
        f"version of its bundle ({one['versions_that_answered']} versions answered), none failed"
    )


def _told_kill(one: dict[str, Any]) -> str:
    return (
        f"{one['kills']} kills: of {one['feedback_acknowledged']:,} acknowledged corrections "
        f"{one['feedback_lost']} lost, the registry as acknowledged each time, "
        f"{one['answers_checked']} answers as before, no half-written file"
    )


def _told_disk(one: dict[str, Any]) -> str:
    refusals = sum(one["refused_with_503_or_422"].values())
    return f"{one['answered_while_full']:,} predictions answered, {refusals} changes refused, none half done"


def _told_damage(one: dict[str, Any]) -> str:
    refused = sum(number for how, number in one["outcomes"].items() if how.endswith("refused"))
    return f"{one['damaged_bundles']} bundles: {refused} refused, the others answer as they do offline"


def _told_clients(one: dict[str, Any]) -> str:
    return (
        f"{one['slow_clients']} slow clients cut after at most {one['cut_after_seconds_at_most']} s of the 2 allowed, "
        f"others answered meanwhile; {one['heads']} malformed heads: no second answer, no server error"
    )


def _told_drawn(one: dict[str, Any]) -> str:
    statuses = ", ".join(f"{status}: {number:,}" for status, number in one["statuses"].items())
    return (
        f"{one['requests']:,} requests to {one['operations']} operations, each answered as the schema says ({statuses})"
    )


def _told_stop(one: dict[str, Any]) -> str:
    return (
        f"{one['clients']} clients: of {one['sent_before']:,} requests sent before it none failed, nor of the "
        f"{one['answered_after']} after it that were taken; {one['cut_after']} cut, "
        f"{one['seconds_to_the_end']} s to the end"
    )


def _told_growth(one: dict[str, Any]) -> str:
    marks = ", ".join(f"{int(mark):,}: {found:.0f} MB" for mark, found in one["resident_mb"].items())
    return (
        f"{marks}; {one['bytes_a_request']:.0f} bytes a request after the first 20,000, with "
        f"{one['loads_from_disk']:,} loads from disk and {one['swaps_and_deletions']} swaps and deletions between"
    )


PARTS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "swap": ("mixed requests while bundles are swapped", _told_swap),
    "kill": ("kill -9 in mid-load", _told_kill),
    "full_disk": ("a disk without one byte left", _told_disk),
    "damaged": ("bits flipped in manifest, header and body, files cut short", _told_damage),
    "bad_clients": ("slow clients and malformed heads", _told_clients),
    "drawn": ("requests drawn by schemathesis", _told_drawn),
    "stopped": ("SIGTERM in load", _told_stop),
    "growth": ("resident memory over requests", _told_growth),
}
"""Of bench/serving_faults.py: what is done, and how what was found reads."""
