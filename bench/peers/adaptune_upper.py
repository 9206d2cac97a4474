"""adaptune, the upper layers alone: LoRA goes without the lowest third, which therefore runs once for each text."""

from __future__ import annotations

from peers.adaptune import main

if __name__ == "__main__":
    main()
