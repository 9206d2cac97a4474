"""A condition as a tree: `share(label=negative, window=15m) > 0.4 and n >= 50`. Computes nothing, runs nothing.

    condition  = all {"or" all}
    all        = one {"and" one}
    one        = "not" one | "(" condition ")" | value comparison value
    comparison = "<" | "<=" | ">" | ">=" | "==" | "!="
    value      = number | length of time | name ["(" argument {"," argument} ")"]
    argument   = word | ("label" | "window" | "quantile") "=" (word | number | length of time | quoted)

Names are those of FUNCTIONS. A value without a window has the condition's only one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from adaptune.core.errors import nearest
from adaptune.serve.watch.drift import SIGNALS
from adaptune.serve.watch.durations import as_text
from adaptune.serve.watch.tokens import ConditionError, Token, tokens_of

Comparison = Literal["<", "<=", ">", ">=", "==", "!="]
COMPARISONS: Final = ("<", "<=", ">", ">=", "==", "!=")
JOINS: Final = ("and", "or", "not")
SHORTEST, LONGEST = 10.0, 30 * 86_400.0
"""Seconds that a window may have."""
DEEPEST = 50
"""Brackets and nots within each other."""


@dataclass(frozen=True, slots=True)
class Function:
    """What a condition can ask."""

    of: tuple[str, ...] = ()
    """Its first argument is one of these; none: it has no such argument."""
    takes: tuple[str, ...] = ("window",)


FUNCTIONS: Mapping[str, Function] = {
    "n": Function(),
    "share": Function(("label", "errors", "unknown"), ("label", "window")),
    "mean": Function(("confidence", "length", "latency")),
    "drift": Function(SIGNALS),
    "requests": Function(),
    "errors": Function(),
    "latency": Function(takes=("quantile", "window")),
}
"""n: rows answered. share: of rows with a label, of failed requests, of unknown tokens. mean: confidence, characters or
seconds. drift: of a signal, the distance from the reference. requests, errors: how many. latency: a quantile's seconds.
"""


@dataclass(frozen=True, slots=True)
class Number:
    """A number that stands in the condition."""

    value: float


@dataclass(frozen=True, slots=True)
class Call:
    """A number that is looked up."""

    function: str
    of: str | None = None
    label: str | None = None
    quantile: float = 0.95
    window: float | None = None
    """Seconds; None until the rule says which."""
    column: int = 1

    def __str__(self) -> str:
        said = [self.of] if self.of not in (None, "label") else []
        said += [f"label={self.label}"] if self.label is not None else []
        said += [f"quantile={self.quantile:g}"] if self.function == "latency" else []
        said += [f"window={as_text(self.window)}"] if self.window is not None else []
        return f"{self.function}({', '.join(map(str, said))})"


@dataclass(frozen=True, slots=True)
class Compare:
    """Two values."""

    left: Number | Call
    sign: Comparison
    right: Number | Call


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    inner: Condition


@dataclass(frozen=True, slots=True)
class Joined:
    """Several, of which all or any hold."""

    how: Literal["and", "or"]
    parts: tuple[Condition, ...]


Condition = Compare | Not | Joined


def parse(text: str, window: float | None = None) -> Condition:
    """The tree of a condition, every value with its window: its own, the rule's, or the only one there is.

    Raises ConditionError.
    """
    found = _Parser(tokens_of(text)).whole()
    named = {call.window for call in calls_of(found) if call.window is not None}
    only = window if window is not None else named.pop() if len(named) == 1 else None
    missing = next((call for call in calls_of(found) if call.window is None), None)
    if missing is not None and only is None:
        several = "several windows are named" if named else "no window is named"
        raise ConditionError(f"{several}; say which {missing} has: window=15m", missing.column)
    return _with_window(found, only)


def calls_of(condition: Condition) -> Iterator[Call]:
    """Every value that is looked up, in order."""
    if isinstance(condition, Compare):
        yield from (value for value in (condition.left, condition.right) if isinstance(value, Call))
    else:
        for part in (condition.inner,) if isinstance(condition, Not) else condition.parts:
            yield from calls_of(part)


def _with_window(condition: Condition, window: float | None) -> Condition:
    if isinstance(condition, Not):
        return Not(_with_window(condition.inner, window))
    if isinstance(condition, Joined):
        return Joined(condition.how, tuple(_with_window(part, window) for part in condition.parts))
    left, right = (
        replace(value, window=window) if isinstance(value, Call) and value.window is None else value
        for value in (condition.left, condition.right)
    )
    return Compare(left, condition.sign, right)


class _Parser:
    """One pass over the tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _take(self) -> Token:
        token = self._next
        self._place += token.kind != "end"
        return token

    def _is(self, *texts: str) -> bool:
        return self._next.kind in ("word", "sign") and self._next.text in texts

    def _expect(self, text: str, where: str) -> None:
        if not self._is(text):
            raise ConditionError(f"expected {text!r} {where}, found {self._next.shown}", self._next.column)
        self._take()

    def whole(self) -> Condition:
        """The condition, and nothing behind it."""
        found = self._joined("or")
        if self._next.kind != "end":
            raise ConditionError(f"expected `and`, `or` or the end, found {self._next.shown}", self._next.column)
        return found

    def _joined(self, how: Literal["and", "or"]) -> Condition:
        parts = [self._joined("and") if how == "or" else self._one()]
        while self._is(how):
            self._take()
            parts.append(self._joined("and") if how == "or" else self._one())
        return parts[0] if len(parts) == 1 else Joined(how, tuple(parts))

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ConditionError(f"more than {DEEPEST} brackets stand within each other", self._next.column)
        found = self._compare() if not self._is("not", "(") else self._inner()
        self._depth -= 1
        return found

    def _inner(self) -> Condition:
        if self._take().text == "not":
            return Not(self._one())
        found = self._joined("or")
        self._expect(")", "to close the bracket")
        return found

    def _compare(self) -> Compare:
        left = self._value()
        sign = self._take()
        if sign.kind != "sign" or sign.text not in COMPARISONS:
            raise ConditionError(f"expected one of {' '.join(COMPARISONS)}, found {sign.shown}", sign.column)
        right = self._value()
        if isinstance(left, Number) and isinstance(right, Number):
            raise ConditionError("two numbers are compared; one side has to be a value such as n", sign.column)
        return Compare(left, sign.text, right)  # type: ignore[arg-type]

    def _value(self) -> Number | Call:
        token = self._take()
        if token.kind in ("number", "duration"):
            return Number(token.value)
        if token.kind != "word" or token.text in JOINS:
            raise ConditionError(f"expected a number or a value such as n, found {token.shown}", token.column)
        if token.text not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise ConditionError(
                f"there is no value {token.text!r}{nearest(token.text, FUNCTIONS)} (there are: {known})", token.column
            )
        call = Call(token.text, column=token.column)
        if self._is("("):
            self._take()
            call = self._arguments(call)
        return _complete(call)

    def _arguments(self, call: Call) -> Call:
        seen: set[str] = set()
        while not self._is(")"):
            name = self._take()
            if name.kind != "word":
                raise ConditionError(f"expected an argument of {call.function}, found {name.shown}", name.column)
            if name.text in seen:
                raise ConditionError(f"{name.text!r} stands twice", name.column)
            seen.add(name.text)
            if self._is("="):
                self._take()
                call = self._named(call, name)
            else:
                call = _of(call, name)
            if not self._is(")"):
                self._expect(",", f"or ')' after an argument of {call.function}")
        self._take()
        return call

    def _named(self, call: Call, name: Token) -> Call:
        takes = FUNCTIONS[call.function].takes
        if name.text not in takes:
            raise ConditionError(
                f"{call.function} has no argument {name.text!r}{nearest(name.text, takes)} (it has: "
                f"{', '.join(takes)})",
                name.column,
            )
        value = self._take()
        if name.text == "label":
            return _labelled(call, name, value)
        return _measured(call, name, value)


