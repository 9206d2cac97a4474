"""The table of bundles in one process in docs/results.md, from the JSON of bench/serving.py. Runs nothing."""

from __future__ import annotations

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
