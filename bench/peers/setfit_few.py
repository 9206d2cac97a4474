"""SetFit on a few rows: pairs of sentences, then its regression; a file says which rows, another gets the answers.

Its own values, 20 pairs of each kind a sentence, as in its paper, but for a largest number of steps and its learning
rate, where the file has another.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

from peers.session import peak_memory

PAIRS = 20


def main() -> None:
    """One order."""
    order: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    texts, labels = zip(*order["train"], strict=True)
    model = SetFitModel.from_pretrained(order["model"])
    began, busy = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            save_strategy="no",
            report_to="none",
            show_progress_bar=False,
            seed=order["seed"],
            num_iterations=PAIRS,
            max_steps=order["steps"],
            body_learning_rate=order["learning_rate"],
        )
        rows = Dataset.from_dict({"text": texts, "label": labels})
        trainer = Trainer(model=model, args=arguments, train_dataset=rows)
        trainer.train()
    seconds, busy = time.monotonic() - began, time.process_time() - busy
    predicted = model.predict([text for text, _ in order["test"]], as_numpy=True)
    right = [int(str(found) == label) for found, (_, label) in zip(predicted, order["test"], strict=True)]
    whole = -(-2 * PAIRS * len(texts) // trainer.args.embedding_batch_size)
    result = {
        "accuracy": sum(right) / len(right),
        "rows": len(texts),
        "seconds": seconds,
        "busy_seconds": busy,
        "steps": min(order["steps"], whole),
        "steps_uncut": whole,
        "peak_memory_mb": peak_memory(),
        "right": "".join(map(str, right)),
    }
    Path(order["out"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
