"""Answers of an exported bundle by ONNX Runtime; needs numpy, onnxruntime and tokenizers alone.

    python answer.py < rows.jsonl

reads a row a line, as JSON, and writes its answer. From Python: `Model("folder")(["a text", "another"])`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

READ = {
    "classify": "(batch, labels) logits: softmax gives the probability of each label",
    "as_transformers": "(batch, labels) logits: softmax gives the probability of each label",
    "multilabel": "(batch, labels) logits: a sigmoid above `threshold` gives a label",
    "regress": "(batch, 1): times `deviation`, plus `mean`, is the number",
    "rerank": "(batch, 1), the score of a text for a query: texts of one query are put in its order",
    "relate": "(batch, labels) logits: softmax; `marks` are the tokens of the first part's signs, then the second's",
    "tag": "(batch, length, labels) logits, read at each word's first token; the best path in which no I- stands alone",
    "span": "(batch, length, 2) logits of start and end, added up; the first token's stand for no answer",
    "similarity": "(batch, hidden) vectors of length 1: the cosine of two, times `weight`, plus `bias`, are the logits",
    "retrieve": "(batch, hidden) vectors of length 1: the nearest texts to a query have the highest cosine",
}
"""What the output is, by the head's name."""
SAMPLE: dict[str, Any] = {
    "classify": "a text",
    "as_transformers": "a text",
    "multilabel": "a text",
    "regress": "a text",
    "rerank": ["a query", "a text"],
    "relate": {"text": "Ann lives in Rome", "head": [0, 3], "tail": [13, 17]},
    "tag": ["Ann", "lives", "in", "Rome"],
    "span": ["Where does Ann live?", "Ann lives in Rome."],
    "similarity": ["one text", "another text"],
    "retrieve": "a text",
}
"""A row, by the head's name; where a bundle reads pairs, a row is a list of two texts."""

Ids = Sequence[int]
Numbers = NDArray[np.floating]


class Model:
    """A folder that `adaptune export --to onnx` wrote."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.session: Any = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])

    def __call__(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """One answer a row."""
        return ANSWERS[self.about["head"]](self, rows) if rows else []

    def run(self, ids: Sequence[Ids], types: Sequence[Ids], **more: Any) -> Numbers:
        """The output for token ids of any lengths, padded on the right."""
        longest, most = max(map(len, ids)), self.about["max_length"]
        if longest > most:
            raise ValueError(f"a row has {longest} tokens, and the model reads {most}; shorten it")
        place = np.arange(longest)[None] < np.array([[len(one)] for one in ids])
        inputs = {"input_ids": np.full(place.shape, self.about["pad"], dtype=np.int64)}
        inputs["input_ids"][place] = np.concatenate(ids)
        inputs["attention_mask"] = place.astype(np.int64)
        if self.about["segments"]:
            inputs["token_type_ids"] = np.zeros_like(inputs["input_ids"])
            inputs["token_type_ids"][place] = np.concatenate(types)
        found: Numbers = self.session.run(None, inputs | more)[0]
        return found

    def texts(self, rows: Sequence[Any]) -> Numbers:
        """The output for texts or pairs of them, cut to what the model reads."""
        encoded = self.tokenizer.encode_batch([one if isinstance(one, str) else tuple(one) for one in rows])
        lengths = [sum(one.attention_mask) for one in encoded]
        ids = [one.ids[:length] for one, length in zip(encoded, lengths, strict=True)]
        return self.run(ids, [one.type_ids[:length] for one, length in zip(encoded, lengths, strict=True)])


def softmax(logits: Numbers) -> Numbers:
    """Over the last axis."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    shares: Numbers = shifted / shifted.sum(axis=-1, keepdims=True)
    return shares


def classified(model: Model, logits: Numbers) -> list[dict[str, Any]]:
    """The most probable label of each row."""
    names = model.about["labels"]
    return [{"label": names[int(row.argmax())], "probability": float(row.max())} for row in softmax(logits)]


