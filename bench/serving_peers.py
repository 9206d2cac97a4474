"""A server like `adaptune serve` but for the pass of the trunk, which is plain peft's. For bench/serving.py alone.

    python bench/serving_peers.py adapter_names FOLDER MODEL

`adapter_names`: the rows of a batch in one pass, each with its adapter, as peft mixes them. `set_adapter`: one request
after another, each with its adapter switched on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModel

from adaptune.core.batch import Encoded
from adaptune.data.batches import Budget, by_rows
from adaptune.evaluate.predict import MOST_SEQUENCES
from adaptune.serve import compute, service
from adaptune.serve.batcher import Queueing
from adaptune.serve.compute import Asked, Found
from adaptune.serve.config import ServeConfig
from adaptune.serve.pool import Pool
from adaptune.serve.server import Door, Holding, serve

Answer = Callable[..., list[Found]]


class Peft:
    """All bundles as adapters of one PeftModel; heads and decoding are adaptune's own."""

    def __init__(self, root: Path, model: str) -> None:
        first, *others = sorted(root.iterdir())
        self.model: Any = PeftModel.from_pretrained(
            AutoModel.from_pretrained(model), str(first), adapter_name=first.name
        )
        for folder in others:
            self.model.load_adapter(str(folder), adapter_name=folder.name)
        self.model.eval()

    @torch.inference_mode()
    def together(self, pool: Pool, asked: Sequence[Asked], *, batch_tokens: int) -> list[Found]:
        """One pass for rows of any adapters."""
        return self._answers(pool, asked, batch_tokens, lambda names: {"adapter_names": names})

    @torch.inference_mode()
    def by_turns(self, pool: Pool, asked: Sequence[Asked], *, batch_tokens: int) -> list[Found]:
        """A pass a request."""
        return [self._answers(pool, [one], batch_tokens, self._switch)[0] for one in asked]

    def _switch(self, names: Sequence[str]) -> dict[str, Any]:
        self.model.set_adapter(names[0])
        return {}

    def _answers(
        self, pool: Pool, asked: Sequence[Asked], batch_tokens: int, choose: Callable[[list[str]], dict[str, Any]]
    ) -> list[Found]:
        rows = dict(enumerate(asked))
        hot = {one.bundle: pool.hot(one.bundle) for one in asked if one.bundle is not None}
        sequences = [replace(one, row=place) for place, row in rows.items() for one in row.sequences]
        found: dict[int, Found] = {}
        for indices in by_rows(sequences, Budget(tokens=batch_tokens, rows=MOST_SEQUENCES)):
            some = [sequences[index] for index in indices]
            hidden = self._hidden(pool, some, choose([_name(rows, one) for one in some]))
            found |= compute._read(pool, hidden, some, rows, hot)
        return [found[place] for place in rows]

    def _hidden(self, pool: Pool, sequences: Sequence[Encoded], settings: dict[str, Any]) -> torch.Tensor:
        batch = compute._batch(pool, sequences)
        given = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": batch.segments}
        return self.model(**given, **settings).last_hidden_state


def _name(rows: dict[int, Asked], sequence: Encoded) -> str:
    bundle = rows[sequence.row].bundle
    assert bundle is not None
    return bundle.name


def main() -> None:
    """Serve on a free port until told to stop."""
    system, root, model = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    peft = Peft(root, model)
    service.answer_all = {"adapter_names": peft.together, "set_adapter": peft.by_turns}[system]
    serve(
        ServeConfig(root=root), Door(port=0), Holding(most_hot=sum(1 for _ in root.iterdir())), Queueing(), model=model
    )


if __name__ == "__main__":
    main()
