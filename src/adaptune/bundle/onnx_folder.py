"""A bundle and its base as an ONNX graph beside all that one needs to read it, checked before it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

import adaptune
from adaptune.bundle import onnx_program
from adaptune.bundle.answers import encoded_for
from adaptune.bundle.elsewhere import OF_HEAD, check_onnx
from adaptune.bundle.golden import golden_examples
from adaptune.bundle.load import Bundle
from adaptune.bundle.merge import calibrated_layer, tell_thresholds
from adaptune.bundle.onnx_graph import Graph, open_graph, run_graph, write_graph
from adaptune.bundle.peft_folder import check_plain
from adaptune.bundle.save import check_free
from adaptune.core.batch import Batch
from adaptune.core.errors import BundleError
from adaptune.core.files import replacing_folder, write_json
from adaptune.core.head import Head
from adaptune.core.types import NO_ANSWER
from adaptune.data.batches import collate
from adaptune.data.encode import Pieces
from adaptune.data.encode_spans import tells_apart
from adaptune.heads.as_transformers import logits_of
from adaptune.heads.classify import pool
from adaptune.models.assembly import Assembly
from adaptune.models.load import quiet
from adaptune.models.quantise import as_family, dequantised
from adaptune.models.share import share

GRAPH, ABOUT, TOKENIZER, PROGRAM, CARD = "model.onnx", "about.json", "tokenizer.json", "answer.py", "README.md"
TOLERANCE = 1e-4
"""How far an output may lie from the bundle's own; a share of it where that is above 1."""
OUTPUT = {"pooled": "logits", "marked": "logits", "tokens": "logits", "embedded": "embeddings"}


THRESHOLDS = ("abstained", "out_of_scope", "out_of_scope_score")
"""What answers say by thresholds that a graph does not know."""


@dataclass(frozen=True, slots=True)
class Onnx:
    """A folder with a graph."""

    folder: Path
    worst: float
    """How far its outputs were from the bundle's own where they were compared."""

    def __str__(self) -> str:
        return (
            f"{self.folder / GRAPH} gives the bundle's outputs within {self.worst:.0e}; {ABOUT} says how they are "
            f"read, {PROGRAM} does it with numpy, onnxruntime and tokenizers alone"
        )


def export_onnx(bundle: Bundle, out: str | Path) -> Onnx:
    """Write graph, tokenizer, labels and a program that answers with them.

    Raises Unsupported for a head or method that no graph has, MissingExtra, BundleError where the folder holds other
    files or the graph computes something else.
    """
    out = Path(out).absolute()
    check_onnx(bundle.manifest)
    check_free(out)
    check_plain(bundle.assembly)
    graph = graph_of(bundle.assembly)
    tell_thresholds(bundle.assembly)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(out) as new, quiet():
        batches = list(_batches(bundle))
        write_graph(graph, _sample(batches[0], bundle.assembly), new / GRAPH, output=OUTPUT[graph.reads])
        worst = _check_same(bundle, graph, batches, new / GRAPH)
        about = about_of(bundle)
        write_json(new / ABOUT, about)
        _write_tokenizer(bundle, new / TOKENIZER)
        (new / PROGRAM).write_text(Path(onnx_program.__file__).read_text(encoding="utf-8"), encoding="utf-8")
        (new / CARD).write_text(_card(bundle, about), encoding="utf-8")
        _check_answers(bundle, new)
    return Onnx(out, worst)


def graph_of(assembly: Assembly) -> Graph:
    """The merged trunk with the head's layer on top, in fp32; the shared base stays as it is."""
    head = assembly.head
    trunk: Any = as_family(assembly.method.merged(dequantised(share(assembly.trunk)))).float().cpu()
    layer: nn.Module | None = calibrated_layer(assembly).float().cpu()
    reads = OF_HEAD[head.name]
    assert layer is not None
    whole = head.whole(layer, trunk, assembly.labels) if head.name == "as_transformers" else None
    if whole is not None:
        trunk, layer = whole.model, None
    if head.name == "similarity":
        layer = None  # it stands above the cosine of two vectors
    graph = Graph(trunk, layer, reads, pooling=_pooling(head), causal=assembly.backbone.roles.main.causal)
    graph.context, graph.opening = getattr(head, "context", True), getattr(head, "reads", "opening") == "opening"
    return graph.eval().requires_grad_(False)


