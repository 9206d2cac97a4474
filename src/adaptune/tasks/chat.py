"""Conversations: what the assistant says next. Knows no output layer and no chat template."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from adaptune.core.errors import DataError
from adaptune.core.task import Column
from adaptune.core.types import Conversation, Example, OfText, Role, Row, Scores, Sequence, Turn
from adaptune.tasks._conversations import turns_of
from adaptune.tasks._plain import majority
from adaptune.tasks._text_to_text import WrittenText, first_texts

MADE_UP = 20
"""Most characters of a text that was made up."""


class Chat(WrittenText):
    """Replies of an assistant, judged by BLEU; learned in the model's own chat template, from its turns alone.

    The last turn of a labelled conversation is the assistant's: the expected reply. Rows are OpenAI's (`messages`),
    ShareGPT's (`conversations`) or Alpaca's (`instruction`, `input`, `output`).
    """

    metrics: ClassVar[tuple[str, ...]] = (*WrittenText.metrics, "exact_match")
    likelihood: ClassVar[bool] = True
    unlabelled: ClassVar[str] = (
        "the last turn has to be the assistant's, which is the reply that is expected; remove the turns behind it, or "
        "use `adaptune predict` for conversations that wait for a reply"
    )
    columns = (
        Column(
            "messages",
            "the turns, each with its role and content; or the user's one turn as text",
            ("conversations", "conversation", "dialogue", "dialog", "turns"),
            required=False,
            whole=True,
        ),
        Column("instruction", "what is asked", required=False),
        Column("input", "what the instruction is about; it follows it on a new line", required=False),
        Column("output", "the reply", required=False, label=True),
        Column("history", "earlier turns, as pairs of question and reply", required=False),
        Column("system", "what the system says before", required=False),
    )

    learn: Literal["all", "last"] = "all"
    """Which of the assistant's turns after the first of the user are learned: all that are read, or the last alone."""
    template: str | None = Field(default=None, min_length=1)
    """How conversations are written: chatml (where the vocabulary has its tokens), plain (words, and the token that
    ends a text), or a Jinja template; none: the tokenizer's own."""
    roles: dict[str, Role] = Field(default={})
    """What the rows call a role, and which it is: `{customer: user, agent: assistant}`; human and gpt are known."""
    first_turns: int | None = Field(default=None, ge=2)
    """Of conversations that end in a reply, so many turns are read, the system's not counted, up to the last reply
    among them, which is the expected one; none: all."""
    long: Literal["cut", "refuse", "skip"] = "cut"
    """What becomes of a conversation that leaves a reply no room: it loses its oldest turns (the system's stays), the
    run is refused, or a training row is left out."""

    @field_validator("template")
    @classmethod
    def _names_a_template(cls, value: str | None) -> str | None:
        if value is not None and value not in ("chatml", "plain") and "messages" not in value:
            raise ValueError(f"expected chatml, plain or a Jinja template that reads `messages`, got {value!r}")
        return value

    def example(self, row: Row) -> Example:
        turns = turns_of(row, self.roles)
        if turns[-1].role == "assistant":
            turns = self._first(turns, row)
        reply = turns[-1] if turns[-1].role == "assistant" else None
        before = turns[:-1] if reply else turns
        if not any(turn.role == "user" for turn in before):
            raise DataError(f"{row.where}: no turn of the user stands before the reply; add it or remove the row")
        sequence = Sequence(
            "\n".join(f"{turn.role}: {turn.text}" for turn in before),
            target=OfText(reply.text) if reply else None,
            conversation=Conversation(before, self.learn, self.template, self.long),
        )
        return Example(row, (sequence,), reply.text if reply else None)

    def score(self, predicted: Several[Any], expected: Several[Any]) -> Scores:
        scores = super().score(predicted, expected)
        same = [text.strip() == wanted.strip() for text, wanted in zip(predicted, expected, strict=True)]
        return replace(scores, values={**scores.values, "exact_match": sum(same) / max(1, len(same))})

    def sample(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Short questions, which have room wherever rows have."""
        return {name: text[:MADE_UP].strip() for name, text in values.items()}

    def baselines(self, train: Several[Example], test: Several[Example]) -> Mapping[str, list[Any]]:
        """The most frequent reply, and what the user said last."""
        replies = first_texts([example.expected for example in train])
        return {"most_frequent": majority(replies, len(test)), "copied_question": [_question(one) for one in test]}

    def _first(self, turns: tuple[Turn, ...], row: Row) -> tuple[Turn, ...]:
        """The turns that are read of a conversation that ends in a reply."""
        if self.first_turns is None:
            return turns
        most = self.first_turns + (turns[0].role == "system")
        kept = turns[:most]
        while kept and kept[-1].role != "assistant":
            kept = kept[:-1]
        if not kept:
            raise DataError(
                f"{row.where}: none of its first {self.first_turns} turns is the assistant's; raise task.first_turns "
                "or remove the row"
            )
        return kept


def _question(example: Example) -> str:
    conversation = example.sequences[0].conversation
    assert conversation is not None
    return next(turn.text for turn in reversed(conversation.turns) if turn.role == "user")