def classify(model: Model, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """A label for each text, or pair of texts."""
    return classified(model, model.texts(rows))


def multilabel(model: Model, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Any number of labels; the probability is that of just these."""
    answers = []
    for row in 1 / (1 + np.exp(-model.texts(rows).astype(np.float64))):
        given = row > model.about["threshold"]
        labels = [
            {"label": name, "probability": float(share)}
            for name, share, there in zip(model.about["labels"], row, given, strict=True)
            if there
        ]
        answers.append({"labels": labels, "probability": float(np.where(given, row, 1 - row).prod())})
    return answers


def numbered(model: Model, outputs: Numbers) -> list[dict[str, Any]]:
    """A number for each row."""
    name = "score" if model.about["task"] == "match" else "number"
    return [{name: float(one) * model.about["deviation"] + model.about["mean"]} for one in outputs[:, 0]]


def regress(model: Model, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """A number for each text, or pair of texts."""
    return numbered(model, model.texts(rows))


def rerank(model: Model, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """How right a text is for a query; of one query the texts with the highest scores come first."""
    return [{"score": float(score)} for score in model.texts(rows)[:, 0]]


def retrieve(model: Model, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """What a text is found by."""
    return [{"embedding": vector.tolist()} for vector in model.texts(rows)]


def similarity(model: Model, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """A label or a number for each pair of texts, by their cosine."""
    vectors = model.texts([text for row in rows for text in row])
    cosines = (vectors[0::2] * vectors[1::2]).sum(axis=1, keepdims=True)
    outputs = cosines * np.array([model.about["weight"]]) + np.array([model.about["bias"]])
    return numbered(model, outputs) if len(model.about["labels"]) == 1 else classified(model, outputs)


def relate(model: Model, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """How the first of two marked parts of a text is related to the second."""
    model.tokenizer.no_truncation()
    model.tokenizer.no_padding()
    marked = [_marked(row, model.about["signs"]) for row in rows]
    encoded = model.tokenizer.encode_batch([text for text, _ in marked])
    marks = []
    for one, (_, spans) in zip(encoded, marked, strict=True):
        inside = [
            [place for place, (start, end) in enumerate(one.offsets) if first < end and start < last and start < end]
            for first, last in spans
        ]
        marks.append([inside[0][0], inside[0][-1], inside[1][0], inside[1][-1]])
    logits = model.run([one.ids for one in encoded], [one.type_ids for one in encoded], marks=np.array(marks))
    named = [{part: row["text"][slice(*row[part])] for part in ("head", "tail")} for row in rows]
    found = classified(model, logits)
    return [
        {"relation": one["label"], **names, "probability": one["probability"]}
        for one, names in zip(found, named, strict=True)
    ]


def _marked(row: Any, signs: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The text with a sign on both sides of each part, and where these stand, signs included."""
    parts: list[str] = []
    spans, end = {}, 0
    for (start, stop), sign, which in sorted([(row["head"], signs[0], 0), (row["tail"], signs[1], 1)]):
        parts += [row["text"][end:start], " "]
        begin = sum(map(len, parts))
        parts += [sign, " ", row["text"][start:stop], " ", sign]
        spans[which] = (begin, sum(map(len, parts)))
        parts.append(" ")
        end = stop
    return "".join([*parts, row["text"][end:]]), [spans[0], spans[1]]


def tag(model: Model, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """The entities among words that spaces separate; a row is a list of words, or a text to be split at spaces."""
    model.tokenizer.no_truncation()
    model.tokenizer.no_padding()
    words = [row.split() if isinstance(row, str) else list(row) for row in rows]
    ids, firsts = [], []
    for row in words:
        pieces = [
            model.tokenizer.encode(model.about["before_words"] * bool(place) + word, add_special_tokens=False).ids
            for place, word in enumerate(row)
        ]
        starts = np.cumsum([len(model.about["prefix"])] + [len(piece) for piece in pieces])[:-1]
        if not all(pieces):
            raise ValueError(f"the tokenizer makes nothing of a word of {row!r}; leave it out")
        inside = [number for piece in pieces for number in piece]
        ids.append([*model.about["prefix"], *inside, *model.about["suffix"]])
        firsts.append(starts)
    logits = model.run(ids, [[0] * len(one) for one in ids])
    named = zip(words, firsts, logits, strict=True)
    return [_entities(row, softmax(of_row[starts]), model.about["labels"]) for row, starts, of_row in named]


def _entities(words: Sequence[str], shares: Numbers, tags: Sequence[str]) -> dict[str, Any]:
    path = _best_path(np.log(shares), tags)
    chosen = shares[np.arange(len(path)), path]
    entities: list[dict[str, Any]] = []
    for place, number in enumerate(path):
        name = tags[number]
        if name.startswith("B-"):
            entities.append({"type": name[2:], "start_word": place, "end_word": place + 1})
        elif name.startswith("I-"):
            entities[-1]["end_word"] = place + 1
    for one in entities:
        inside = slice(one["start_word"], one["end_word"])
        one |= {"words": list(words[inside]), "probability": float(chosen[inside].mean())}
    return {"entities": entities, "probability": float(chosen.mean())}


def _best_path(emissions: Numbers, tags: Sequence[str]) -> list[int]:
    """The most probable tags in which I-X follows B-X or I-X alone (Viterbi)."""
    follow = np.array([[0.0 if _may_follow(one, other) else -np.inf for other in tags] for one in tags])
    score = emissions[0] + np.array([-np.inf if name.startswith("I-") else 0.0 for name in tags])
    back = []
    for step in emissions[1:]:
        ways = score[:, None] + follow
        back.append(ways.argmax(axis=0))
        score = ways.max(axis=0) + step
    path = [int(score.argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return path[::-1]


def _may_follow(one: str, other: str) -> bool:
    return not other.startswith("I-") or one in (f"B-{other[2:]}", other)


def span(model: Model, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """The part of a text that answers a question; a row is [question, text], and both fit into the model together."""
    model.tokenizer.no_truncation()
    model.tokenizer.no_padding()
    encoded = model.tokenizer.encode_batch([(question + model.about["between"], text) for question, text in rows])
    logits = model.run([one.ids for one in encoded], [one.type_ids for one in encoded])
    return [_span(model, *given) for given in zip(rows, encoded, logits, strict=True)]


def _span(model: Model, row: Any, encoded: Any, logits: Numbers) -> dict[str, Any]:
    places, where = [], []
    for place, (part, (start, end)) in enumerate(zip(encoded.sequence_ids, encoded.offsets, strict=True)):
        covered = row[1][start:end] if part == 1 else ""
        if covered.strip():
            places.append(place)
            where.append((end - len(covered.lstrip()), start + len(covered.rstrip())))
    starts, ends = logits[places].astype(np.float64).T
    after = np.arange(len(places))[None] - np.arange(len(places))[:, None]
    scores = np.where((after >= 0) & (after < model.about["max_answer_tokens"]), starts[:, None] + ends[None], -np.inf)
    none, best = float(logits[0].astype(np.float64).sum()), float(scores.max())
    shares = softmax(np.append(scores.ravel(), none if model.about["may_be_none"] else -np.inf))
    if model.about["may_be_none"] and none - best > model.about["no_answer_threshold"]:
        return {"answer": "", "start": None, "end": None, "probability": float(shares[-1])}
    first, last = np.unravel_index(scores.argmax(), scores.shape)
    start, end = where[int(first)][0], where[int(last)][1]
    return {"answer": row[1][start:end], "start": start, "end": end, "probability": float(shares[:-1].max())}


ANSWERS: dict[str, Callable[[Model, Sequence[Any]], list[dict[str, Any]]]] = {
    "classify": classify,
    "as_transformers": classify,
    "multilabel": multilabel,
    "regress": regress,
    "rerank": rerank,
    "relate": relate,
    "tag": tag,
    "span": span,
    "similarity": similarity,
    "retrieve": retrieve,
}


if __name__ == "__main__":
    told = Model(Path(__file__).resolve().parent)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(told([json.loads(line)])[0], ensure_ascii=False) + "\n")
