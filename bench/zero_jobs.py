"""What the group `zero` of bench/evidence.py runs: labels from prompts without training, and from few rows.

English sets are answered by SmolLM2-135M and by what all-MiniLM-L6-v2 makes of descriptions of the labels, each by the
better of two templates on validation rows; Chinese few-shot sets are learned with multilingual-e5-small in three ways;
a cloze is answered and trained on a small masked model. Rows are copied into a form that a recipe reads, as JSON lines,
into the run's own folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TYPES = {
    "0": "description",
    "1": "entity",
    "2": "abbreviation",
    "3": "human",
    "4": "location",
    "5": "number",
}
"""TREC's coarse types by what its files call them."""
DESCRIBED: Mapping[str, Mapping[str, str]] = {
    "clinc150-domains": {
        "banking": "bank accounts, balances, bills, transfers and transactions",
        "credit_cards": "credit cards, their limits, rewards, and credit scores",
        "kitchen_and_dining": "cooking, recipes, food, restaurants and reservations",
        "home": "music, shopping lists, to-do lists, reminders, the calendar and smart home devices",
        "auto_and_commute": "cars, tires, gas, maintenance, traffic and directions",
        "travel": "trips abroad, flights, hotels, visas, luggage and exchange rates",
        "utility": "weather, time, alarms, timers, calculations, definitions and calls",
        "work": "work, salary, taxes, insurance, meetings and time off",
        "small_talk": "small talk with the assistant, greetings, jokes, and questions about itself",
        "meta": "settings of the assistant, such as its volume, language and name; yes, no, maybe, cancel, repeat",
    },
    "sst2": {
        "negative": "a bad, boring movie that is a disappointment",
        "positive": "a great, entertaining movie that is a delight",
    },
    "trec": {
        "description": "a definition, a reason, a manner or a description of something",
        "entity": "a thing, an animal, a product, a color, a food, a sport or a language",
        "abbreviation": "an abbreviation, or what letters stand for",
        "human": "a person, a group, or who someone is",
        "location": "a place, a city, a country or a mountain",
        "number": "a number, a date, an amount, a distance or how many",
    },
}
"""What each label means, written from the sets' lists of labels alone."""
ABOUTS = ("{}", "This text is about {}.")
"""What descriptions are put into."""
Rows = Iterator[dict[str, str]]


@dataclass(frozen=True, slots=True)
class ZeroRun:
    """One recipe that is written for the run."""

    recipe: str
    """The data set."""
    name: str
    model: str
    """The folder of its base beside the others, `smollm2`."""
    approach: Mapping[str, Any]
    method: str = "none"
    epochs: float = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    """At most so many rows of a part, `test_rows`."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of `train`."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """What the table says of it."""
        return tuple(f"data.{part}={count}" for part, count in self.rows.items())

    @property
    def _task(self) -> str | dict[str, str]:
        if self.recipe != "fewclue-bustm":
            return "classify"
        # Prototypes compare texts that are read each by itself.
        return {"name": "match", "encoder": "bi" if self.approach["name"] == "prototype" else "cross"}

    def write(self, folder: Path, model: str) -> Path:
        """Its recipe with its rows beside it, and the recipe's file."""
        data = Path(os.environ["ADAPTUNE_DATA"])
        files = {}
        for part in ("train", "valid", "test"):
            file = folder / f"{self.recipe}-{part}.jsonl"
            lines = [json.dumps(row, ensure_ascii=False) for row in SETS[self.recipe](data, part)]
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
            files[part] = str(file)
        content = {
            "task": self._task,
            "approach": dict(self.approach),
            "data": {**files, **self.rows},
            "model": model,
            "method": self.method,
            "train": {"epochs": self.epochs, **self.more},
            "seed": 1,
        }
        recipe = folder / f"{self.recipe}.yaml"
        recipe.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")  # JSON is YAML
        return recipe


