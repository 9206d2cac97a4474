"""Trunk and head as one ONNX graph, written by torch.onnx and run by ONNX Runtime. Knows no bundle."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adaptune.bundle.elsewhere import Reads
from adaptune.core.errors import Unsupported

LARGE = 1_500_000_000
"""Bytes of weights from which on they lie in a file of their own: one of protobuf holds 2 GB."""

Arrays = Mapping[str, NDArray[np.int64]]


class Graph(nn.Module):
    """(B, T) ids, (B, T) mask -> what the output layer says. Padding is on the right."""

    def __init__(self, trunk: nn.Module, layer: nn.Module | None, reads: Reads, *, pooling: str, causal: bool) -> None:
        """`layer` none: the pooled vectors themselves."""
        super().__init__()
        self.trunk = trunk
        self.layer = layer
        self.reads = reads
        self.pooling = pooling
        self.causal = causal
        self.context = True
        """Of marked tokens: whether the pooled vector is read as well."""
        self.opening = True
        """Of marked tokens: whether they are read at the opening markers."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        marks: Tensor | None = None,
    ) -> Tensor:
        """(B, C) logits, (B, T, C) of every token, or (B, V) embeddings; marks: (B, 4) tokens of the markers."""
        inputs: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
        inputs |= {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        inputs |= {"use_cache": False} if self.causal else {}
        output = self.trunk(**inputs)
        if self.reads == "pooled" and self.layer is None:  # a model of transformers with its own classifier
            logits: Tensor = output.logits
            return logits
        hidden = output.last_hidden_state
        if self.reads == "tokens":
            return self._out(hidden)
        pooled = self._pool(hidden, attention_mask)
        if marks is not None:
            at = torch.gather(hidden, 1, marks[:, :, None].expand(-1, -1, hidden.shape[-1]))
            entities = at[:, 0::2] if self.opening else at[:, 1::2]
            pooled = torch.cat([entities.flatten(1), pooled], dim=1) if self.context else entities.flatten(1)
        found = self._out(pooled)
        return nn.functional.normalize(found, dim=1) if self.reads == "embedded" else found

    def _out(self, vectors: Tensor) -> Tensor:
        found: Tensor = vectors if self.layer is None else self.layer(vectors)
        return found

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "first":
            return hidden[:, 0]
        if self.pooling == "last":
            last = (mask.sum(dim=1) - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
            return torch.gather(hidden, 1, last).squeeze(1)
        weights = mask[:, :, None].to(hidden.dtype)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def write_graph(graph: Graph, sample: Mapping[str, Tensor], file: Path, *, output: str) -> None:
    """One file, or two where the weights are large; batch and length are free. `sample`: two rows of each input.

    Raises Unsupported for a model that torch cannot write.
    """
    free = torch.export.Dim.DYNAMIC
    shapes = {name: {0: free} if name == "marks" else {0: free, 1: free} for name in sample}
    weights = sum(tensor.nbytes for tensor in graph.state_dict().values())
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():  # of libraries among themselves
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph,
                (),
                file,
                kwargs=dict(sample),
                input_names=list(sample),
                output_names=[output],
                dynamic_shapes=shapes,
                external_data=weights > LARGE,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise Unsupported(
            f"torch {torch.__version__} cannot write this model as a graph: {reason}; serve it with adaptune serve"
        ) from error
    finally:
        logger.setLevel(level)


def open_graph(file: Path) -> Any:
    """A session of ONNX Runtime on the processor."""
    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


def run_graph(session: Any, inputs: Arrays) -> NDArray[np.float32]:
    """The graph's one output."""
    found: Sequence[NDArray[np.float32]] = session.run(None, dict(inputs))
    return found[0]
