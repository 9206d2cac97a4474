"""The `data` section of a recipe: where the rows are, and how they are read."""

from __future__ import annotations

import codecs
import json
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from adaptune.core.bio import Scheme
from adaptune.core.config import Config

Format = Literal["jsonl", "json", "csv", "tsv", "parquet", "conll", "brat", "semeval", "lines", "paragraphs"]


_COLUMN = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]}


class DataConfig(Config):
    """Where the rows are, and how they are read."""

    train: str | None = Field(default=None, min_length=1)
    """The training rows: a file, a pattern of several (`fold*.json`), a folder of brat's .ann and .txt files, two files
    whose lines belong together (`train.{de,en}`, sources first), or `hub:NAME` (`hub:NAME:CONFIG`, `hub:NAME@SPLIT`)
    for a data set of a hub; none: for an approach that needs none."""
    valid: str | None = Field(default=None, min_length=1)
    """Rows that decide when training stops and which weights are kept; none: cut from the training rows."""
    test: str | None = Field(default=None, min_length=1)
    """Rows that are only scored, at the end; none: cut from the training rows."""
    corpus: str | None = Field(default=None, min_length=1)
    """rank, where `task.against` is all: the texts that every query is ranked against, one a row; none: those that the
    rows of its part name."""
    corpus_column: str | None = Field(default=None, min_length=1)
    """The corpus file's name of the column that holds them; none: text, document, passage, title or the like."""
    out_of_scope: str | None = Field(default=None, min_length=1)
    """Rows that belong to none of the labels, for `evaluate.out_of_scope`: they are never learned from and decide no
    threshold, but say how well such rows are told; labels in them are not looked at."""
    out_of_scope_label: str | None = None
    """A label that itself means out of scope, where the rows have one; it is learned as the others are."""
    format: Literal["auto", Format] = "auto"
    """The format of every file; auto: by the name of each, or by its first lines. brat: an .ann file beside its .txt,
    one row a document, for relations one each. semeval: relations as SemEval-2010 task 8 writes them. lines,
    paragraphs: one raw text a line, or between blank lines; a .txt file of raw texts is read by lines."""
    columns: dict[str, Annotated[str, WithJsonSchema(_COLUMN)]] = Field(default={})
    """The task's name of a column and the files' name of it, `text: review`; without a header its number, `text: 3`."""
    valid_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training rows that is cut off where `valid` is not given."""
    test_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the training rows that is cut off where `test` is not given; 0: no test."""
    split_seed: int | None = Field(default=None, ge=0)
    """Decides which rows are cut off and drawn; none: the recipe's seed. Runs that differ in their seeds alone are then
    of the same rows."""
    train_rows: int | None = Field(default=None, ge=1)
    """At most so many training rows, drawn by the seed with every class in its share; none: all of them."""
    shots: int | None = Field(default=None, ge=0)
    """At most so many training rows of each label, drawn by `draw`, fewer shots among more; none: all rows. 0: none but
    the names of their labels, for an approach that needs no labelled rows."""
    draw: int = Field(default=1, ge=0)
    """Which draw of `shots`: another number gives other rows, whatever the recipe's seed."""
    valid_rows: int | None = Field(default=None, ge=1)
    """At most so many validation rows, drawn likewise; none: all, but 1,000 where cut from rows that are streamed."""
    test_rows: int | None = Field(default=None, ge=1)
    """At most so many test rows, drawn likewise; none: all, but 10,000 where cut from rows that are streamed."""
    stream: Literal["auto", "always", "never"] = "auto"
    """Whether rows are read one after another into a temporary file (TMPDIR says where) instead of into memory, and
    become tokens only when training comes to them; auto: of files of more than 32 MB, and of data sets of a hub that
    say that they are larger, which are then not downloaded either."""
    token_cache: bool = True
    """Whether the tokens of parts of 5,000 rows or more are kept for later runs, in $ADAPTUNE_CACHE/tokens (else
    ~/.cache/adaptune/tokens)."""
    labels: dict[str, str] = Field(default={})
    """What stands in the label column, and the label it means: `{0: negative, 1: positive}`; none may be left out."""
    on_bad_row: Literal["fail", "skip"] = "fail"
    """fail: a row that cannot be used ends the run. skip: it is left out, and listed in the run folder with reasons."""
    encoding: str = "auto"
    """The files' character set, `utf-8`, `gb18030`, `cp1252`; auto: UTF-8, or another one that is then named."""
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """csv, tsv: what stands between two fields; none: found from the header line."""
    header: bool = True
    """csv, tsv: whether the first line names the columns."""
    quotes: Literal["auto", "double", "none"] = "auto"
    """csv, tsv: double: a field in double quotes may hold delimiters and line ends. none: quotes are text.
    auto: double, but none for a tsv file that cannot be read so."""
    token_column: int = Field(default=1, ge=1)
    """conll: which column holds the word, counted from 1."""
    tag_column: int | None = Field(default=None, ge=1)
    """conll: which column holds the tag, counted from 1; none: the last."""
    scheme: Literal["auto", Scheme] = "auto"
    """How tags mark where an entity starts and ends; auto: found from all the tags of a file."""

    @field_validator("columns", mode="before")
    @classmethod
    def _number_columns(cls, value: Any) -> Any:
        """`{text: 3}` names the third column, `{labels: [a, b]}` several that stand for one."""
        if not isinstance(value, dict):
            return value
        return {key: _column(name) for key, name in value.items()}

    @field_validator("labels", mode="before")
    @classmethod
    def _spell_labels(cls, value: Any) -> Any:
        """YAML reads `0` as a number and `yes` as true; files hold text."""
        if not isinstance(value, dict):
            return value
        return {_spelt(key): _spelt(label) for key, label in value.items()}

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if value != "auto":
            try:
                codecs.lookup(value)
            except LookupError:
                raise ValueError(
                    f"{value!r} is no character set that Python knows; try utf-8, gb18030 or cp1252"
                ) from None
        return value

    @model_validator(mode="after")
    def _settings_agree(self) -> DataConfig:
        cut = (0 if self.valid else self.valid_share) + (0 if self.test else self.test_share)
        if self.train is None and (self.shots is not None or self.train_rows is not None):
            raise ValueError(
                "there is no train, and shots and train_rows are drawn from it; leave them out, or name it"
            )
        if self.shots is not None and self.train_rows is not None:
            raise ValueError(
                f"shots is {self.shots} and train_rows is {self.train_rows}: each draws training rows; "
                "leave one of them out"
            )
        if self.shots is None and self.draw != 1:
            raise ValueError(f"draw is {self.draw}, and nothing would be drawn; set shots, or leave it out")
        if cut >= 1:
            raise ValueError(
                f"valid_share and test_share are {cut:g} together, which leaves no rows to train on; lower them"
            )
        return self


def _column(name: object) -> object:
    """A column as the files name it."""
    if isinstance(name, list) and all(isinstance(part, str) for part in name):
        return ", ".join(name)
    return str(name) if _is_whole(name) else name


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _spelt(value: object) -> object:
    """Numbers and truth values as JSON writes them, as labels are spelt everywhere."""
    return json.dumps(value) if isinstance(value, (bool, int, float)) else value
