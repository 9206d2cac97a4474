"""Chat templates that a recipe can name, and how conversations become text by a template. Knows no rows' columns."""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Any

from jinja2.exceptions import TemplateError

from adaptune.core.errors import DataError, Unsupported
from adaptune.core.types import Turn
from adaptune.data.special_tokens import special_tokens

_CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PLAIN = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize + ': ' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""Words alone, and the tokenizer's own end of a text behind every reply: for models that know no other marks."""
NAMED = {"chatml": CHATML, "plain": PLAIN}
_PROBE = (Turn("user", "Who?"), Turn("assistant", "Zyx"))


class ChatTemplate:
    """A tokenizer with the template of a recipe, or its own."""

    def __init__(self, tokenizer: Any, template: str | None) -> None:
        """`template`: a name of NAMED, a Jinja template, or None for the tokenizer's own. Raises Unsupported."""
        self._tokenizer = tokenizer
        self._given = None if template is None else NAMED.get(template, template)
        self.name = "the tokenizer's own chat template" if template is None else f"task.template {_short(template)!r}"
        _check(tokenizer, template)
        # A template that comes with a tokenizer says itself what a text begins with.
        self._prefix = special_tokens(tokenizer)[0] if template in NAMED else []
        added = {one: token.content for one, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._special = added | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
        self.end = self._end()
        """The token that ends a reply."""

    def text(self, turns: Several[Turn], where: str, *, ask: bool) -> str:
        """A conversation as text; `ask`: up to where the assistant's next turn begins. Raises DataError."""
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            found = self._tokenizer.apply_chat_template(
                messages, chat_template=self._given, tokenize=False, add_generation_prompt=ask
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}: {self.name} refuses the conversation ({' then '.join(turn.role for turn in turns)}): "
                f"{error}; correct the row, or set another task.template"
            ) from None
        return str(found)

    def ids(self, texts: Several[str]) -> list[list[int]]:
        """The tokens of texts that begin where a conversation does."""
        return [[*self._prefix, *ids] for ids in self.pieces(texts)]

    def pieces(self, texts: Several[str]) -> list[list[int]]:
        """The tokens of texts that may stand anywhere."""
        found: list[list[int]] = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return found

    def check(self, turns: Several[Turn], where: str) -> None:
        """Raises DataError for a turn that holds a special token, which would end it before its end."""
        for turn in turns:
            token = next((token for token in self._special.values() if token in turn.text), None)
            if token is not None:
                raise DataError(
                    f"{where}: a turn of the {turn.role} holds {token!r}, which this tokenizer reads as a mark of its "
                    "own and not as text; remove it, or the row"
                )

    def _end(self) -> int:
        whole = self.text(_PROBE, "a question and an answer", ask=False)
        after = whole.rpartition(_PROBE[1].text)[2]
        found = next((one for one in self.pieces([after])[0] if one in self._special), None)
        if found is None:
            raise Unsupported(
                f"{self.name} ends a reply with no special token of the vocabulary ({after!r} follows it), so that no "
                "model could learn where to stop; set task.template to chatml, plain, or a template of your own"
            )
        return found


def _check(tokenizer: Any, template: str | None) -> None:
    """Raises Unsupported for a template that is not there, or whose tokens are not."""
    if template is None and not tokenizer.chat_template:
        raise Unsupported(
            f"the tokenizer of {tokenizer.name_or_path!r} has no chat template; say in task.template how conversations "
            "are written: plain (words, and the token that ends a text), chatml (where the vocabulary has "
            f"{' and '.join(_CHATML_TOKENS)}), or a Jinja template"
        )
    if template == "chatml":
        vocabulary = tokenizer.get_vocab()
        missing = [token for token in _CHATML_TOKENS if token not in vocabulary]
        if missing:
            raise Unsupported(
                f"task.template 'chatml' needs the tokens {' and '.join(_CHATML_TOKENS)}, and the vocabulary of "
                f"{tokenizer.name_or_path!r} lacks {' and '.join(missing)}; set task.template=plain"
            )
    if template == "plain" and tokenizer.eos_token is None:
        raise Unsupported(
            "task.template 'plain' ends a reply with the end-of-sequence token, and this tokenizer has none; set "
            "eos_token in its tokenizer_config.json, or another task.template"
        )


def _short(template: str) -> str:
    return template if len(template) <= 40 else f"{template[:36]} ..."
