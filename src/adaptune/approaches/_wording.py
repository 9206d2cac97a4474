"""Templates and words for answers, as data: parsed, filled, read from YAML. Knows no models and no tasks by name.

A template is a text with places: `{text}` and `{pair}` for a row's texts, `{answer}` for the word that says its label
(of several tokens: `{answer:2}`, in cloze), `{soft:4}` for four tokens of the bundle's own. `{{` and `}}` are braces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from adaptune.core.config import Config
from adaptune.core.errors import Unsupported, nearest
from adaptune.core.types import Blank, Given, Soft

SHIPPED = Path(__file__).parent / "templates"
"""Where the sets of templates that come with the package stand, a YAML file each."""
TEXTS = ("text", "pair")
Language = Literal["en", "zh"]
Kind = Literal["follows", "fills"]
"""Whether the answer follows a text, or fills a blank in it."""
Texts = Mapping[str, str]
"""A row's texts, by place."""

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Place:
    """One of a row's texts."""

    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    written: str
    parts: tuple[str | Place | Soft | Blank, ...]

    @property
    def places(self) -> set[str]:
        """Which of a row's texts it has a place for."""
        return {part.name for part in self.parts if isinstance(part, Place)}

    @property
    def soft(self) -> int:
        """Own tokens."""
        return sum(part.tokens for part in self.parts if isinstance(part, Soft))

    @property
    def masks(self) -> int | None:
        """Tokens of its blank; None where the answer follows."""
        return next(part.masks for part in self.parts if isinstance(part, Blank))

    def filled(self, texts: Texts) -> tuple[str | Given | Soft | Blank, ...]:
        """Its parts with a row's texts in them."""
        return tuple(Given(texts[part.name]) if isinstance(part, Place) else part for part in self.parts)

    def shown(self, texts: Texts, word: str) -> str:
        """The text of a row whose answer is known, own tokens left out."""
        return "".join(self._shown(part, texts, word) for part in self.parts)

    @staticmethod
    def _shown(part: str | Place | Soft | Blank, texts: Texts, word: str) -> str:
        if isinstance(part, str):
            return part
        return texts[part.name] if isinstance(part, Place) else word if isinstance(part, Blank) else ""


class Worded(Config):
    """What a set has for one language."""

    follows: tuple[str, ...] = ()
    """Templates whose last place is the answer, for models that go on."""
    fills: tuple[str, ...] = ()
    """Templates with the answer anywhere, for models that fill in."""
    words: dict[str, tuple[str, ...]] = Field(default={})
    """The words of each label; none: labels are their own words."""


class WordingSet(Config):
    """A file of templates and words."""

    en: Worded = Worded()
    zh: Worded = Worded()
    also: dict[str, tuple[str, ...]] = Field(default={})
    """Other names that data give the same labels."""

    def words_of(self, label: str, language: Language) -> tuple[str, ...] | None:
        """The words of a label under any of its names; None where there are none."""
        words: dict[str, tuple[str, ...]] = getattr(self, language).words
        name = next((name for name, others in self.also.items() if label in others), label)
        return words.get(label) or words.get(name)


def parse(template: str, kind: Kind) -> Template:
    """A template's parts. Raises Unsupported, saying which place is wrong."""
    parts: list[str | Place | Soft | Blank] = []
    end = 0
    for found in _PLACE.finditer(template):
        parts.append(template[end : found.start()])
        end = found.end()
        parts.append(found.group()[0] if found.group() in ("{{", "}}") else _place(template, found, kind))
    parts.append(template[end:])
    parsed = Template(template, tuple(_joined(parts)))
    _check(parsed, kind)
    return parsed


def read_set(name: str) -> WordingSet:
    """A shipped set by its name, or a YAML file by its path. Raises Unsupported."""
    file = Path(name)
    shipped = sorted(one.stem for one in SHIPPED.glob("*.yaml"))
    if name in shipped:
        return _read(SHIPPED / f"{name}.yaml")
    if file.suffix in (".yaml", ".yml"):
        if not file.is_file():
            raise Unsupported(f"there is no file {name!r} of templates; paths are relative to where the command runs")
        return _read(file)
    raise Unsupported(
        f"{name!r} is no set of templates{nearest(name, shipped)} (there are: {', '.join(shipped)}), and a template of "
        "your own has {text} and {answer} in it"
    )


def is_template(text: str) -> bool:
    """Whether it is a template itself, not the name of a set or a file."""
    return "{" in text or "\n" in text


def plain_words(label: str) -> tuple[str, ...]:
    """A label as the word for itself: `pay_bill` is said `pay bill`."""
    return (re.sub(r"[_\s]+", " ", label).strip(),)


def unsaid(labels: Several[str], known: Several[str]) -> Unsupported:
    """What to say of labels without words."""
    first = labels[0]
    return Unsupported(
        f"the label {first!r} has no words{nearest(first, known)} (words are there for: {', '.join(known) or 'none'}); "
        f"say which stand for it: approach.verbalizer: {{{first!r}: [WORD, ...]}}"
    )


@cache
def _read(file: Path) -> WordingSet:
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        return WordingSet.model_validate(content)
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        lines = " ".join(str(error).split())
        raise Unsupported(
            f"{str(file)!r} is no file of templates ({lines}); expected en or zh with follows, fills and words"
        ) from error


def _place(template: str, found: re.Match[str], kind: Kind) -> Place | Soft | Blank:
    name, _, number = (found.group(1) or "").partition(":")
    count = int(number) if number.isdecimal() and int(number) > 0 else None
    if found.group(1) is None:
        raise Unsupported(
            f"the template {template!r} has a single {found.group()!r}; write it twice for the sign itself"
        )
    if name in TEXTS and not number:
        return Place(name)
    if name == "soft" and count:
        return Soft(count)
    if name == "answer" and (not number or (count and kind == "fills")):
        return Blank((count or 1) if kind == "fills" else None)
    known = ("text", "pair", "answer", "soft:N", *(("answer:N",) if kind == "fills" else ()))
    places = ", ".join(f"{{{one}}}" for one in known)
    raise Unsupported(
        f"the template {template!r} has a place {found.group()!r}, which nothing fills{nearest(name, known)} "
        f"(there are: {places})"
    )


def _joined(parts: Several[str | Place | Soft | Blank]) -> list[str | Place | Soft | Blank]:
    """Without empty texts, neighbouring ones as one."""
    found: list[str | Place | Soft | Blank] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part != "":
            found.append(part)
    return found


def _check(template: Template, kind: Kind) -> None:
    blanks = [place for place, part in enumerate(template.parts) if isinstance(part, Blank)]
    if len(blanks) != 1:
        raise Unsupported(f"the template {template.written!r} has {len(blanks)} places {{answer}}; write it with one")
    if "text" not in template.places:
        raise Unsupported(f"the template {template.written!r} has no place {{text}}, so that all rows would read alike")
    if kind == "follows" and any(part != "" for part in template.parts[blanks[0] + 1 :]):
        raise Unsupported(
            f"the template {template.written!r} goes on after {{answer}}, and a model that reads from left to right "
            "answers at the end; put it last, or use approach cloze on an encoder"
        )
