"""Character sets: read where they can be told, refused where not."""

from __future__ import annotations

import codecs

import pytest

from adaptune.core.errors import DataError
from adaptune.data.text import decode, fault, lines_of

CHINESE = "text,label\n这家酒店的服务很好，房间也很大,1\n早餐太差了，不会再来的,0\n"
GERMAN = "text,label\nSchöne Grüße aus München,gut\nDas Frühstück war zu süß,schlecht\n"
RUSSIAN = "текст,метка\nЯ очень доволен покупкой,1\nУжасное качество,0\n"
KOREAN = "글,표\n정말 좋은 제품입니다,1\n품질이 나쁩니다,0\n"


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        (CHINESE, "utf-8", ""),
        (CHINESE, "utf-8-sig", ""),
        (GERMAN, "utf-8", ""),
        (CHINESE, "utf-16", "UTF-16-LE, as its byte-order mark says"),
        (CHINESE, "gb18030", "GB18030 (Chinese)"),
        (CHINESE, "gbk", "GB18030 (Chinese)"),
        (GERMAN, "cp1252", "Windows-1252 (Latin-1, Western European)"),
        (GERMAN, "latin-1", "Windows-1252 (Latin-1, Western European)"),
        ("label,text\n1,“Don’t” – he said…\n", "cp1252", "Windows-1252 (Latin-1, Western European)"),
    ],
)
def test_a_text_is_read_in_its_character_set_which_is_named_unless_it_is_utf_8(text, encoding, named):
    decoded = decode(text.encode(encoding), "auto", "train.csv")
    assert decoded.text == text
    assert named in decoded.notice
    assert (decoded.notice == "") == (named == "")


def test_big_endian_utf_16_is_read_by_its_mark():
    assert decode(codecs.BOM_UTF16_BE + CHINESE.encode("utf-16-be"), "auto", "train.csv").text == CHINESE


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (KOREAN, "euc-kr"),
        ("本,星\nとても良い商品でした,1\n", "shift_jis"),
        ("書名,評\n很喜歡這本書,1\n", "big5"),
    ],
)
def test_a_character_set_that_cannot_be_told_is_asked_for(text, encoding):
    with pytest.raises(DataError, match=r"train.csv, row 1: byte 0x.. is not UTF-8, .* data.encoding: gb18030"):
        decode(text.encode(encoding), "auto", "train.csv")


@pytest.mark.parametrize(("text", "encoding"), [(RUSSIAN, "koi8-r"), (KOREAN, "euc-kr"), (CHINESE, "utf-16-le")])
def test_a_character_set_that_is_given_is_used(text, encoding):
    assert decode(text.encode(encoding), encoding, "train.csv") == (text, "")


def test_a_mark_is_no_part_of_a_text_in_a_given_character_set():
    assert decode(CHINESE.encode("utf-8-sig"), "utf-8", "train.csv").text == CHINESE


def test_a_given_character_set_that_is_wrong_is_refused_by_line():
    with pytest.raises(DataError, match=r"train.csv, row 2: byte 0xE9 is not utf-8"):
        decode(b"text\ncaf\xe9\n", "utf-8", "train.csv")


def test_utf_16_without_a_mark_is_named():
    with pytest.raises(DataError, match=r"UTF-16-LE without a byte-order mark; set data.encoding: utf-16-le"):
        decode("text,label\ngood,1\n".encode("utf-16-le"), "auto", "train.csv")


def test_half_a_utf_16_file_is_refused():
    with pytest.raises(DataError, match="begins with the byte-order mark of UTF-16-LE but is not whole"):
        decode("text".encode("utf-16")[:-1], "auto", "train.csv")


def test_a_broken_byte_in_a_utf_8_file_is_left_for_its_row_to_be_named():
    content = CHINESE.encode() + b"caf\xe9,1\n"
    decoded = decode(content, "auto", "train.csv")
    assert decoded.notice == ""
    assert (
        fault(decoded.text.splitlines()[-1])
        == "holds the byte 0xE9, which is not UTF-8, at position 4; correct or remove it"
    )


@pytest.mark.parametrize(
    ("content", "kind"), [(b"\x1f\x8b\x08\x00", "gzip"), (b"PK\x03\x04rest", "zip or Excel"), (b"BZh9", "bzip2")]
)
def test_a_packed_file_is_refused_by_its_kind(content, kind):
    with pytest.raises(DataError, match=f"train.csv is a {kind} file; unpack it"):
        decode(content, "auto", "train.csv")


def test_a_nul_character_is_a_fault():
    assert fault("ab\0c") == "holds a NUL character at position 3; remove it"
    assert fault("abc") == ""


@pytest.mark.parametrize("text", ["a\nb\n", "a\r\nb\r\n", "a\rb\r", "a\nb", "a\r\nb"])
def test_every_line_end_ends_a_line(text):
    assert lines_of(text) == ["a", "b"]


def test_separators_within_a_line_end_none():
    assert lines_of("a\u2028b\x85c\x0bd\n\ne") == ["a\u2028b\x85c\x0bd", "", "e"]
