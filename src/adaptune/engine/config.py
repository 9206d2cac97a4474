"""The `train` section of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from adaptune.core.config import Config


class TrainConfig(Config):
    """How training goes; every field has a sensible default."""

    epochs: float = Field(default=5, ge=0)
    """Passes over the training rows; 0 keeps the warm-started head alone."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after so many optimizer steps."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Stop after so many seconds of training, warm start and evaluations included, with the best weights so far."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate of the method's weights; none: the method's own, scaled to the model's width and depth."""
    head_learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate of the head; none: that of the method's weights."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """What the learning rate is multiplied by from each layer to the one below it; embeddings lie below the first."""
    unfreeze: float = Field(default=0.0, ge=0, le=1)
    """Gradual unfreezing: share of all steps over which layers begin to learn one after another, from the top, the
    embeddings last; 0: all learn from the start. It saves no time: gradients are computed, and left out."""
    optimizer: Literal["adamw", "adam", "nadam", "radam", "adamax", "rmsprop", "adagrad", "sgd"] = "adamw"
    """Which optimizer of PyTorch."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of sgd and rmsprop."""
    weight_decay: float = Field(default=0.01, ge=0)
    """On matrices; biases, norms and vectors have none."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: float = Field(default=0.06, ge=0, lt=1)
    """Share of all steps in which the learning rate rises from 0."""
    clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient; none: not clipped."""
    batch_tokens: int = Field(default=1024, ge=16)
    """Most tokens in one batch, padding included."""
    batch_rows: int = Field(default=64, ge=1)
    """Most sequences in one batch."""
    packing: Literal["auto"] | bool = "auto"
    """Whether the sequences of a batch stand in one row one behind the other, without padding, each reading itself
    alone. true: refused where that cannot be. auto: where a decoder learns texts, and attention can leave
    out what lies between two sequences."""
    prune: float = Field(default=0.0, ge=0, le=0.9)
    """InfoBatch (Qin et al. 2024): from the second epoch on, rows whose last loss is below the mean are left out with
    this probability, and those of them that stay count 1 / (1 - prune) times, so that gradients stay the same in
    expectation; the last eighth of the epochs reads all rows. 0: every epoch does."""
    settle: float = Field(default=0.0, ge=0, le=1)
    """Adaptive depth: after an epoch in which they went at most this part of their way since the start, layers learn no
    more, from the lowest up and never above one that still moves; what they give is then kept by the trunk cache, so
    that later epochs cost the layers above alone. 0: all learn to the end."""
    average: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = "auto"
    """What is judged and kept are running averages of the weights that learn (Shamir and Zhang 2013), over about this
    part of the steps so far at the peak learning rate, and over less of them as it falls; 0: the last weights
    themselves. auto: 0.2 where at most a tenth of all weights learn and neither method nor settle is against it."""
    accumulate: int = Field(default=1, ge=1)
    """Batches to an optimizer step."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the matrix products; weights that learn stay fp32."""
    gradient_checkpointing: bool = False
    """Whether layers are computed anew in the backward pass, which needs less memory and more time."""
    trunk_cache: Literal["auto", "off", "memory", "disk"] = "auto"
    """Whether what the layers below the lowest one that learns give for each sequence is computed once and kept, so
    that steps and evaluations begin above them. auto: where it is right and rows are read more than once, in memory up
    to trunk_cache_mb, then in a file that vanishes with the run. memory, disk: there alone; refused where it would be
    wrong. Kept states are those of fp32, whatever `precision` says."""
    trunk_cache_mb: float = Field(default=1000, ge=0)
    """Most megabytes of memory for that."""
    trunk_cache_precision: Literal["exact", "fp16"] = "exact"
    """exact: kept as computed, and gradients are those without it. fp16: in 16 bits, half as large, each number within
    1 / 2048 of itself."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto takes an accelerator where there is one."""
    dropout: bool = False
    """Whether the frozen parts of the model keep their dropout."""
    warm_start: bool = True
    """Whether the head is first fitted to its optimum on frozen features; that state counts as the first checkpoint."""
    warm_start_rows: int | None = Field(default=None, ge=1)
    """At most so many training rows for that, drawn with every class in its share; none: all of them, but 6,000 where
    rows are streamed."""
    head_scale: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    """What a warm-started head is multiplied by before the first step. One of large weights multiplies what the trunk's
    first steps do, and one of full confidence leaves the trunk little to learn. auto: its weights then have the norm of
    those of a fresh head, if that is less."""
    metric: str | None = None
    """What decides which weights are best, larger is better; none: the task's own."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Optimizer steps between evaluations on validation rows; none: once an epoch."""
    patience: int | None = Field(default=3, ge=1)
    """Evaluations without a gain before training stops; none: never."""
    min_gain: float = Field(default=0.0, ge=0)
    """What counts as a gain in the metric."""
    save_every: float = Field(default=60, ge=0)
    """Seconds between checkpoints, beside those at every evaluation."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.settle and self.trunk_cache == "off":
            raise ValueError(
                f"settle is {self.settle:g}, which saves time by what trunk_cache keeps, and trunk_cache is off; set "
                "trunk_cache=auto or settle=0"
            )
        if self.settle and self.unfreeze:
            raise ValueError(
                f"settle is {self.settle:g}, and unfreeze {self.unfreeze:g} lets the lowest layers begin to learn "
                "last; set one of them to 0"
            )
        return self
