"""Schemes of tags: what each means in BIO, and what none of them allows."""

from __future__ import annotations

import pytest

from adaptune.core.bio import MalformedTags, from_spans, looks_like_tag, scheme_of, spans, to_bio

SAME_SPANS = [
    # One person of two words, an organisation right behind another, a place of one word.
    ("bio", "O B-PER I-PER O B-ORG B-ORG I-ORG B-LOC"),
    ("iob1", "O I-PER I-PER O I-ORG B-ORG I-ORG I-LOC"),
    ("bioes", "O B-PER E-PER O S-ORG B-ORG E-ORG S-LOC"),
    ("bioes", "O B-PER L-PER O U-ORG B-ORG L-ORG U-LOC"),
    ("bioes", "O B-PER E-PER O W-ORG B-ORG E-ORG W-LOC"),
    ("bio", "O B_PER I_PER O B_ORG B_ORG I_ORG B_LOC"),
]


@pytest.mark.parametrize(("scheme", "tags"), SAME_SPANS)
def test_every_scheme_says_the_same_spans(scheme, tags):
    expected = ("O", "B-PER", "I-PER", "O", "B-ORG", "B-ORG", "I-ORG", "B-LOC")
    assert to_bio(tags.split(), scheme) == expected


@pytest.mark.parametrize(("scheme", "tags"), SAME_SPANS)
def test_the_scheme_is_recognised_from_the_tags(scheme, tags):
    assert scheme_of([tags.split()]) == scheme


def test_the_inside_of_a_bmes_span_is_marked_m():
    assert to_bio("B-ORG M-ORG M-ORG E-ORG".split(), "bioes") == ("B-ORG", "I-ORG", "I-ORG", "I-ORG")


@pytest.mark.parametrize("tags", ["O PER PER O LOC PER", "O I-PER I-PER O I-LOC I-PER"])
def test_neighbours_of_one_type_are_one_span_in_io(tags):
    assert scheme_of([tags.split()]) == "io"
    assert to_bio(tags.split(), "io") == ("O", "B-PER", "I-PER", "O", "B-LOC", "B-PER")


@pytest.mark.parametrize(("scheme", "tags"), [("bio", "O B I B"), ("bioes", "O B E S"), ("bioes", "O B L U")])
def test_tags_without_types_are_spans_of_one_type(scheme, tags):
    assert scheme_of([tags.split()]) == scheme
    assert to_bio(tags.split(), scheme) == ("O", "B-entity", "I-entity", "B-entity")


def test_a_type_may_hold_hyphens():
    assert to_bio(["B-creative-work", "I-creative-work"], "bio") == ("B-creative-work", "I-creative-work")
    assert spans(["B-creative-work", "I-creative-work"]) == [(0, 2, "creative-work")]


def test_types_of_one_letter_are_types_in_io():
    assert scheme_of([["O", "P", "L", "L"]]) == "io"
    assert to_bio(["O", "P", "L", "L"], "io") == ("O", "B-P", "B-L", "I-L")


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        ([], "bio"),
        ([["O", "O"]], "bio"),
        ([["B-PER"], ["O"]], "bio"),
        ([["B-PER", "I-PER"], ["B-LOC"], ["O", "I-ORG"]], "bio"),
        ([["I-PER", "B-PER"], ["I-LOC"], ["O", "B-ORG"]], "iob1"),
        ([["B-PER", "I-PER"], ["0", "O"]], "bio"),
        ([["S-PER"], ["O"]], "bioes"),
    ],
)
def test_a_few_wrong_tags_do_not_change_the_scheme_of_the_rest(sentences, scheme):
    assert scheme_of(sentences) == scheme


@pytest.mark.parametrize(
    ("scheme", "tags", "position", "reason"),
    [
        ("bio", "O I-PER", 1, "it continues no span after 'O'; a span starts with B-PER"),
        ("bio", "I-PER", 0, "it continues no span at the start; a span starts with B-PER"),
        ("bio", "B-PER I-LOC", 1, "it continues no span after 'B-PER'; a span starts with B-LOC"),
        ("bio", "B-PER E-PER", 1, "no tag of the scheme bio; expected O, B-PER or I-PER"),
        ("bio", "O 0", 1, "no tag of the scheme bio; expected O, B-PER or I-PER"),
        ("bio", "O B-", 1, "no tag of the scheme bio; expected O, B-PER or I-PER"),
        ("bio", "O o", 1, "no tag of the scheme bio; expected O, B-PER or I-PER"),
        ("io", "PER B-PER", 1, "no tag of the scheme io; expected O, PER or I-PER"),
        ("iob1", "O B-PER", 1, "in iob1 it must follow a span of its type; here I-PER starts a span"),
        ("bioes", "B-PER O", 1, "the span before it has no end; expected E-PER"),
        ("bioes", "B-PER I-LOC", 1, "the span before it has no end; expected E-PER"),
        ("bioes", "B-PER S-PER", 1, "the span before it has no end; expected E-PER"),
        ("bioes", "O E-PER", 1, "it belongs to no open span; a span starts with B-PER"),
        ("bioes", "S-PER I-PER", 1, "it belongs to no open span; a span starts with B-PER"),
        ("bioes", "O B-PER", 1, "the span has no end; expected E-PER"),
    ],
)
def test_malformed_tags_are_refused_by_their_position(scheme, tags, position, reason):
    with pytest.raises(MalformedTags) as caught:
        to_bio(tags.split(), scheme)
    assert (caught.value.position, caught.value.tag) == (position, tags.split()[position])
    assert caught.value.reason == reason


@pytest.mark.parametrize("scheme", ["bio", "iob1", "bioes", "io"])
def test_an_empty_tag_belongs_to_no_scheme(scheme):
    with pytest.raises(MalformedTags):
        to_bio(["O", ""], scheme)


def test_spans_go_to_tags_and_back():
    entities = [(0, 2, "PER"), (2, 3, "PER"), (4, 5, "LOC")]
    tags = from_spans(entities, 6)
    assert tags == ("B-PER", "I-PER", "B-PER", "O", "B-LOC", "O")
    assert spans(tags) == entities


@pytest.mark.parametrize("tags", [["I-PER"], ["B-PER", "O", "I-PER"], ["B-PER", "I-LOC"], ["PER"]])
def test_spans_of_illegal_tags_are_refused(tags):
    with pytest.raises(MalformedTags):
        spans(tags)


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        ([(0, 4, "PER")], "does not lie within the 3 words"),
        ([(1, 1, "PER")], "does not lie within the 3 words"),
        ([(-1, 2, "PER")], "does not lie within the 3 words"),
        ([(0, 2, "PER"), (1, 3, "LOC")], "overlaps another span"),
    ],
)
def test_spans_outside_the_words_or_over_each_other_are_refused(entities, message):
    with pytest.raises(ValueError, match=message):
        from_spans(entities, 3)


@pytest.mark.parametrize(
    ("text", "answer"), [("O", True), ("B-PER", True), ("M-ORG", True), ("NNP", False), ("", False)]
)
def test_a_tag_is_told_from_another_word(text, answer):
    assert looks_like_tag(text) is answer
