from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from adaptune.core.errors import DataError
from adaptune.core.types import Example, Row, Turn
from adaptune.data.columns import resolve
from adaptune.data.table import Record, Table
from adaptune.tasks import TASKS

LONG = [{"role": role, "content": f"{role} {number}"} for number in range(3) for role in ("customer", "agent")]
ROLES = {"customer": "user", "agent": "assistant"}


def _example(values: dict[str, Any], **settings: Any) -> Example:
    return TASKS.make({"name": "chat", **settings}).example(Row("chats.jsonl", 4, values))


def _turns(example: Example) -> tuple[Turn, ...]:
    conversation = example.sequences[0].conversation
    assert conversation is not None
    return conversation.turns


def test_roles_of_the_files_are_named_by_the_recipe() -> None:
    example = _example({"messages": LONG}, roles=ROLES)
    assert [turn.role for turn in _turns(example)] == ["user", "assistant", "user", "assistant", "user"]
    assert example.expected == "agent 2"
    with pytest.raises(DataError, match=r"row 4, turn 1: the role 'customer' is not known .*task.roles"):
        _example({"messages": LONG})


@pytest.mark.parametrize(("count", "reply"), [(2, "agent 0"), (3, "agent 0"), (4, "agent 1"), (9, "agent 2")])
def test_the_first_turns_end_with_the_last_reply_among_them(count: int, reply: str) -> None:
    assert _example({"messages": LONG}, roles=ROLES, first_turns=count).expected == reply
    system = {"role": "system", "content": "Be kind."}
    example = _example({"messages": [system, *LONG]}, roles=ROLES, first_turns=count)
    assert example.expected == reply
    assert _turns(example)[0] == Turn("system", "Be kind.")


def test_a_conversation_that_waits_for_a_reply_is_read_whole() -> None:
    example = _example({"messages": LONG[:5]}, roles=ROLES, first_turns=2)
    assert (example.expected, len(_turns(example))) == (None, 5)


def test_a_text_is_one_turn_of_the_user() -> None:
    example = _example({"messages": "When do you open?"})
    assert _turns(example) == (Turn("user", "When do you open?"),)
    assert example.expected is None


def test_sharegpt_with_a_system_column() -> None:
    talk = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    assert _turns(_example({"messages": talk, "system": "Be kind."})) == (
        Turn("system", "Be kind."),
        Turn("user", "a"),
    )


def test_columns_are_found_in_each_of_the_three_formats() -> None:
    def found(*names: str, labelled: bool = True) -> dict[str, str]:
        table = Table("chats.jsonl", names, [Record(1, dict.fromkeys(names, "a"))])
        return resolve(table, TASKS.get("chat").columns, {}, labelled=labelled)

    assert found("id", "messages") == {"messages": "messages"}
    assert found("conversations", "system") == {"messages": "conversations", "system": "system"}
    alpaca = {name: name for name in ("instruction", "input", "output")}
    assert found("instruction", "input", "output") == alpaca
    with pytest.raises(DataError, match="has no column for 'output'"):
        found("instruction", "input")
    assert found("instruction", labelled=False) == {"instruction": "instruction"}


def test_exact_match_is_the_share_of_equal_replies() -> None:
    scores = TASKS.make({"name": "chat"}).score(["yes", "no ", "so it is"], ["yes", "no", "it is so"]).values
    assert scores["exact_match"] == pytest.approx(2 / 3)


def test_a_template_is_a_name_or_reads_messages() -> None:
    with pytest.raises(ValidationError, match="expected chatml, plain or a Jinja template that reads `messages`"):
        TASKS.make({"name": "chat", "template": "chatlm"})