def _pooling(head: Head) -> str:
    """Heads of tokens have none."""
    return str(getattr(head, "pooling", "mean"))


def about_of(bundle: Bundle) -> dict[str, Any]:
    """What about.json says: how texts are read, and what the outputs mean."""
    assembly, manifest = bundle.assembly, bundle.manifest
    head, tokenizer = assembly.head, assembly.backbone.tokenizer
    about: dict[str, Any] = {
        "made_by": f"adaptune {adaptune.__version__}",
        "bundle": bundle.name,
        "weights": manifest.weights,
        "task": bundle.task.name,
        "head": head.name,
        "output": OUTPUT[OF_HEAD[head.name]],
        "read": onnx_program.READ[head.name],
        "labels": list(assembly.labels.names),
        "max_length": manifest.preprocessing.max_length,
        "pad": tokenizer.pad_token_id,
        "segments": assembly.backbone.roles.segments,
    }
    fields = ("threshold", "signs", "max_answer_tokens", "no_answer_threshold")
    about |= {name: getattr(head, name) for name in fields if hasattr(head, name)}
    if head.name == "span":
        about |= {"may_be_none": NO_ANSWER in assembly.labels, "between": "" if tells_apart(tokenizer) else "\n"}
    if head.name == "tag":
        pieces = Pieces(tokenizer)
        about |= {"before_words": " " if pieces.spaced else "", "prefix": pieces.prefix, "suffix": pieces.suffix}
    numbers = {name: buffer for name, buffer in assembly.layer.named_buffers() if name in ("mean", "deviation")}
    about |= {name: float(buffer) for name, buffer in numbers.items()}
    if head.name == "similarity":
        state = calibrated_layer(assembly).state_dict()
        about |= {name: state[name].flatten().tolist() for name in ("weight", "bias")}
    return about


def _write_tokenizer(bundle: Bundle, file: Path) -> None:
    """The tokenizer with what the bundle's texts are cut and filled to."""
    tokenizer: Any = bundle.assembly.backbone.tokenizer
    alone = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    alone.enable_truncation(bundle.manifest.preprocessing.max_length)
    alone.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=str(tokenizer.pad_token))
    alone.save(str(file))


def _card(bundle: Bundle, about: Mapping[str, Any]) -> str:
    return (
        f"# {bundle.name}\n\n"
        f"`{GRAPH}` is the base model {bundle.manifest.base.name} with what the task {about['task']} learned, written "
        f"by {about['made_by']}. Inputs are token ids (batch, length), padded on the right, and their mask; the output "
        f"`{about['output']}` is {about['read']}. `{ABOUT}` has the labels and settings, `{TOKENIZER}` is for the "
        f"library tokenizers.\n\n"
        f"    pip install numpy onnxruntime tokenizers\n"
        f"    echo '{json.dumps(onnx_program.SAMPLE[about['head']])}' | python {PROGRAM}\n"
    )


