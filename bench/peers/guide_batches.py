"""transformers' Trainer with peft's LoRA and right tags, in batches of 16 rows that are all padded to 128 tokens."""

from __future__ import annotations

from peers.trainer_peft import main

if __name__ == "__main__":
    main()