def zero_runs() -> Iterator[ZeroRun]:
    """Every row of the table."""
    few = {"train_rows": 64, "valid_rows": 60, "test_rows": 300}
    for recipe, templates, more in (
        ("clinc150-domains", ("User: {text}\nTopic: {answer}", "{text}\nThis request is about {answer}"), {}),
        ("sst2", ("Review: {text}\nSentiment: {answer}", "{text}\nAll in all, it was {answer}"), SENTIMENT),
        ("trec", ("Question: {text}\nAnswer type: {answer}", "Q: {text}\nThis question asks about a {answer}"), {}),
    ):
        chosen = {"template": list(templates), "select": ["template"], "calibrate": "content_free", **more}
        yield ZeroRun(recipe, "score", "smollm2", {"name": "score", **chosen}, rows=few)
        shown = {"template": templates[0], "demonstrations": 6, "calibrate": "content_free", **more}
        yield ZeroRun(recipe, "in_context-6", "smollm2", {"name": "in_context", **shown}, rows=few)
    seen = {"shots": 0, "valid_rows": 200, "test_rows": 1000}
    for recipe, classes in DESCRIBED.items():
        described = {"name": "prototype", "classes": dict(classes), "templates": list(ABOUTS)}
        yield ZeroRun(recipe, "descriptions", "minilm", described, rows=seen)
    cloze = {"name": "cloze", "template": "sentiment", "language": "en"}
    few = {"train_rows": 256, "valid_rows": 200, "test_rows": 1000}
    yield ZeroRun("sst2", "cloze", "splade", cloze, rows=few)
    for method in ("lora", "full"):
        yield ZeroRun("sst2", f"cloze-{method}", "splade", cloze, method, 10, few)
    yield ZeroRun("sst2", "finetune-lora", "splade", {"name": "finetune"}, "lora", 10, few)
    for recipe, epochs in (("fewclue-eprstmt", 10), ("fewclue-tnews", 5), ("fewclue-bustm", 10)):
        for approach in ("finetune", "contrast", "prototype"):
            method = "none" if approach == "prototype" else "lora"
            rows = {"test_rows": 400}
            passes = epochs if approach == "finetune" else 0  # contrast takes steps of its own
            yield ZeroRun(recipe, f"{approach}-{method}", "e5", {"name": approach}, method, passes, rows)


SENTIMENT = {"verbalizer": {"negative": ["terrible", "bad"], "positive": ["great", "good"]}}


def _sst2(data: Path, part: str) -> Rows:
    names = {"0": "negative", "1": "positive"}
    file = data / "sst2" / f"stsa.binary.{'dev' if part == 'valid' else part}"
    for line in file.read_text(encoding="utf-8").splitlines():
        label, _, text = line.partition(" ")
        yield {"text": text, "label": names[label]}


def _trec(data: Path, part: str) -> Rows:
    """It has no validation rows: every tenth training row is one."""
    file = data / "trec-questions" / f"TREC.{'test' if part == 'test' else 'train'}.all"
    for number, line in enumerate(file.read_text(encoding="iso-8859-1").splitlines()):
        if part == "test" or (number % 10 == 0) == (part == "valid"):
            label, _, text = line.partition(" ")
            yield {"text": text, "label": TYPES[label]}


def _clinc(data: Path, part: str) -> Rows:
    """Intents by their domains, without those out of scope."""
    domains = json.loads((data / "clinc150" / "domains.json").read_text())
    of = {intent: domain for domain, intents in domains.items() for intent in intents}
    rows = json.loads((data / "clinc150" / "data_full.json").read_text())
    for text, intent in rows["val" if part == "valid" else part]:
        yield {"text": text, "label": of[intent]}


def _fewclue(name: str) -> Callable[[Path, str], Rows]:
    def read(data: Path, part: str) -> Rows:
        """The first of the five samples."""
        file = {"train": "train_0", "valid": "dev_0", "test": "test_public"}[part]
        for line in (data / "fewclue" / name / f"{file}.json").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            text = row.get("sentence") or row["sentence1"]
            second = {"pair": row["sentence2"]} if "sentence2" in row else {}
            yield {"text": text, **second, "label": str(row.get("label_desc", row["label"]))}

    return read


SETS: Mapping[str, Callable[[Path, str], Rows]] = {
    "sst2": _sst2,
    "trec": _trec,
    "clinc150-domains": _clinc,
    **{f"fewclue-{name}": _fewclue(name) for name in ("eprstmt", "tnews", "bustm")},
}
