"""Which systems stand side by side: their environments, tasks and learning rates. Standard library alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from peers.rows import TASKS, Kind

Rates = tuple[float, ...]
ALL: tuple[Kind, ...] = ("classify", "tag", "regress", "write")


@dataclass(frozen=True, slots=True)
class Peer:
    """One system."""

    name: str
    """Of its module, `trainer_peft`."""
    shown: str
    """In tables and plots."""
    environment: str
    """Of the file in bench/environments/."""
    kinds: tuple[Kind, ...]
    rates: dict[Kind, Rates] = field(default_factory=dict)
    """Of which the best by validation is taken where we tune it."""
    only: str | None = None
    """The one task that it is measured on."""
    settings: tuple[str, ...] = ()
    """Of its throughput, where they are not those of systems with rates."""
    trained: bool = True
    """Whether it is trained to its end, too."""
    timed: bool = True
    """Whether its throughput is measured."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those that it can learn."""
        return tuple(task.name for task in TASKS.values() if task.kind in self.kinds and self.only in (None, task.name))


RATES: dict[Kind, Rates] = {
    "classify": (2e-3, 4e-3, 8e-3),
    "tag": (2e-3, 4e-3, 8e-3),
    "regress": (2e-3, 4e-3, 8e-3),
    "write": (2e-4, 5e-4, 1e-3),
}
"""Of LoRA, the same for all."""
DOCUMENTED = ("documented",)
SETTINGS = ("documented", "tuned")
"""As each documentation configures it; and with dropout off, batches of like lengths, the best of three rates."""
WINDOWS = ("documented", "padded", "tuned")
"""Of throughput: also with dropout off and nothing else changed."""
PEERS = {
    peer.name: peer
    for peer in (
        Peer("adaptune", "adaptune", "adaptune", ALL, RATES, settings=WINDOWS),
        Peer("adaptune_apart", "adaptune, bi-encoder", "adaptune", ("regress",), RATES, timed=False),
        Peer("adaptune_upper", "adaptune, upper layers", "adaptune", ALL[:3], timed=False),
        Peer("bucketed_loop", "PyTorch + peft, bucketed", "transformers-peft", ALL, RATES),
        Peer("trainer_peft", "transformers Trainer + peft", "transformers-peft", ALL, RATES, settings=WINDOWS),
        Peer(
            "guide_batches",
            "Trainer + peft, padded to 128",
            "transformers-peft",
            ALL[:3],
            settings=DOCUMENTED,
            trained=False,
        ),
        Peer("trl", "trl SFTTrainer", "trl", ("write",), {"write": RATES["write"]}),
        Peer("setfit", "SetFit", "setfit", ("classify",), {"classify": (2e-5,)}),
        Peer("naive_guide", "naive guide", "transformers-peft", ("tag",), only="wnut17"),
    )
}


def settings_of(peer: Peer) -> tuple[str, ...]:
    """Of trainings: a peer without rates of its own stands as its guide has it alone, if at all."""
    return (SETTINGS if peer.rates else DOCUMENTED) if peer.trained else ()


def windows_of(peer: Peer) -> tuple[str, ...]:
    """Of throughput."""
    return (peer.settings or settings_of(peer)) if peer.timed else ()
