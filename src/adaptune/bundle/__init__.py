"""Bundles: what a task learned, as one small folder beside its base model. Knows no recipe and no training loop."""
