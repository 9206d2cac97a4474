"""Everything one run works with, once data and model are there. Trains nothing, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from adaptune.bundle.answers import encoded_for, encoder_of
from adaptune.bundle.manifest import Ancestor
from adaptune.bundle.start import continue_from, continued_labels
from adaptune.core.approach import as_put
from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch, Encoded
from adaptune.core.errors import Unsupported
from adaptune.core.head import LOG_LIKELIHOOD
from adaptune.core.heap import keep_freed_memory
from adaptune.core.log import notice, warn
from adaptune.core.types import Answer, Example, OfSpan, Scores
from adaptune.data.batches import Batches, Budget, by_rows, collate, cut
from adaptune.data.chunks import ChunkedBatches, batches_of
from adaptune.data.encode_raw import masked_once
from adaptune.data.length_findings import length_findings
from adaptune.data.samples import LENGTHS, WARM_START, Sample, sample
from adaptune.data.stored import Stored
from adaptune.data.tokens import Tokens, encoded_all
from adaptune.engine.packing import packs
from adaptune.engine.pruning import Pruned, check_pruning
from adaptune.engine.trunk_cache import Read
from adaptune.evaluate.likelihood import likelihood, with_likelihood
from adaptune.evaluate.predict import AHEAD, WRITTEN_AHEAD, batch_tokens_of, predict, stream
from adaptune.methods.head_only import HeadOnly
from adaptune.models.assembly import Assembly
from adaptune.models.load import load_backbone
from adaptune.models.ragged import is_ragged
from adaptune.prepare import Prepared, labels_of
from adaptune.recipe import Recipe
from adaptune.run.choosing import choose


@dataclass(frozen=True, slots=True)
class Kitchen:
    """Everything one run works with, once data and model are there."""

    recipe: Recipe
    prepared: Prepared
    assembly: Assembly
    encoded: Mapping[str, list[Encoded]]
    lineage: Sequence[Ancestor]
    tokens: Tokens | None = None
    """Of training rows that are streamed; `encoded` then has no part "train"."""

    @property
    def metric(self) -> str:
        """What decides which weights are best."""
        return self.recipe.train.metric or (
            LOG_LIKELIHOOD if self.recipe.head.learns_texts else self.recipe.task.metric
        )

    def examples(self, part: str) -> Sequence[Example]:
        """The examples of train, valid or test."""
        return self.prepared.splits.parts[part]

    def predict(self, part: str) -> list[Answer]:
        """One answer a row of a part."""
        batch_tokens, rows = self.recipe.evaluate.batch_tokens, len(self.examples(part))
        return predict(self.assembly, self.questions(part), batch_tokens=batch_tokens, rows=rows)

    def stream(self, part: str) -> Iterator[Answer]:
        """The same, as they come."""
        ahead = WRITTEN_AHEAD if self.assembly.head.writes else AHEAD
        batch_tokens = self.recipe.evaluate.batch_tokens
        found = stream(self.assembly, self.questions(part), batch_tokens=batch_tokens, ahead=ahead)
        return (answer for _, answer in found)

    def unadapted(self) -> Kitchen:
        """The same with the model as it was before training."""
        own = self.assembly
        plain = Assembly(own.backbone, HeadOnly(), own.head, own.labels, seed=self.recipe.seed, approach=own.approach)
        return replace(self, assembly=plain.to(next(own.parameters()).device))

    def questions(self, part: str) -> Sequence[Encoded]:
        """What is answered: where texts are written, prompts alone; where they are raw, each token by itself."""
        if not self.assembly.head.learns_texts:
            return self.encoded[part]
        return encoded_for(self.assembly, self.examples(part), max_length=self.assembly.max_length)

    def watch(self) -> Mapping[str, float]:
        """The validation scores, what decides which weights are best among them; without rows the metric is 0."""
        if not self.examples("valid"):
            return {self.metric: 0.0}
        if self.metric == LOG_LIKELIHOOD:
            return self.likelihood()
        return self.score("valid", self.predict("valid")).values

    def likelihood(self) -> Mapping[str, float]:
        """Of the validation rows' texts."""
        return likelihood(self.assembly, self.encoded["valid"], batch_tokens=self.recipe.evaluate.batch_tokens)

    def score(self, part: str, answers: Sequence[Answer]) -> Scores:
        """The scores of answers for a part."""
        expected, size = [example.expected for example in self.examples(part)], self.recipe.evaluate.batch_tokens
        scores = self.recipe.task.measure(answers, expected, self.assembly.labels)
        if not self.recipe.task.likelihood or part not in self.encoded:
            return scores
        return with_likelihood(scores, self.assembly, self.encoded[part], batch_tokens=size)

    def batches(self, seed: int | None = None) -> Batches | ChunkedBatches | Pruned:
        """The batches to train on, in an order by the recipe's seed or another. Raises Unsupported."""
        batches = self._batches(seed)
        if not self.recipe.train.prune:
            return batches
        check_pruning(self.recipe.train, self.recipe.method, self.assembly.head)
        if isinstance(batches, ChunkedBatches):
            raise Unsupported(
                f"train.prune is {self.recipe.train.prune:g}, and rows are streamed, whose losses are not kept; set "
                "data.stream=never where they fit into memory, or train.prune=0"
            )
        return Pruned(batches, self.recipe.train)

    def _batches(self, seed: int | None) -> Batches | ChunkedBatches:
        train, of_base = self.recipe.train, self.assembly.backbone
        return batches_of(
            self.encoded["train"] if self.tokens is None else self.tokens,
            Budget(
                tokens=train.batch_tokens,
                rows=train.batch_rows,
                folded=self.assembly.folds and not train.gradient_checkpointing,
            ),
            pad=of_base.tokenizer.pad_token_id,
            seed=self.recipe.seed if seed is None else seed,
            whole_rows=self.assembly.head.whole_rows,
            packed=packs(
                train, self.recipe.method, self.recipe.head, of_base.roles, ragged=is_ragged(self.assembly.trunk)
            ),
            reading=self.assembly.reading,
        )

    def in_order(self, part: str) -> Iterator[Batch]:
        """The batches of a part, each row once, for work without gradients."""
        encoded: Sequence[Encoded]
        if part == "train":
            encoded = masked_once(self._looked_at(), self.assembly.reading, self.recipe.seed)
        else:
            encoded = self.encoded[part]
        pad = self.assembly.backbone.tokenizer.pad_token_id
        for indices in by_rows(encoded, self._budget):
            yield collate([encoded[index] for index in indices], pad)

    def by_length(self, part: str) -> Iterator[Batch]:
        """The batches of a part, the shortest sequences first, whatever rows or corpus they belong to."""
        encoded, pad = self.encoded[part], self.assembly.backbone.tokenizer.pad_token_id
        lengths = np.array([sequence.length for sequence in encoded], dtype=np.int64)
        for indices in cut(lengths.argsort(kind="stable"), lengths, self._budget):
            yield collate([encoded[index] for index in indices], pad)

    def read_again(self) -> Read:
        """What training reads in every epoch and in every evaluation."""
        parts = [part for part in ("train", "valid") if part in self.encoded]
        tokens = sum(len(sequence.ids) for part in parts for sequence in self.encoded[part])
        return Read(self.assembly, chain.from_iterable(map(self.by_length, parts)), tokens)

    @property
    def _budget(self) -> Budget:
        tokens = batch_tokens_of(self.assembly, self.recipe.evaluate.batch_tokens)
        return Budget(tokens=tokens, rows=512, folded=self.assembly.folds)

    def sample(self, purpose: str, rows: int | None) -> Sample:
        """Training rows for what need not see them all; said where it does not."""
        return sample(self.examples("train"), self.recipe.task, purpose, rows, seed=self.recipe.seed)

    def _looked_at(self) -> Sequence[Encoded]:
        """The training rows that are read before the first step."""
        found = self.sample(WARM_START, self.recipe.train.warm_start_rows)
        if self.tokens is not None:
            return self.tokens.of(found.rows)
        if found.whole:
            return self.encoded["train"]
        rows = frozenset(found.rows.tolist())
        return [sequence for sequence in self.encoded["train"] if sequence.row in rows]


