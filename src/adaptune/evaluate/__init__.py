"""Predictions, intervals, baselines and calibration. Knows tasks by their abstract class alone."""
