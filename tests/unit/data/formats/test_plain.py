"""Raw text by lines and by paragraphs, and which files are read so."""

from __future__ import annotations

from pathlib import Path

from adaptune.data.config import DataConfig
from adaptune.data.formats.plain import read_plain
from adaptune.data.read import read
from adaptune.tasks.classify import Classify
from adaptune.tasks.pretrain import Pretrain

TEXT = "one, two\n\nthree, four\r\nfive, six\n \n\nseven, eight"


def test_every_line_that_is_not_blank_is_a_text_under_its_own_number() -> None:
    found = read_plain(TEXT, "a.txt", paragraphs=False)
    assert [(number, values["text"]) for number, values in found.records] == [
        (1, "one, two"),
        (3, "three, four"),
        (4, "five, six"),
        (7, "seven, eight"),
    ]


def test_a_paragraph_ends_at_a_blank_line() -> None:
    found = read_plain(TEXT, "a.txt", paragraphs=True)
    assert [(number, values["text"]) for number, values in found.records] == [
        (1, "one, two"),
        (3, "three, four\nfive, six"),
        (7, "seven, eight"),
    ]


def test_a_txt_file_of_raw_texts_is_no_csv_whatever_commas_it_has(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("text, label\nfilm, good\n")
    config = DataConfig(train=str(file))
    assert [row.values["text"] for row in read(file, config, Pretrain.columns).rows] == ["text, label", "film, good"]
    assert len(read(file, config, Classify.columns).rows) == 1
