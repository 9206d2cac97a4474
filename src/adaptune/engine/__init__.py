"""Training: the loop, optimizers, schedules, the warm start, checkpoints. Knows no task, no recipe, no run folder."""
