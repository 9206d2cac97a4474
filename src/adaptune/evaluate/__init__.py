"""Predictions, intervals and baselines. Knows tasks by their abstract class alone."""
