"""What of a text can be shown while it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.bundle.load import load_bundle
from adaptune.core.backbone import Backbone
from adaptune.core.errors import Unsupported
from adaptune.serve.pool import Pool
from adaptune.serve.writing import Listener, Wish, complete, settled_part


@pytest.mark.parametrize(
    ("text", "stop", "settled"),
    [
        ("", (), ""),
        ("the", (), ""),  # `the` may become `then`
        ("the late", (), "the"),
        ("the late ", (), "the late"),
        ("  the late ", (), "the late"),
        ("早上好", (), "早上好"),
        ("早上\ufffd", (), "早上"),  # a character of which only some bytes are there
        ("the caf\ufffd", (), "the"),
        ("a b c STO", ("STOP",), "a b c"),
        ("a b ST ", ("STOP",), "a b ST"),
        ("a b cST", ("STOP",), "a b"),
        ("早上ST", ("STOP",), ""),
        ("a b\n", ("\n\n",), "a b"),
        ("a bSTOP c", ("STOP",), "a b"),
        ("a END b STOP", ("STOP", "END"), "a"),
    ],
)
def test_what_stands_whatever_follows(text: str, stop: tuple[str, ...], settled: str) -> None:
    assert settled_part(text, stop) == settled


@pytest.mark.parametrize("stop", [(), ("two",), ("o t", "zz"), ("ee",)])
def test_pieces_together_are_the_whole_text(stop: tuple[str, ...]) -> None:
    text = " one two, 三四 three \n four "
    sent: list[str] = []
    listener = Listener(sent.append)
    places = [place for string in stop if (place := text.find(string)) >= 0]
    for size in range(1, len(text) + 1):
        listener.show(text[:size], stop)
        if any(string in text[:size] for string in stop):
            break  # nothing is written behind it
    whole = text[: min(places, default=len(text))].strip()
    assert "".join(sent) + listener.rest(whole) == whole
    assert len(sent) > 1 or stop
    listener.show(text, stop)  # a text that is written anew
    assert "".join(sent) == whole[: len("".join(sent))]


def test_what_was_sent_cannot_be_taken_back() -> None:
    listener = Listener([].append)
    listener.show("one two ", ())
    with pytest.raises(Unsupported, match="ask without `stream`"):
        listener.rest("one three")


def test_a_text_that_nobody_wants_any_more_is_not_written_on(writers: Path, llama: Backbone) -> None:
    assembly = load_bundle(writers / "writer", backbone=llama).assembly
    one = Pool(llama).register(writers / "writer", "writer").of(None)
    rows = one.encode(one.examples(["the late train is quick", "a red box"]), llama, llama.tokenizer)
    sequences = [sequence for row in rows for sequence in row]
    whole = complete(assembly, sequences, Wish(12))
    leaving, staying = Listener(lambda _: None), Listener(lambda _: None)
    leaving.gone = True
    found = complete(assembly, sequences, Wish(12), {0: leaving, 1: staying})
    assert found[1] == whole[1]
    assert found[0].tokens <= 2 < whole[0].tokens  # one, and the padding that ends it where others go on
