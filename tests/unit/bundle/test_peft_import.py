"""What plain peft wrote means the same here: equal hidden states, equal logits, and refusals by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from adaptune.bundle.peft_head import classes_of, head_of, load_head
from adaptune.bundle.peft_import import adopt, check_same_base, read_peft
from adaptune.core.backbone import Backbone
from adaptune.core.errors import BundleError, Unsupported
from adaptune.core.types import Labels, Row
from adaptune.data.batches import collate
from adaptune.data.encode import encode
from adaptune.heads import HEADS
from adaptune.models.assembly import Assembly
from adaptune.models.config import ModelConfig
from adaptune.models.load import load_backbone
from adaptune.tasks.classify import Classify

# peft asks transformers by a name that it is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TEXTS = ["The film was great", "a slow and terrible book, never again"]
LABELS = Labels(("bad", "good", "neither"))
BERT = ["query", "value"]
Made = Callable[..., tuple[Path, Any]]

ON_BERT = {
    "lora": partial(peft.LoraConfig, r=4, lora_alpha=6, target_modules=BERT),
    "rslora": partial(
        peft.LoraConfig, r=4, use_rslora=True, target_modules=r".*layer\.\d\.attention\.self\.(query|key)"
    ),
    "dora": partial(peft.LoraConfig, r=4, use_dora=True, target_modules=BERT),
    "all linear": partial(
        peft.LoraConfig, r=2, target_modules=["query", "key", "value", "dense"], exclude_modules=".*pooler.*"
    ),
    "adalora": partial(peft.AdaLoraConfig, init_r=6, target_r=4, lora_alpha=6, total_step=10, target_modules=BERT),
    "ia3": partial(
        peft.IA3Config,
        target_modules=r".*(key|value|layer\.\d\.output\.dense)",
        feedforward_modules=r".*layer\.\d\.output\.dense",
    ),
    "vera": partial(peft.VeraConfig, r=8, target_modules=BERT),
    "vera without its projection": partial(peft.VeraConfig, r=8, target_modules=BERT, save_projection=False),
    "loha": partial(peft.LoHaConfig, r=4, alpha=6, target_modules=BERT),
    "lokr": partial(peft.LoKrConfig, r=2, alpha=6, target_modules=BERT, decompose_factor=4),
    "prompt": partial(peft.PromptTuningConfig, task_type="FEATURE_EXTRACTION", num_virtual_tokens=5),
    "ptuning": partial(peft.PromptEncoderConfig, task_type="FEATURE_EXTRACTION", num_virtual_tokens=5),
}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """made(config, base, Auto): a folder of plain peft with weights as training would leave them, and its model."""

    def make(config: Any, base: Path, auto: Any = AutoModel, **more: Any) -> tuple[Path, Any]:
        torch.manual_seed(5)
        model = peft.get_peft_model(auto.from_pretrained(base, **more), config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn_like(parameter))
        model.save_pretrained(tmp_path / "theirs")
        return tmp_path / "theirs", model.eval()

    return make


def _tokens(base: Path, **more: Any) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer(TEXTS, padding=True, return_tensors="pt", **more)


def _adopted(folder: Path, backbone: Backbone) -> torch.nn.Module:
    """The trunk as the adopted method changed it."""
    found = adopt(read_peft(folder), backbone)
    assembly = Assembly(backbone, found.method, HEADS.make({"name": "classify"}), LABELS, seed=0)
    found.method.load(assembly.trunk, found.state)
    return assembly.trunk.eval()


@pytest.mark.filterwarnings("ignore::UserWarning:peft")  # peft's own advice on some of these settings
@pytest.mark.parametrize("name", list(ON_BERT))
def test_an_adapter_of_plain_peft_gives_the_same_hidden_states_here(
    made: Made, bert: Backbone, tiny_bert: Path, name: str
) -> None:
    folder, theirs = made(ON_BERT[name](), tiny_bert)
    inputs = _tokens(tiny_bert)
    with torch.no_grad():
        expected = theirs(**inputs).last_hidden_state[:, -inputs["input_ids"].shape[1] :]
        untouched = bert.trunk(**inputs).last_hidden_state
        ours = _adopted(folder, bert)(**inputs).last_hidden_state
    assert (ours - expected).abs().max() < 2e-6
    assert (untouched - expected).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_gpt2"])
def test_an_adapter_made_on_a_causal_model_changes_the_same_trunk(
    made: Made, request: pytest.FixtureRequest, name: str
) -> None:
    base = request.getfixturevalue(name)
    targets = {"tiny_llama": ["q_proj", "down_proj"], "tiny_gpt2": ["c_attn"]}[name]
    config = peft.LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM", fan_in_fan_out=name == "tiny_gpt2")
    folder, theirs = made(config, base, AutoModelForCausalLM)
    inputs = _tokens(base)
    with torch.no_grad():
        expected = theirs(**inputs, output_hidden_states=True).hidden_states[-1]
        ours = _adopted(folder, load_backbone(ModelConfig(name=str(base))))(**inputs).last_hidden_state
    assert (ours - expected).abs().max() < 2e-6


@pytest.mark.parametrize("projected", [False, True])
def test_a_prefix_of_plain_peft_gives_the_same_hidden_states_here(
    made: Made, tiny_llama: Path, projected: bool
) -> None:
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5, prefix_projection=projected)
    folder, theirs = made(config, tiny_llama, AutoModelForCausalLM)
    inputs, backbone = _tokens(tiny_llama), load_backbone(ModelConfig(name=str(tiny_llama)))
    with torch.no_grad():
        expected = theirs(**inputs, output_hidden_states=True).hidden_states[-1]
        untouched = backbone.trunk(**inputs).last_hidden_state
        ours = _adopted(folder, backbone)(**inputs).last_hidden_state
    real = inputs["attention_mask"].bool()
    assert (ours - expected)[real].abs().max() < 2e-6
    assert (untouched - expected)[real].abs().max() > 1e-3


def test_a_prefix_of_a_model_with_learned_positions_is_refused(made: Made, tiny_gpt2: Path) -> None:
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    folder, _ = made(config, tiny_gpt2, AutoModelForCausalLM)
    with pytest.raises(Unsupported, match="the family 'gpt2' read differently; only prefixes of decoders with rotary"):
        _adopted(folder, load_backbone(ModelConfig(name=str(tiny_gpt2))))


def test_a_prefix_of_a_model_of_another_depth_is_refused(made: Made, tiny_llama: Path) -> None:
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    folder, _ = made(config, tiny_llama, AutoModelForCausalLM)
    pairs = load_file(folder / "adapter_model.safetensors")["prompt_embeddings"]
    save_file({"prompt_embeddings": pairs[:, :-2].contiguous()}, folder / "adapter_model.safetensors")
    with pytest.raises(Unsupported, match=r"expected 'prompt_embeddings' of shape \(5, "):
        _adopted(folder, load_backbone(ModelConfig(name=str(tiny_llama))))


def test_pruned_components_of_adalora_are_zero_here(made: Made, bert: Backbone, tiny_bert: Path) -> None:
    config = peft.AdaLoraConfig(init_r=6, target_r=4, total_step=10, target_modules=BERT)
    torch.manual_seed(0)
    model = peft.get_peft_model(AutoModel.from_pretrained(tiny_bert), config)
    pattern = {}
    for path, layer in model.base_model.model.named_modules():
        if hasattr(layer, "lora_E"):
            kept = [True, False, True, True, False, True]
            torch.nn.init.normal_(layer.lora_E["default"])
            layer.lora_E["default"].data[torch.tensor([not one for one in kept])] = 0
            pattern[f"{path}.lora_E"] = kept
    model.peft_config["default"].rank_pattern = pattern
    folder = tiny_bert.parent / "pruned"
    model.save_pretrained(folder)
    assert {tuple(t.shape) for n, t in load_file(folder / "adapter_model.safetensors").items() if "lora_E" in n} == {
        (4, 1)
    }
    inputs = _tokens(tiny_bert)
    with torch.no_grad():
        expected = model.eval()(**inputs).last_hidden_state
        ours = _adopted(folder, bert)(**inputs).last_hidden_state
    assert (ours - expected).abs().max() < 2e-6


@pytest.mark.parametrize(("name", "targets"), [("tiny_bert", ["query"]), ("tiny_llama", ["q_proj"])])
@pytest.mark.parametrize("kind", ["SEQ_CLS", "TOKEN_CLS"])
def test_a_classifier_of_plain_peft_gives_the_same_logits_here(
    made: Made, request: pytest.FixtureRequest, name: str, targets: list[str], kind: str
) -> None:
    base = request.getfixturevalue(name)
    auto = AutoModelForSequenceClassification if kind == "SEQ_CLS" else AutoModelForTokenClassification
    inputs = _tokens(base)
    pad = AutoTokenizer.from_pretrained(base).pad_token_id or AutoTokenizer.from_pretrained(base).eos_token_id
    config = peft.LoraConfig(r=4, target_modules=targets, task_type=kind)
    folder, theirs = made(config, base, auto, num_labels=3, pad_token_id=pad)
    backbone = load_backbone(ModelConfig(name=str(base)))
    found = read_peft(folder)
    adopted = adopt(found, backbone)
    head = head_of(found, adopted, backbone)
    assert head is not None
    assert classes_of(head, adopted, backbone) == 3
    assembly = Assembly(backbone, adopted.method, head, LABELS, seed=0)
    load_head(assembly.head, assembly.layer, adopted, backbone, LABELS)
    assembly.method.load(assembly.trunk, adopted.state)
    assembly.eval()
    with torch.no_grad():
        expected = theirs(**inputs).logits
        if kind == "TOKEN_CLS":
            hidden = assembly.trunk(**inputs).last_hidden_state
            found_logits = assembly.layer(hidden)
            assert (found_logits - expected).abs().max() < 2e-6
            return
        examples = [Classify().example(Row("here", 1, {"text": text})) for text in TEXTS]
        encoded = encode(examples, backbone.tokenizer, LABELS, max_length=64, segments=backbone.roles.segments)
        answers = assembly.answers(collate(encoded, backbone.tokenizer.pad_token_id))
    probabilities = torch.tensor([answers[row].probabilities for row in range(len(TEXTS))])
    assert (probabilities - expected.softmax(dim=-1)).abs().max() < 2e-6


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (peft.LoraConfig(r=2, target_modules=BERT, bias="all"), "says bias: 'all', which method 'lora' would ignore"),
        (peft.LoraConfig(r=2, target_modules=BERT, layers_to_transform=[0]), "leaves out 'encoder.layer.1"),
        (peft.LoraConfig(r=2, target_modules=[*BERT, "pooler.dense"]), "pooler"),
        (peft.LoraConfig(r=2, target_modules=BERT, rank_pattern={"layer.0.attention.self.query": 3}), "rank_pattern"),
        (peft.LoraConfig(r=2, target_modules=BERT, init_lora_weights="pissa"), "init_lora_weights: 'pissa'"),
        (peft.LoraConfig(r=2, target_modules=["word_embeddings"]), "changes 'embeddings.word_embeddings'"),
        (peft.IA3Config(target_modules=["query"], feedforward_modules=[]), "lacks the tensor"),
        (peft.OFTConfig(target_modules=BERT, oft_block_size=4, r=0), "of peft's type 'OFT'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_would_be_ignored_is_refused_by_its_name(
    made: Made, bert: Backbone, tiny_bert: Path, config: Any, told: str
) -> None:
    folder, _ = made(config, tiny_bert)
    with pytest.raises(Unsupported, match=told):
        _adopted(folder, bert) if "pooler" not in told else _head(folder, bert)


def _head(folder: Path, backbone: Backbone) -> None:
    found = read_peft(folder)
    head_of(found, adopt(found, backbone), backbone)


def test_an_adapter_of_a_model_of_another_size_is_refused(made: Made, bert: Backbone, tiny_bert: Path) -> None:
    folder, _ = made(ON_BERT["lora"](), tiny_bert)
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(
        {n: t[:, :16].contiguous() if "lora_A" in n else t for n, t in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    with pytest.raises(Unsupported, match=r"has shape \(4, 16\), and this model calls for \(4, 32\)"):
        _adopted(folder, bert)


def test_an_adapter_of_another_base_is_refused_by_its_name(made: Made, tiny_bert: Path) -> None:
    folder, _ = made(ON_BERT["lora"](), tiny_bert)
    found = read_peft(folder)
    check_same_base(found, f"/elsewhere/{tiny_bert.name}/")
    with pytest.raises(BundleError, match=r"was made on .*tiny-bert', and the recipe's model is 'bert-base-uncased'"):
        check_same_base(found, "bert-base-uncased")


def test_pickled_tensors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(BundleError, match=r"adapter_model\.safetensors is missing"):
        read_peft(tmp_path)
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(BundleError, match="can run code when it is read"):
        read_peft(tmp_path)
    with pytest.raises(BundleError, match="is no PEFT folder: no such folder"):
        read_peft(tmp_path / "nowhere")
