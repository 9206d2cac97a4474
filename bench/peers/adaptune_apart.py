"""adaptune, both texts of a pair read by themselves: a recipe of its task `match` with the cosine of two vectors."""

from __future__ import annotations

from peers.adaptune import main

if __name__ == "__main__":
    main()
