"""Pretrained models: where they lie, how they load, and how their families name their layers. Knows no task."""
