"""A session as a callback of transformers' Trainer, which trl and SetFit have, too."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from peers.session import Meter, Session


class Told(TrainerCallback):
    """Counts tokens, sleeps between windows, and ends training when its time is over."""

    def __init__(self, session: Session, meter: Meter) -> None:
        self.session, self.meter = session, meter

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """One optimizer step is done; the weights that training ends with are scored, also where it is cut off."""
        over = self.session.step(self.meter.read())
        if over or state.global_step >= state.max_steps:
            control.should_training_stop = True
            control.should_evaluate = control.should_save = args.eval_strategy != IntervalStrategy.NO
