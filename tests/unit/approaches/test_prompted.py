"""Rows put as prompts: templates, words, demonstrations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adaptune.approaches import APPROACHES
from adaptune.approaches._prompted import Prompted
from adaptune.approaches._shown import Shot, drawn, most_similar, spread
from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Blank, Example, Given, Labels, OfOption, OfPrompt, OfSequence, Row, Sequence
from adaptune.heads import HEADS
from adaptune.methods import METHODS
from adaptune.models.families import FAMILIES
from adaptune.tasks import TASKS

LABELS = Labels(("neg", "pos"))


def row(text: str, label: str | None = None, pair: str | None = None, number: int = 1) -> Example:
    target = None if label is None else OfSequence(label)
    return Example(Row("rows.csv", number, {}), (Sequence(text, pair, target),), label)


ROWS = [row("a fine film", "pos"), row("a dull film", "neg"), row("rain all day", "neg"), row("sun all day", "pos")]


def make(name: str = "score", **settings: Any) -> Prompted:
    found = APPROACHES.make({"name": name, **settings})
    assert isinstance(found, Prompted)
    return found


def settled(name: str = "score", **settings: Any) -> Prompted:
    return make(name, **settings).settled(ROWS, LABELS, seed=1)


def test_a_row_stands_in_the_template_and_its_label_is_an_answer() -> None:
    approach = settled(template="Film: {text}\nIt is {answer}", verbalizer={"pos": ["good", "great"], "neg": "bad"})
    [sequence] = approach.put(row("a fine film", "pos"), LABELS, mask=None).sequences
    assert sequence.prompt is not None
    assert sequence.prompt.parts == ("Film: ", Given("a fine film"), "\nIt is ", Blank(None))
    assert sequence.prompt.answers == (("bad",), ("good", "great"))
    assert (sequence.target, sequence.prompt.per, sequence.prompt.shots) == (OfPrompt(1), "token", ())


def test_a_set_gives_template_and_words_and_the_bundle_has_them_written_out() -> None:
    found = settled(template="sentiment", language="zh")
    assert found.template == ("评论：{text}\n情感：{answer}",)
    assert found.verbalizer == {"neg": ("差", "坏"), "pos": ("好", "棒")}


def test_labels_without_words_say_themselves() -> None:
    labels = Labels(("pay_bill", "pin change"))
    assert make(template="intent").words(labels) == {"pay_bill": ("pay bill",), "pin change": ("pin change",)}
    with pytest.raises(Unsupported, match=r"the label '3' has no words .* approach.verbalizer: \{'3': \[WORD, ...\]\}"):
        make().words(Labels(("3", "rain")))


def test_words_are_for_all_labels_and_no_others() -> None:
    with pytest.raises(Unsupported, match="the label 'neg' has no words"):
        make(verbalizer={"pos": ["good"]}).words(LABELS)
    with pytest.raises(Unsupported, match="words for 'posi', which no row has"):
        make(verbalizer={"posi": ["good"], "pos": ["good"], "neg": ["bad"]}).words(LABELS)
    assert make(verbalizer={0: "bad", True: "good"}).verbalizer == {"0": ("bad",), "true": ("good",)}
    with pytest.raises(ValueError, match="the label 'pos' has no words; give it some"):
        make(verbalizer={"pos": []})


def test_a_second_text_and_its_place_belong_together() -> None:
    with pytest.raises(DataError, match=r"row 1 has no second text, and the template has a place \{pair\}"):
        settled(template="{text} {pair} {answer}").put(row("a"), LABELS, mask=None)
    with pytest.raises(DataError, match=r"row 1 has a second text, and the template '.*' no place \{pair\}"):
        settled().put(row("a", pair="b"), LABELS, mask=None)


def test_options_are_their_own_answers() -> None:
    sequences = tuple(Sequence("It rains so", text, OfOption(text == "wet")) for text in ("dry", "wet", "late"))
    example = Example(Row("rows.csv", 1, {}), sequences, 1)
    approach = make(template="choose").settled([example], Labels(()), seed=1)
    [sequence] = approach.put(example, Labels(()), mask=None).sequences
    assert sequence.prompt is not None
    assert sequence.prompt.answers == (("dry",), ("wet",), ("late",))
    assert sequence.target == OfPrompt(1)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"name": "score"},
        {"name": "regress"},
        "'score' asks for one label .* 'regress' .*use approach finetune",
    ),
    ({"name": "score"}, {"name": "match", "encoder": "bi"}, "set task.encoder: cross"),
    ({"name": "score"}, {"name": "multilabel"}, "'multilabel' asks for something else here"),
    ({"name": "score", "verbalizer": {"a": "b"}}, {"name": "choose"}, "leave approach.verbalizer out"),
    ({"name": "score", "calibrate": "content_free"}, {"name": "choose"}, "every row has options of its own"),
    (
        {"name": "score", "template": ["{text} {answer}", "{text}: {answer}"]},
        {"name": "classify"},
        "gives 2 templates, and nothing chooses between them",
    ),
    (
        {"name": "in_context", "choose": "similar", "by": "model"},
        {"name": "classify"},
        "would read every row twice; set by: tfidf",
    ),
    (
        {"name": "in_context", "shown": [{"text": "a", "answer": "pos"}]},
        {"name": "classify"},
        "approach.shown has 1 rows, and approach.demonstrations is 4",
    ),
]


@pytest.mark.parametrize(("approach", "task", "why"), REFUSED)
def test_what_does_not_fit_is_refused_before_rows_are_read(
    approach: dict[str, Any], task: dict[str, Any], why: str
) -> None:
    made = APPROACHES.make(approach)
    with pytest.raises(Unsupported, match=why):
        made.check(TASKS.make(task), METHODS.make({"name": "none"}), HEADS.make({"name": "verbal"}))


def test_soft_tokens_become_the_heads_own() -> None:
    task = TASKS.make({"name": "classify"})
    head = make(template="{text} {soft:3} {answer}").for_head(HEADS.make({"name": "verbal"}), task)
    assert head.own_tokens == ("[soft 1]", "[soft 2]", "[soft 3]")
    two = make(template=["{text} {soft:3} {answer}", "{text} {answer}"], select="template")
    with pytest.raises(Unsupported, match="different numbers of"):
        two.for_head(HEADS.make({"name": "verbal"}), task)


@pytest.mark.parametrize(("name", "family"), [("score", "bert"), ("in_context", "t5"), ("cloze", "llama")])
def test_a_family_that_reads_otherwise_is_refused(name: str, family: str) -> None:
    with pytest.raises(Unsupported, match=rf"approach '{name}' .*'{family}'"):
        make(name).check_family(FAMILIES[family])


def test_demonstrations_are_rows_with_their_words_in_front() -> None:
    shown = [{"text": "a fine film", "answer": "pos"}, {"text": "a dull film", "answer": "neg"}]
    approach = settled("in_context", template="sentiment", shown=shown, demonstrations=2)
    first, second = "Review: a fine film\nSentiment: great\n\n", "Review: a dull film\nSentiment: terrible\n\n"
    [sequence] = approach.put(row("rain"), LABELS, mask=None).sequences
    assert sequence.prompt is not None
    assert sequence.prompt.shots == (first, second)
    [sequence] = approach.put(row("a fine film"), LABELS, mask=None).sequences
    assert sequence.prompt is not None
    assert sequence.prompt.shots == (second,), "a row is not shown to itself"
    wrong = [{"text": "a", "answer": "posi"}]
    with pytest.raises(Unsupported, match="'posi', which is no label; did you mean 'pos'"):
        settled("in_context", shown=wrong, demonstrations=1)


def test_words_that_yaml_reads_as_numbers_are_to_be_put_in_quotes() -> None:
    with pytest.raises(ValueError, match="verbalizer"):
        make(verbalizer={"1": True, "0": False})
    assert make(verbalizer={1: "good", 0: ["bad", "poor"]}).verbalizer == {"1": ("good",), "0": ("bad", "poor")}


def test_drawn_rows_have_labels_in_turn_and_the_same_for_a_seed() -> None:
    shots = drawn(ROWS, 4, seed=3)
    assert [shot.answer for shot in shots] in (["neg", "pos"] * 2, ["pos", "neg"] * 2)
    assert {drawn(ROWS, 1, seed=seed)[0].answer for seed in range(20)} == {"neg", "pos"}, "no label is always the first"
    assert {shot.text for shot in shots} == {one.sequences[0].first for one in ROWS}
    assert drawn(ROWS, 4, seed=3) == shots
    with pytest.raises(DataError, match="row 1 has no label"):
        drawn([row("a")], 1, seed=1)


def test_diverse_rows_are_far_from_each_other() -> None:
    angles = np.radians([0, 5, 10, 84, 90])
    assert spread(np.stack([np.cos(angles), np.sin(angles)], axis=1), 3) == [2, 4, 0]


def test_similar_rows_are_those_like_the_text_the_most_similar_last() -> None:
    pool = tuple(Shot(text=text, answer="pos") for text in ("rain all day", "a dull film", "a fine film", "trains"))
    assert [shot.text for shot in most_similar(pool, "a fine old film", 2)] == ["a dull film", "a fine film"]
    assert "a fine film" not in [shot.text for shot in most_similar(pool, "a fine film", 3)]


def test_similar_rows_are_shown_to_each_row() -> None:
    approach = settled("in_context", choose="similar", demonstrations=1, template="{text}: {answer}")
    [sequence] = approach.put(row("sun all night"), LABELS, mask=None).sequences
    assert sequence.prompt is not None
    assert sequence.prompt.shots == ("sun all day: pos\n\n",)
