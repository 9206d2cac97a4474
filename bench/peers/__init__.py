"""The systems that are measured side by side, a process each: `python -m peers.NAME ORDER` in the folder above."""
