"""Templates and sets of words as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.approaches._wording import SHIPPED, Kind, WordingSet, parse, read_set
from adaptune.core.errors import Unsupported
from adaptune.core.types import Blank, Given, Soft


def test_a_template_has_places_for_texts_and_the_answer() -> None:
    found = parse("{{{text}}}: {soft:3} {answer}", "follows")
    assert found.filled({"text": "a {film}"}) == ("{", Given("a {film}"), "}: ", Soft(3), " ", Blank(None))
    assert found.shown({"text": "rain"}, "wet") == "{rain}:  wet"
    assert (found.places, found.soft, found.masks) == ({"text"}, 3, None)


def test_a_blank_may_have_several_tokens_where_it_is_filled() -> None:
    assert parse("{answer:2}: {text} {pair}", "fills").masks == 2
    assert parse("{text} it was {answer}.", "fills").masks == 1


WRONG: list[tuple[str, Kind, str]] = [
    ("{text} {anser}", "follows", r"'\{anser\}', which nothing fills; did you mean 'answer'\?"),
    ("{text} {soft} {answer}", "follows", r"a place '\{soft\}', which nothing fills"),
    ("{text} {soft:0} {answer}", "follows", r"a place '\{soft:0\}'"),
    ("{text} {answer:2}", "follows", r"a place '\{answer:2\}'"),
    ("{text}: {", "follows", r"has a single '\{'"),
    ("{text}", "follows", r"has 0 places \{answer\}"),
    ("{answer} {text} {answer}", "fills", r"has 2 places \{answer\}"),
    ("so it was {answer}", "fills", r"no place \{text\}, so that all rows would read alike"),
    ("{text} was {answer}.", "follows", r"goes on after \{answer\}.* or use approach cloze"),
]


@pytest.mark.parametrize(("template", "kind", "why"), WRONG)
def test_what_is_wrong_with_a_template_is_told(template: str, kind: Kind, why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        parse(template, kind)


@pytest.mark.parametrize("name", sorted(file.stem for file in SHIPPED.glob("*.yaml")))
def test_every_set_that_comes_along_has_right_templates_in_both_languages(name: str) -> None:
    found = read_set(name)
    for worded in (found.en, found.zh):
        assert worded.follows
        assert name == "choose" or worded.fills
        for template in worded.follows:
            parse(template, "follows")
        for template in worded.fills:
            parse(template, "fills")
        assert set(found.also) <= set(worded.words)
        assert all(words for words in worded.words.values())


def test_labels_have_their_words_under_other_names_too() -> None:
    found = read_set("sentiment")
    assert found.words_of("1", "en") == found.words_of("positive", "en") == ("great", "good")
    assert found.words_of("Negative", "zh") == ("差", "坏")
    assert found.words_of("rain", "en") is None


def test_a_set_of_ones_own_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("en: {follows: ['{text}: {answer}'], words: {wet: [rain]}}\nalso: {wet: [damp]}\n")
    assert isinstance(read_set(str(file)), WordingSet)
    assert read_set(str(file)).words_of("damp", "en") == ("rain",)
    file = tmp_path / "other.yaml"
    file.write_text("en: {templates: []}\n")
    with pytest.raises(Unsupported, match=r"is no file of templates .*templates.*; expected en or zh with follows"):
        read_set(str(file))
    with pytest.raises(Unsupported, match=r"there is no file 'absent.yaml'"):
        read_set("absent.yaml")
    with pytest.raises(Unsupported, match=r"'sentimet' is no set of templates; did you mean 'sentiment'"):
        read_set("sentimet")
