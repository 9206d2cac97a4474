"""Training: the loop, the optimizer, the schedule, the warm start, checkpoints. Knows no task, no recipe, no files of a run."""
