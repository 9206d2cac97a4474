"""The data section of a recipe."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from adaptune.data.config import DataConfig


def test_labels_that_yaml_reads_as_numbers_and_truth_values_are_spelt_as_files_spell_them():
    config = DataConfig.model_validate({"train": "train.csv", "labels": {0: "negative", True: 1, "yes": 2.5}})
    assert config.labels == {"0": "negative", "true": "1", "yes": "2.5"}


def test_a_column_without_a_name_is_given_by_its_number():
    assert DataConfig.model_validate({"train": "train.tsv", "columns": {"text": 3}}).columns == {"text": "3"}


def test_a_saved_section_loads_to_an_equal_one():
    config = DataConfig.model_validate(
        {"train": "a.csv", "test": "b.csv", "columns": {"text": 3}, "labels": {1: "good"}}
    )
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"train": "a.csv", "encoding": "utf8000"}, "'utf8000' is no character set that Python knows; try utf-8"),
        ({"train": "a.csv", "valid_share": 0.5, "test_share": 0.5}, "leaves no rows to train on; lower them"),
        ({"train": "a.csv", "valid_share": 0}, "greater than 0"),
        ({"train": "a.csv", "on_bad_row": "repair"}, "'fail' or 'skip'"),
        ({"train": "a.csv", "delimiter": "::"}, "at most 1 character"),
        ({"train": "a.csv", "token_column": 0}, "greater than or equal to 1"),
        ({"train": "a.csv", "column": {}}, "Extra inputs are not permitted"),
        ({"train": ""}, "at least 1 character"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused(section, message):
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate(section)


def test_shares_only_count_where_they_are_used():
    assert DataConfig(train="a.csv", valid="b.csv", valid_share=0.6, test_share=0.6).test_share == 0.6


def test_every_field_has_a_help_text():
    assert [name for name, field in DataConfig.model_fields.items() if not field.description] == []
