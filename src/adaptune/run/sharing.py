"""What several runs on one base and the same rows share, so that it is computed once. Trains nothing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from adaptune.approaches.finetune import Finetune
from adaptune.bundle.answers import encoder_of
from adaptune.core.approach import Approach
from adaptune.core.backbone import Backbone
from adaptune.core.batch import Encoded
from adaptune.core.catalogue import section
from adaptune.core.method import State
from adaptune.data.tokens import Tokens
from adaptune.engine.warm_start import Warm, state_of
from adaptune.models.assembly import Assembly
from adaptune.models.below import Below
from adaptune.prepare import Prepared
from adaptune.recipe import Recipe
from adaptune.run.choosing import choose
from adaptune.run.kitchen import Kitchen, kitchen_of, kitchen_on, placed

Choice = tuple[Approach, State]
"""What an approach chose, and the head's layer as it then was."""
Encodings = tuple[Mapping[str, list[Encoded]], Tokens | None]


@dataclass(slots=True)
class Pantry:
    """A loaded base, and what runs on it left for others: tokens, the head's optimum, states of frozen layers.

    Its runs differ in approach, head, method, seed, folder, training, and in how few of the training rows they take
    (`data.shots`, `data.draw`): task, rows and model are the same.
    """

    backbone: Backbone
    below: dict[int, Below] = field(default_factory=dict)
    """By numbers of layers: what so many of the base's first ones give for each sequence."""
    _encoded: dict[Hashable, dict[Hashable, Encodings]] = field(default_factory=dict)
    """By how rows are read, then by which are."""
    _warm: dict[Hashable, Warm] = field(default_factory=dict)
    _choices: dict[Hashable, Choice] = field(default_factory=dict)
    _filled: set[Hashable] = field(default_factory=set)

    def kitchen(self, recipe: Recipe, prepared: Prepared) -> Kitchen:
        """As `set_up` makes it, with tokens that are made once. Raises Unsupported."""
        assembly, lineage = placed(recipe, prepared, self.backbone)
        self._choose(assembly, recipe, prepared)
        encoder = encoder_of(assembly)
        seed = None if encoder.reading is None else recipe.seed
        key = (
            str(section(assembly.approach)),
            encoder.labels,
            encoder.max_length,
            encoder.writing,
            encoder.reading,
            seed,
        )
        alike = self._encoded.setdefault(key, {})
        if (taken := _taken(recipe)) not in alike:
            if alike:
                kitchen = kitchen_of(recipe, prepared, assembly, lineage)
            else:  # what lengths mean is said once
                kitchen = kitchen_on(assembly, recipe, prepared, lineage)
            alike[taken] = (kitchen.encoded, kitchen.tokens)
        encoded, tokens = alike[taken]
        return Kitchen(recipe, prepared, assembly, encoded, lineage, tokens)

    def _choose(self, assembly: Assembly, recipe: Recipe, prepared: Prepared) -> None:
        """By validation rows, once for all runs in which the approach would choose the same."""
        if type(assembly.approach).chosen is Approach.chosen:
            return
        parts = tuple(str(section(part)) for part in (assembly.approach, assembly.head, recipe.method))
        key = (*parts, assembly.labels, recipe.seed, _taken(recipe))
        if key not in self._choices:
            choose(assembly, recipe, prepared)
            self._choices[key] = (assembly.approach, state_of(assembly))
        assembly.approach, layer = self._choices[key]
        assembly.layer.load_state_dict(layer)

    def warm_for(self, kitchen: Kitchen) -> Warm | None:
        """The warm start of an earlier run that read the same features; None: there was none."""
        key = _features(kitchen)
        return None if key is None else self._warm.get(key)

    def keep_warm(self, kitchen: Kitchen, warm: Warm) -> None:
        """Let others begin with it that read the same features."""
        if (key := _features(kitchen)) is not None:
            self._warm[key] = warm

    def fills(self, layers: int, kitchen: Kitchen) -> bool:
        """Whether no run before this one asked what so many frozen layers give for its rows; it now has."""
        key = (layers, _taken(kitchen.recipe))
        known = key in self._filled
        self._filled.add(key)
        return not known

    def forget(self) -> None:
        """Give up what frozen layers gave."""
        self._filled.clear()
        for below in self.below.values():
            below.store.forget()
        self.below.clear()


def _taken(recipe: Recipe) -> Hashable:
    """Which of the training rows a run takes."""
    return (recipe.data.shots, recipe.data.draw)


def _features(kitchen: Kitchen) -> Hashable | None:
    """Equal where a head reads the same features before the first step; None where no other run reads these."""
    recipe, head = kitchen.recipe, kitchen.assembly.head
    method = recipe.method
    plainly = isinstance(kitchen.assembly.approach, Finetune)
    if not plainly or not method.identity or method.start is not None or head.own_tokens:
        return None
    # A layer that is linear alone is fitted from zero; parts below it begin with values that the seed decides.
    drawn = not head.plain or recipe.train.warm_start_rows is not None or kitchen.tokens is not None
    seeds: Sequence[int] = [recipe.seed] if drawn else []
    return (str(section(head)), kitchen.assembly.labels, kitchen.assembly.max_length, _taken(recipe), *seeds)
