"""Texts while they are written, a token at a time, many in one pass. Knows no bundle.

transformers has continuous batching of its own (`generate_batch`), which gives the same texts on a processor. It lays
the tokens of all texts into one row, (1, N), and adapters of several bundles differ by row; it computes attention by
names of its own, where a prefix needs another; and its settings are those of a whole batch. So the pass is ours, over
transformers' models, caches and rules for the choice of a token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache
from transformers.generation.logits_process import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from adaptune.heads.generate import GenerateHead
from adaptune.models.places import Places, Read
from adaptune.models.write import ends_of, until_stop


class Draft:
    """One text while it is written."""

    def __init__(
        self,
        prompt: NDArray[Any],
        head: GenerateHead,
        tokenizer: Any,
        *,
        end: int | None = None,
        seed: int = 0,
        weighed: bool = False,
        show: Callable[[str], None] | None = None,
    ) -> None:
        """`weighed`: whether its probability is asked for; `show` is told all of the text after every token."""
        if head.beams > 1 or head.max_new_tokens is None:
            raise ValueError("a draft grows token by token up to a length; a search with beams has no text meanwhile")
        self.prompt = torch.as_tensor(prompt, dtype=torch.int64)
        self.most = head.max_new_tokens
        self.ids: list[int] = []
        """That were written, an end among them."""
        self.finish: Literal["stop", "length"] | None = None
        """How it ended; None: not yet."""
        self.gone = False
        """Set from any thread: it is wanted no longer."""
        self._tokenizer = tokenizer
        self._stop = head.stop
        self._ends = frozenset(ends_of(tokenizer, end))
        self._rules = _rules(head)
        self._sample = head.sample
        self._seed = seed
        self._generator: torch.Generator | None = None
        self._weighed = weighed
        self._show = show
        self._sum = 0.0

    @property
    def text(self) -> str:
        """What stands so far, up to the first stop string."""
        return until_stop(self._decoded(), self._stop)

    @property
    def probability(self) -> float:
        """The geometric mean over its tokens, as the model gives them without temperature and other rules."""
        if not self._weighed:
            raise ValueError("this draft was not asked for its probability")
        return float(torch.tensor(self._sum / len(self.ids)).exp())

    def extend(self, logits: Tensor) -> None:
        """(V,) one token more."""
        token = self._choose(logits)
        self.ids.append(token)
        if self._weighed:
            self._sum += float(logits.float().log_softmax(dim=-1)[token])
        text = self._decoded() if self._stop or self._show else ""
        if token in self._ends or any(string in text for string in self._stop):
            self.finish = "stop"
        elif len(self.ids) >= self.most:
            self.finish = "length"
        if self._show is not None and not self.gone:
            self._show(text)

    def _choose(self, logits: Tensor) -> int:
        scores = logits[None].float()
        if self._rules:
            written = torch.tensor(self.ids, dtype=torch.int64)
            scores = self._rules(torch.cat([self.prompt, written])[None].to(scores.device), scores)
        if not self._sample:
            return int(scores.argmax())
        if self._generator is None:
            self._generator = torch.Generator(scores.device).manual_seed(self._seed)
        return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=self._generator))

    def _decoded(self) -> str:
        text: str = self._tokenizer.decode(self.ids, skip_special_tokens=True)
        return text


def _rules(head: GenerateHead) -> Any:
    """transformers' own, in the order in which `generate` has them."""
    rules: list[Any] = []
    if head.no_repeat_ngram:
        rules.append(NoRepeatNGramLogitsProcessor(head.no_repeat_ngram))
    if head.sample:
        if head.temperature != 1.0:
            rules.append(TemperatureLogitsWarper(head.temperature))
        if head.top_k:
            rules.append(TopKLogitsWarper(head.top_k))
        if head.top_p < 1.0:
            rules.append(TopPLogitsWarper(head.top_p))
    return LogitsProcessorList(rules)


class Lane:
    """Drafts that one trunk reads: they join between passes, and leave when they are written or wanted no longer."""

    def __init__(self, trunk_for: Callable[[Sequence[Draft]], Any], words: torch.nn.Module, pad: int) -> None:
        """`trunk_for` gives the trunk for a pass over these drafts, in their order; `words` (N, D) -> (N, V)."""
        self.drafts: list[Draft] = []
        self._trunk_for = trunk_for
        self._words = words
        self._pad = pad
        self._places = Places()
        self._front = 0
        """Positions that the trunk puts before every prompt."""

    def join(self, drafts: Sequence[Draft]) -> None:
        """Read the prompts in one pass: each draft then has its first token."""
        trunk = self._trunk_for(drafts)
        device = next(trunk.parameters()).device
        lengths = [len(draft.prompt) for draft in drafts]
        ids = pad_sequence([draft.prompt for draft in drafts], batch_first=True, padding_value=self._pad).to(device)
        ends = torch.tensor(lengths, device=device)
        mask = (torch.arange(ids.shape[1], device=device) < ends[:, None]).long()
        cache = DynamicCache(config=trunk.config)
        output = trunk(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        self._front = front = cache.get_seq_length() - ids.shape[1]
        self._extend(drafts, output.last_hidden_state[torch.arange(len(drafts), device=device), ends - 1])
        stay = [row for row, draft in enumerate(drafts) if draft.finish is None]
        if stay:
            rows = [Read(row, front + lengths[row], front + lengths[row] + drafts[row].most) for row in stay]
            self._places.add(cache, rows)
            self.drafts += [drafts[row] for row in stay]

    def step(self) -> None:
        """One token more of every draft, in one pass."""
        trunk = self._trunk_for(self.drafts)
        device = next(trunk.parameters()).device
        ends = self._places.begin(device) - self._front
        ids = torch.tensor([[draft.ids[-1]] for draft in self.drafts], device=device)
        width = self._places.longest - self._front + 1
        mask = (torch.arange(width, device=device) <= ends[:, None]).long()
        output = trunk(
            input_ids=ids,
            attention_mask=mask,
            position_ids=ends[:, None],
            past_key_values=self._places,
            use_cache=True,
        )
        self._places.end()
        self._extend(self.drafts, output.last_hidden_state[:, -1])

    def leave(self) -> list[Draft]:
        """Those that are written, or gone, which make room."""
        left = []
        for place in reversed(range(len(self.drafts))):
            if self.drafts[place].finish is not None or self.drafts[place].gone:
                left.append(self.drafts[place])
                self._places.drop(place)
                self.drafts[place] = self.drafts[-1]
                self.drafts.pop()
        return left

    def _extend(self, drafts: Sequence[Draft], states: Tensor) -> None:
        for draft, logits in zip(drafts, self._words(states), strict=True):
            draft.extend(logits)
