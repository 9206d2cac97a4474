"""Rows of files as values: read, checked, split, encoded, batched. Knows no heads, methods or models."""
