"""All texts that are being written, by the trunks that read them. For the thread that computes; knows no requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from adaptune.core.batch import Encoded
from adaptune.core.errors import AdaptuneError
from adaptune.core.shell import Borrowed
from adaptune.core.types import Answer
from adaptune.data.batches import Budget, by_rows
from adaptune.models.drafts import Draft, Lane
from adaptune.serve.compute import SPREAD, Asked
from adaptune.serve.errors import Unavailable
from adaptune.serve.pool import Hot, Pool
from adaptune.serve.registered import Registered
from adaptune.serve.writing import Completion, Wish, as_wished

Written = Answer | Completion


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A row whose answer is a text, and the text."""

    asked: Asked
    bundle: Registered
    sequence: Encoded
    draft: Draft

    @property
    def positions(self) -> int:
        """Of keys and values, when all of it is written."""
        return len(self.sequence.ids) + self.bundle.method.positions + self.draft.most

    def answer(self) -> Written:
        """Of a draft that is written: with how it ended where a wish came with it, else with its probability."""
        draft = self.draft
        assert draft.finish is not None
        if self.asked.wish is None:
            return Answer(draft.text, draft.probability)
        return Completion(draft.text, len(draft.ids), draft.finish)


Ended = dict[Sheet, Written | Exception | None]
"""Sheets that are in work no longer: written, failed, or, with None, gone."""


def sheet_of(asked: Asked, pool: Pool, place: int = 0) -> Sheet:
    """An empty one; `place`: of the row among those of its request, which sets apart what is drawn for them."""
    bundle, [sequence], wish = asked.bundle, asked.sequences, asked.wish or Wish()
    assert bundle is not None
    head, listener = as_wished(bundle.tasks[asked.place].head, wish), asked.listener
    draft = Draft(
        sequence.ids,
        head,
        pool.backbone.tokenizer,
        end=sequence.end,
        seed=wish.seed + place,
        weighed=asked.wish is None,
        show=None if listener is None else partial(listener.show, stop=head.stop),
    )
    return Sheet(asked, bundle, sequence, draft)


class Running:
    """Sheets whose bundles stand in one mixture share every pass; those of a bundle with a trunk of its own share its.

    Where a bundle is taken over by another version, what was begun with it ends with it.
    """

    def __init__(self, pool: Pool, *, batch_tokens: int) -> None:
        """`batch_tokens`: most tokens of prompts in one pass."""
        self._pool = pool
        self._batch_tokens = batch_tokens
        self._lanes: dict[Hashable, Lane] = {}
        self._sheets: dict[Draft, Sheet] = {}
        pool.held = self._held

    def __len__(self) -> int:
        return len(self._sheets)

    @torch.inference_mode()
    def turn(self, joining: Sequence[Sheet]) -> Ended:
        """One token more of every text; those that join are read meanwhile, and get their first."""
        ended: Ended = {sheet: None for sheet in joining if sheet.draft.gone}
        self._clear(ended)
        for key, lane in list(self._lanes.items()):
            try:
                lane.step()
            except Exception as error:  # whatever it is: no other lane has to do with it
                ended |= {self._sheets.pop(draft): error for draft in lane.drafts}
                del self._lanes[key]
        self._join([sheet for sheet in joining if sheet not in ended], ended)
        self._clear(ended)
        return ended

    def _held(self) -> set[Registered]:
        return {sheet.bundle for sheet in self._sheets.values()}

    def _clear(self, ended: Ended) -> None:
        # A draft may be gone at any moment: what has left its lane here, and nothing else, has gone.
        left = [draft for lane in self._lanes.values() for draft in lane.leave()]
        at_once = [draft for draft in self._sheets if draft.finish is not None]
        for draft in dict.fromkeys([*left, *at_once]):
            sheet = self._sheets.pop(draft)
            ended[sheet] = sheet.answer() if draft.finish is not None else None
        self._lanes = {key: lane for key, lane in self._lanes.items() if lane.drafts}

    def _join(self, joining: Sequence[Sheet], ended: Ended) -> None:
        by_lane: dict[Hashable, list[Sheet]] = defaultdict(list)
        self._sheets |= {sheet.draft: sheet for sheet in joining}
        for sheet in joining:
            try:
                by_lane[self._lane_of(sheet)].append(sheet)
            except AdaptuneError as error:
                ended[self._sheets.pop(sheet.draft)] = Unavailable(str(error))
            except Exception as error:  # whatever it is: no other bundle has to do with it
                told = error.strerror if isinstance(error, OSError) and error.strerror else error
                found = Unavailable(f"bundle {sheet.bundle.full_name} cannot be read now: {told}")
                ended[self._sheets.pop(sheet.draft)] = found
        for key, sheets in by_lane.items():
            budget = Budget(tokens=self._batch_tokens, rows=max(1, len(sheets)), spread=SPREAD)
            for places in by_rows([replace(one.sequence, row=row) for row, one in enumerate(sheets)], budget):
                self._read(key, [sheets[place] for place in places], ended)

    def _read(self, key: Hashable, sheets: Sequence[Sheet], ended: Ended) -> None:
        """Those that fail together are tried one by one, as long as none has a token."""
        try:
            self._lanes[key].join([sheet.draft for sheet in sheets])
        except Exception as error:  # whatever it is: it belongs to the text that caused it
            if len(sheets) == 1 or any(sheet.draft.ids for sheet in sheets):
                ended |= {self._sheets.pop(sheet.draft): error for sheet in sheets}
            else:
                for sheet in sheets:
                    self._read(key, [sheet], ended)

    def _lane_of(self, sheet: Sheet) -> Hashable:
        """Which trunk reads it, and a lane for those that it reads; its bundle stands in memory then."""
        hot, backbone = self._pool.hot(sheet.bundle), self._pool.backbone
        key: Hashable = hot.kind if hot.kind is not None else (sheet.bundle, sheet.asked.place)
        if key not in self._lanes:
            assert backbone.vocabulary is not None
            words, pad = Borrowed(backbone.vocabulary), backbone.tokenizer.pad_token_id
            self._lanes[key] = Lane(self._trunks(hot, sheet.asked.place), words, pad)
        return key

    def _trunks(self, hot: Hot, place: int) -> Callable[[Sequence[Draft]], nn.Module]:
        if hot.kind is not None:
            mixture = self._pool.mixture(hot.kind)
            return lambda drafts: mixture.trunk([self._sheets[draft].bundle for draft in drafts])
        trunk = hot.assemblies[place].trunk if hot.assemblies else self._pool.plain.trunk
        return lambda _: trunk