def _batches(bundle: Bundle) -> Iterator[Batch]:
    """The golden examples together, padded to the longest, then each row alone."""
    assembly = bundle.assembly
    examples = golden_examples(bundle.task, bundle.manifest.golden)
    encoded = encoded_for(assembly, examples, max_length=bundle.manifest.preprocessing.max_length)
    encoded = sorted(encoded, key=lambda sequence: sequence.length)[-8:]
    if not encoded:
        raise BundleError("the bundle has no golden examples, by which its graph could be checked; train it again")
    pad = assembly.backbone.tokenizer.pad_token_id
    yield collate(encoded if len(encoded) > 1 else encoded * 2, pad)
    for sequence in encoded[:: max(1, len(encoded) // 3)]:
        yield collate([sequence], pad)


def _sample(batch: Batch, assembly: Assembly) -> dict[str, Tensor]:
    """A batch as the graph's inputs."""
    assert batch.ids is not None
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
    if assembly.backbone.roles.segments and batch.segments is not None:
        inputs["token_type_ids"] = batch.segments
    if OF_HEAD[assembly.head.name] == "marked":
        assert batch.token_of is not None
        inputs["marks"] = batch.token_of.reshape(len(batch.ids), 4)
    return inputs


@torch.inference_mode()
def _check_same(bundle: Bundle, graph: Graph, batches: list[Batch], file: Path) -> float:
    """The largest difference of ONNX Runtime's outputs to the bundle's own. Raises BundleError above the tolerance."""
    session, worst = open_graph(file), 0.0
    for batch in batches:
        inputs = _sample(batch, bundle.assembly)
        found = torch.from_numpy(run_graph(session, {name: tensor.numpy() for name, tensor in inputs.items()}))
        wanted = [graph(**inputs)] + ([_own_outputs(bundle.assembly, batch)] if bundle.exact else [])
        for one in wanted:
            difference = (found - one).abs() / one.abs().clamp(min=1)
            if graph.reads == "tokens":
                difference = difference[batch.mask.bool()]
            worst = max(worst, float(difference.max()))
    if not worst <= TOLERANCE:
        raise BundleError(
            f"the graph of bundle {bundle.name!r} gives outputs that are {worst:.1e} from its own, expected at most "
            f"{TOLERANCE:g}; it was not written: serve the bundle with adaptune serve"
        )
    return worst


def _check_answers(bundle: Bundle, folder: Path) -> None:
    """Hold the program's answers to plain texts and pairs to the bundle's own. Raises BundleError."""
    head, examples = bundle.assembly.head, golden_examples(bundle.task, bundle.manifest.golden)
    if OF_HEAD[head.name] != "pooled" or head.name == "rerank" or not bundle.exact:
        return
    wanted = [bundle.describe(one, answer) for one, answer in zip(examples, bundle.answers(examples), strict=True)]
    sequences = [example.sequences[0] for example in examples]
    rows = [one.first if one.second is None else (one.first, one.second) for one in sequences]
    for found, expected in zip(onnx_program.Model(folder)(rows), wanted, strict=True):
        if not _same(found, expected):
            raise BundleError(
                f"{PROGRAM} would answer {found}, and bundle {bundle.name!r} answers {expected}; it was not written: "
                "serve the bundle with adaptune serve"
            )


def _same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether all is said that is expected, but for what thresholds say: labels alike, numbers nearly."""
    expected = {name: value for name, value in expected.items() if name not in THRESHOLDS}
    numbers = {name: value for name, value in expected.items() if isinstance(value, float)}
    return (
        found.keys() == expected.keys()
        and found.get("label") == expected.get("label")
        and all(abs(found[name] - value) <= 10 * TOLERANCE * max(1, abs(value)) for name, value in numbers.items())
    )


def _own_outputs(assembly: Assembly, batch: Batch) -> Tensor:
    """What the unmerged bundle itself computes of a batch, by its head's own functions."""
    on = next(assembly.parameters()).device
    batch, head, layer = batch.to(on), assembly.head, calibrated_layer(assembly)
    hidden = assembly.hidden(batch)
    if OF_HEAD[head.name] == "tokens":
        found: Tensor = layer(hidden.float())
    elif head.name == "as_transformers":
        found = logits_of(layer, hidden, batch)
    elif head.name == "retrieve":
        found = head.vectors(layer, hidden, batch)
    elif head.name == "similarity":
        found = nn.functional.normalize(pool(hidden, batch.mask, _pooling(head)), dim=1)
    else:
        found = layer(head.features(layer, hidden, batch))
    return found.float().cpu()
