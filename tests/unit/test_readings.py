"""Rows as their model reads them: literal tokens and labels of every kind, as text, in colours and as JSON."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from transformers import AutoTokenizer

from adaptune import cli
from adaptune.cli import coloured
from adaptune.core.batch import Encoded
from adaptune.core.types import Labels
from adaptune.data.readings import AsRead, Token, reading_of, token_text

Shown = Callable[..., str]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shown:
    """shown("task: classify", model, rows, "2"): what `show-example` prints of rows."""
    monkeypatch.chdir(tmp_path)

    def run(task: str, model: Path, rows: list[dict[str, object]], *arguments: str, code: int = 0) -> str:
        Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        files = "{train: rows.jsonl, valid: rows.jsonl, test: rows.jsonl}"
        Path("recipe.yaml").write_text(f"{task}\ndata: {files}\nmodel: {model}\n", encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["adaptune", "show-example", "recipe.yaml", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        assert end.value.code == code, printed.err
        return printed.err if code else printed.out

    return run


RATED: list[dict[str, object]] = [
    {"text": "The film was good.", "label": "positive"},
    {"text": "bad books", "label": "negative"},
]


def test_a_classified_text_carries_loss_as_a_whole(shown: Shown, tiny_bert: Path) -> None:
    assert shown("task: classify", tiny_bert, RATED, "2") == (
        "rows.jsonl, row 1\n"
        "  label:    positive\n"
        "  tokens:   [CLS] the film was good . [SEP]\n"
        "rows.jsonl, row 2\n"
        "  label:    negative\n"
        "  tokens:   [CLS] bad book ##s [SEP]\n"
    )


def test_tags_stand_on_first_pieces_and_once_where_windows_overlap(shown: Shown, tiny_bert: Path) -> None:
    rows: list[dict[str, object]] = [
        {
            "tokens": ["john", "walked", "to", "london", "to", "see", "books"],
            "tags": ["O"] * 3 + ["B-place"] + ["O"] * 3,
        }
    ]
    assert shown("task: tag\nmethod: lora", tiny_bert, rows, "1", "model.max_length=8") == (
        "rows.jsonl, row 1, sequence 1 of 2\n"
        "  tokens:   [CLS] john=O walk=O ##ed to=O london=B-place to=O [SEP]\n"
        "rows.jsonl, row 1, sequence 2 of 2\n"
        "  tokens:   [CLS] to see=O book=O ##s [SEP]\n"
        "token=label: this token carries loss, with this label\n"
    )


def test_marked_entities_are_where_the_head_reads(shown: Shown, tiny_bert: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": "<e1>rain</e1> in <e2>london</e2>", "relation": "in(e1,e2)"},
        {"text": "<e1>rain</e1> or <e2>london</e2>", "relation": "Other"},
    ]
    assert shown("task: relate", tiny_bert, rows) == (
        "rows.jsonl, row 1\n"
        "  label:    in(e1,e2)\n"
        "  tokens:   [CLS] <@> rain <@> in <#> london <#> [SEP]\n"
        "<token>: the head reads the label of the whole sequence here\n"
    )


@pytest.mark.parametrize("front", [0, 30, 60])
def test_markers_that_are_tokens_of_the_heads_own_are_named_and_never_cut_off(
    shown: Shown, tiny_bert: Path, front: int
) -> None:
    text = f"{'box ' * front}<e2>london</e2> in <e1>rain</e1>{' box' * (60 - front)}"
    rows: list[dict[str, object]] = [
        {"text": text, "relation": "in(e1,e2)"},
        {"text": "<e1>rain</e1> or <e2>london</e2>", "relation": "Other"},
    ]
    task = "task: relate\nhead: {markers: tokens}"
    model = Path(f"{{name: {tiny_bert}, max_length: 12}}")
    assert "<[E2]> london <[/E2]> in <[E1]> rain <[/E1]>" in shown(task, model, rows)
    record = json.loads(shown(task, model, rows, "--row", "2", "--json"))
    assert record["tokens"][1] == {"token": "[E1]", "read": True}


def test_texts_that_are_read_each_by_itself_are_shown_each_by_itself(shown: Shown, tiny_bert: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": "good film", "pair": "great film", "label": "yes"},
        {"text": "good film", "pair": "bad book", "label": "no"},
    ]
    assert shown(
        "task: {name: match, encoder: bi}\nhead: similarity", tiny_bert, rows, "--part", "valid", "--row", "2"
    ) == (
        "rows.jsonl, row 2, sequence 1 of 2\n"
        "  label:    no\n"
        "  tokens:   [CLS] good film [SEP]\n"
        "rows.jsonl, row 2, sequence 2 of 2\n"
        "  label:    no\n"
        "  tokens:   [CLS] bad book [SEP]\n"
    )


def test_of_a_text_to_be_written_its_own_tokens_carry_loss_alone(shown: Shown, tiny_llama: Path) -> None:
    rows: list[dict[str, object]] = [{"source": "bad book", "target": "good film"}] * 2
    assert shown("task: write", tiny_llama, rows) == (
        "rows.jsonl, row 1\n"
        "  tokens:   b ad Ġboo k Ċ=g g=oo oo=d d=Ġfi Ġfi=lm lm=</s>\n"
        "token=label: this token carries loss, with this label\n"
    )


def test_of_a_conversation_the_replies_and_their_ends_carry_loss_alone(shown: Shown, tiny_llama: Path) -> None:
    talk = [("user", "bad"), ("assistant", "good"), ("user", "a"), ("assistant", "no")]
    rows: list[dict[str, object]] = [{"messages": [{"role": role, "content": text} for role, text in talk]}] * 2
    task = "task: {name: chat, template: plain}"
    assert shown(task, tiny_llama, rows) == (
        "rows.jsonl, row 1\n"
        "  tokens:   U s er : Ġbad Ċ A s s i st an t :=Ġg Ġg=oo oo=d d=</s> </s> Ċ "
        "U s er : Ġa Ċ A s s i st an t :=Ġn Ġn=o o=</s>\n"
        "token=label: this token carries loss, with this label\n"
    )
    last = shown(task.replace("plain", "plain, learn: last"), tiny_llama, rows)
    assert ": Ġg oo d </s>" in last
    assert ":=Ġn Ġn=o o=</s>" in last


def test_json_has_one_line_a_sequence(shown: Shown, tiny_bert: Path) -> None:
    rows: list[dict[str, object]] = [{"text": "a film", "labels": ["new", "good"]}, {"text": "a", "labels": ["bad"]}]
    printed = shown("task: multilabel", tiny_bert, rows, "2", "--json")
    assert [json.loads(line) for line in printed.splitlines()] == [
        {
            "row": "rows.jsonl, row 1",
            "sequence": 1,
            "of": 1,
            "tokens": [
                {"token": "[CLS]", "special": True},
                {"token": "a"},
                {"token": "film"},
                {"token": "[SEP]", "special": True},
            ],
            "label": ["good", "new"],
        },
        {
            "row": "rows.jsonl, row 2",
            "sequence": 1,
            "of": 1,
            "tokens": [{"token": "[CLS]", "special": True}, {"token": "a"}, {"token": "[SEP]", "special": True}],
            "label": ["bad"],
        },
    ]


def test_numbers_are_shown_as_written(shown: Shown, tiny_bert: Path) -> None:
    rows: list[dict[str, object]] = [{"text": "a film", "number": 3.8}, {"text": "a book", "number": 1}]
    assert "  label:    3.8\n" in shown("task: regress", tiny_bert, rows)


def test_a_row_that_is_not_there_is_refused(shown: Shown, tiny_bert: Path) -> None:
    said = shown("task: classify", tiny_bert, RATED, "--row", "3", code=2)
    assert said.splitlines()[-1] == "error: there is no row 3 of train: it has 2 rows; choose one of these"


def test_no_weights_are_read(shown: Shown, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safetensors.safe_open", None)
    monkeypatch.setattr("transformers.modeling_utils.safe_open", None)
    assert "[CLS]" in shown("task: classify", tiny_bert, RATED)


def test_of_two_stacks_the_decoder_is_shown_beside_what_is_read(tiny_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    ids = {word: tokenizer.convert_tokens_to_ids(word) for word in ("[PAD]", "bad", "book", "[SEP]")}
    encoded = Encoded(
        row=0,
        ids=np.array([ids["bad"], ids["[SEP]"]], dtype=np.int32),
        segments=None,
        tokens=np.array([0, 1], dtype=np.int32),
        items=np.array([0, 1], dtype=np.int32),
        labels=np.array([ids["book"], -100]),
        decoder_ids=np.array([ids["[PAD]"], ids["book"]], dtype=np.int32),
    )
    assert reading_of(encoded, tokenizer, Labels(())) == AsRead(
        tokens=(Token("bad"), Token("[SEP]", special=True)),
        decoder=(Token("[PAD]", special=True, label="book"), Token("book")),
    )


def test_bytes_that_are_whole_characters_are_shown_as_these(tiny_gpt2: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_gpt2)
    tokenizer.add_tokens(["中"])
    pieces = tokenizer(" the\n中é", add_special_tokens=False)["input_ids"]
    assert [token_text(piece, tokenizer) for piece in pieces] == ["Ġthe", "Ċ", "中", "Ã", "©"]


def test_on_a_terminal_what_carries_loss_is_green_and_special_tokens_are_dim(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, color_system="standard", highlight=False, width=60)
    monkeypatch.setattr(coloured, "Console", lambda **_: terminal)
    reading = AsRead((Token("[CLS]", special=True), Token("london", label="B-place")))
    coloured.print_readings([coloured.RowReadings("rows.jsonl, row 1", (reading,))])
    assert "\x1b[2m[CLS]\x1b[0m" in stream.getvalue()
    assert "\x1b[32mlondon\x1b[0m\x1b[1;32m=B-place\x1b[0m" in stream.getvalue()