def _labelled(call: Call, name: Token, value: Token) -> Call:
    if value.kind not in ("word", "text", "number"):
        raise ConditionError(f"expected a label, found {value.shown}", value.column)
    return replace(_of(call, name), label=value.text)


def _measured(call: Call, name: Token, value: Token) -> Call:
    if name.text == "window":
        if value.kind != "duration" or not SHORTEST <= value.value <= LONGEST:
            raise ConditionError(f"a window lasts from 10s to 30d, as 15m does; found {value.shown}", value.column)
        return replace(call, window=value.value)
    if value.kind != "number" or not 0 < value.value < 1:
        raise ConditionError(f"a quantile lies between 0 and 1, as 0.95 does; found {value.shown}", value.column)
    return replace(call, quantile=value.value)


def _of(call: Call, name: Token) -> Call:
    """The first argument, of which there is one."""
    known = FUNCTIONS[call.function].of
    if name.text not in known:
        hint = f" (it is of: {', '.join(known)})" if known else "; it has none without `=`"
        raise ConditionError(
            f"{call.function} has no argument {name.text!r}{nearest(name.text, known)}{hint}", name.column
        )
    if call.of is not None:
        raise ConditionError(f"{call.function} is of {call.of!r} or of {name.text!r}, one of the two", name.column)
    return replace(call, of=name.text)


def _complete(call: Call) -> Call:
    known = FUNCTIONS[call.function].of
    if known and (call.of is None or (call.of == "label" and call.label is None)):
        options = ", ".join("label=..." if option == "label" else option for option in known)
        raise ConditionError(f"{call.function} needs to know of what: {options}", call.column)
    return call