def set_up(recipe: Recipe, prepared: Prepared, backbone: Backbone | None = None) -> Kitchen:
    """Load the model, unless it is there, put the adapter and the head on it, and encode the rows."""
    keep_freed_memory()
    backbone = backbone or load_backbone(recipe.model, words=recipe.head.reads_words)
    assembly, lineage = placed(recipe, prepared, backbone)
    choose(assembly, recipe, prepared)
    return kitchen_on(assembly, recipe, prepared, lineage)


def placed(recipe: Recipe, prepared: Prepared, backbone: Backbone) -> tuple[Assembly, Sequence[Ancestor]]:
    """The adapter and the head on a loaded base, before the approach chooses, and what they were started from.

    Raises Unsupported.
    """
    start = recipe.method.start
    labels = labels_of(recipe, prepared.splits)
    if start is not None:
        labels = continued_labels(start, recipe.task, labels)
    assembly = Assembly(
        backbone,
        recipe.method,
        recipe.head,
        labels,
        seed=recipe.seed,
        dropout=recipe.train.dropout,
        approach=recipe.approach.settled(prepared.splits.train, labels, seed=recipe.seed),
    )
    return assembly, continue_from(assembly, recipe.task, start) if start is not None else ()


def kitchen_on(assembly: Assembly, recipe: Recipe, prepared: Prepared, lineage: Sequence[Ancestor] = ()) -> Kitchen:
    """The rows as an assembly reads them; says what their lengths mean for the model."""
    splits = prepared.splits
    looked_at = sample(splits.train, recipe.task, LENGTHS, None, seed=recipe.seed).of(splits.train) or splits.valid
    rows = [*looked_at, *splits.valid, *splits.test] if recipe.task.likelihood else looked_at
    for finding in length_findings(
        as_put(assembly.approach, rows, assembly.labels, assembly.backbone.tokenizer),
        assembly.backbone.tokenizer,
        assembly.max_length,
        writing=assembly.writing,
        spans=assembly.head.target is OfSpan,
    ):
        (warn if finding.level == "warning" else notice)(str(finding))
    return kitchen_of(recipe, prepared, assembly, lineage)


def kitchen_of(recipe: Recipe, prepared: Prepared, assembly: Assembly, lineage: Sequence[Ancestor] = ()) -> Kitchen:
    """An assembly with every part's rows as token sequences; training rows that are streamed become such later."""
    encoder, train = encoder_of(assembly), prepared.splits.train
    cache = recipe.data.token_cache and recipe.task.by_row
    tokens = Tokens(train, encoder, cache=cache) if isinstance(train, Stored) else None
    if tokens is not None and assembly.writing is not None and assembly.writing.long_target == "refuse":
        tokens.make_all()  # what is refused is refused before the first step
    parts = dict(prepared.splits.parts)
    if tokens is not None:
        del parts["train"]
    if assembly.head.learns_texts and not recipe.task.likelihood:
        parts.pop("test", None)  # test rows that are scored by their texts are encoded for that
    encoded = {name: encoded_all(examples, encoder, cache=cache) for name, examples in parts.items()}
    # Every evaluation in training hides the same tokens.
    encoded["valid"] = masked_once(encoded["valid"], assembly.reading, recipe.seed)
    return Kitchen(recipe, prepared, assembly, encoded, lineage, tokens)
