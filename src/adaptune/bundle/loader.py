"""The small program that loads a merged model with a head that no class of transformers has. Knows no weights."""

from __future__ import annotations

from torch import nn

from adaptune.bundle.manifest import Manifest
from adaptune.core.errors import Unsupported
from adaptune.core.head import Head

LOADER = "load.py"

_PROGRAM = '''\
"""logits(["some text"]): what this model says of each label; needs torch, transformers and safetensors alone."""
import pathlib, torch, transformers
from safetensors.torch import load_file

folder = pathlib.Path(__file__).resolve().parent
tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="right")
trunk = transformers.AutoModel.from_pretrained(folder).eval()
head, labels = load_file(folder / "head.safetensors"), trunk.config.id2label

@torch.no_grad()
def logits(texts, pairs=None):
    inputs = tokenizer(texts, pairs, padding=True, truncation=True, max_length={max_length}, return_tensors="pt")
    hidden, mask = trunk(**inputs).last_hidden_state, inputs["attention_mask"]
    return {vectors} @ head["weight"].T + head["bias"]
'''
_VECTORS = {
    "mean": "(hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)",
    "first": "hidden[:, 0]",
    "last": "hidden[range(len(hidden)), mask.sum(1) - 1]",
    "none": "hidden",
}


def loader_of(manifest: Manifest, head: Head, layer: nn.Module) -> str:
    """The program's text. Raises Unsupported for a head that is more than one linear layer."""
    vectors = _VECTORS.get(getattr(head, "pooling", "none"))
    if not (head.plain and isinstance(layer, nn.Linear)) or vectors is None:
        raise Unsupported(
            f"head {head.name!r} is more than one linear layer, which a merged model cannot carry; "
            "serve its bundle as it is"
        )
    return _PROGRAM.format(max_length=manifest.preprocessing.max_length, vectors=vectors)
