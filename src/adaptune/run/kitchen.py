"""Everything one run works with, once data and model are there. Trains nothing, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from adaptune.bundle.answers import encoded_for
from adaptune.bundle.manifest import Ancestor
from adaptune.bundle.start import continue_from, continued_labels
from adaptune.core.backbone import Backbone
from adaptune.core.batch import Batch, Encoded
from adaptune.core.head import LOG_LIKELIHOOD
from adaptune.core.log import notice, warn
from adaptune.core.types import Answer, Example, OfSpan, Scores
from adaptune.data.batches import Batches, Budget, by_rows, collate
from adaptune.data.encode import encode
from adaptune.data.encode_raw import masked_once
from adaptune.data.length_findings import length_findings
from adaptune.engine.packing import packs
from adaptune.evaluate.likelihood import likelihood, with_likelihood
from adaptune.evaluate.predict import AHEAD, WRITTEN_AHEAD, predict, stream
from adaptune.methods.head_only import HeadOnly
from adaptune.models.assembly import Assembly
from adaptune.models.load import load_backbone
from adaptune.models.ragged import is_ragged
from adaptune.prepare import Prepared
from adaptune.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Kitchen:
    """Everything one run works with, once data and model are there."""

    recipe: Recipe
    prepared: Prepared
    assembly: Assembly
    encoded: Mapping[str, list[Encoded]]
    lineage: Sequence[Ancestor]

    @property
    def metric(self) -> str:
        """What decides which weights are best."""
        return self.recipe.train.metric or (LOG_LIKELIHOOD if self.recipe.head.reads_words else self.recipe.task.metric)

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
        plain = Assembly(own.backbone, HeadOnly(), own.head, own.labels, seed=self.recipe.seed)
        return replace(self, assembly=plain.to(next(own.parameters()).device))

    def questions(self, part: str) -> Sequence[Encoded]:
        """What is answered: where texts are written, prompts alone; where they are raw, each token by itself."""
        if not self.assembly.head.reads_words:
            return self.encoded[part]
        return encoded_for(self.assembly, self.examples(part), max_length=self.assembly.max_length)

    def watch(self) -> Mapping[str, float]:
        """The validation scores, what decides which weights are best among them."""
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

    def batches(self, seed: int | None = None) -> Batches:
        """The batches to train on, in an order by the recipe's seed or another."""
        train, of_base = self.recipe.train, self.assembly.backbone
        return Batches(
            self.encoded["train"],
            Budget(tokens=train.batch_tokens, rows=train.batch_rows),
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
        encoded = self.encoded[part]
        if part == "train":
            encoded = masked_once(encoded, self.assembly.reading, self.recipe.seed)
        pad = self.assembly.backbone.tokenizer.pad_token_id
        budget = Budget(tokens=self.recipe.evaluate.batch_tokens, rows=512)
        return (collate([encoded[index] for index in indices], pad) for indices in by_rows(encoded, budget))


def set_up(recipe: Recipe, prepared: Prepared, backbone: Backbone | None = None) -> Kitchen:
    """Load the model, unless it is there, put the adapter and the head on it, and encode the rows."""
    backbone = backbone or load_backbone(recipe.model, words=recipe.head.reads_words)
    start = recipe.method.start
    labels = recipe.task.labels(prepared.splits.train)
    if start is not None:
        labels = continued_labels(start, recipe.task, labels)
    assembly = Assembly(backbone, recipe.method, recipe.head, labels, seed=recipe.seed, dropout=recipe.train.dropout)
    lineage = continue_from(assembly, recipe.task, start) if start is not None else ()
    return kitchen_on(assembly, recipe, prepared, lineage)


def kitchen_on(assembly: Assembly, recipe: Recipe, prepared: Prepared, lineage: Sequence[Ancestor] = ()) -> Kitchen:
    """The rows as an assembly reads them; says what their lengths mean for the model."""
    scored, train = recipe.task.likelihood, prepared.splits.train
    for finding in length_findings(
        [*train, *prepared.splits.valid, *prepared.splits.test] if scored else train,
        assembly.backbone.tokenizer,
        assembly.max_length,
        writing=assembly.writing,
        spans=assembly.head.target is OfSpan,
    ):
        (warn if finding.level == "warning" else notice)(str(finding))
    encoded = encoded_parts(prepared, assembly, seed=recipe.seed, scored=scored)
    return Kitchen(recipe, prepared, assembly, encoded, lineage)


def encoded_parts(
    prepared: Prepared, assembly: Assembly, *, seed: int = 0, scored: bool = False
) -> dict[str, list[Encoded]]:
    """The rows of train, valid and test as token sequences, their labels as the assembly's.

    `scored`: also those of texts in test that are to be written.
    """
    backbone = assembly.backbone
    parts = {
        name: encode(
            examples,
            backbone.tokenizer,
            assembly.labels,
            max_length=assembly.max_length,
            segments=backbone.roles.segments,
            writing=assembly.writing,
            reading=assembly.reading,
        )
        for name, examples in prepared.splits.parts.items()
        # Texts that are scored are encoded for that.
        if name != "test" or not assembly.head.reads_words or scored
    }
    # Every evaluation in training hides the same tokens.
    return parts | {"valid": masked_once(parts["valid"], assembly.reading, seed)}
