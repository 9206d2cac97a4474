"""A recipe as text: YAML with line numbers, `key=value` overrides, environment variables. Knows no section by name.

YAML is read by the rules of version 1.2: only true and false are booleans (a label may be called `no`), 2e-3 is a
number, dates are text, and so is every key.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from adaptune.core.errors import RecipeError, nearest


@dataclass(slots=True)
class Source:
    """The values of a recipe before they are checked, where each was written, and what is wrong so far."""

    name: str
    sections: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    """Path in the recipe -> `line 4`, or the override `train.epochs=3`."""
    problems: list[str] = field(default_factory=list)
    paths: dict[str, str] = field(default_factory=dict)
    """Problem -> the path that it was reported of."""

    def at(self, path: str) -> Any:
        """The value at a path, as it stands; None where there is none."""
        place: Any = self.sections
        for key in path.split("."):
            place = place.get(key) if isinstance(place, dict) else None
        return place

    def report(self, path: str, problem: str) -> None:
        """Note a problem of the value at `path`, headed by where it, or the nearest section above it, was written."""
        above = path
        while above and above not in self.places:
            above = above.rpartition(".")[0]
        told = f"{self.places[above]}: {problem}" if above else problem
        self.problems.append(told)
        self.paths[told] = path

    def in_order(self) -> list[str]:
        """The problems by their lines; then those of overrides and of what is missing."""
        lines = [re.match(r"line (\d+): ", problem) for problem in self.problems]
        keys = [(int(line[1]) if line else sys.maxsize, index) for index, line in enumerate(lines)]
        return [self.problems[index] for _, index in sorted(keys)]


A_RECIPE = "a recipe is a mapping with at least the sections task, data and model"


def read_source(path: Path, *, expected: str = A_RECIPE) -> Source:
    """The recipe in a file, or what else stands in sections, as `expected` says.

    Raises RecipeError where it is no YAML mapping at all.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(str(path), [f"there is no such file{beside(path)}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(str(path), [f"cannot be read: {error}"]) from None
    return source_of(text, str(path), expected=expected)


def source_of(text: str, name: str, *, expected: str = A_RECIPE) -> Source:
    """The same of a text that lies in no file; `name` heads what is wrong with it."""
    source = Source(name)
    value = _mapping(text, source, expected)
    source.sections = _expanded(value, "", source)
    return source


def read_plain(text: str) -> dict[str, Any]:
    """The values in a text as they were written, `${NAME}` and all. Raises RecipeError as `source_of` does."""
    return _mapping(text, Source("recipe"), A_RECIPE)


def _mapping(text: str, source: Source, expected: str) -> dict[str, Any]:
    try:
        value = _parse(text, source)
    except yaml.YAMLError as error:
        raise RecipeError(source.name, [_syntax(error)]) from None
    if not isinstance(value, dict):
        raise RecipeError(source.name, [expected])
    return value


def override(source: Source, text: str) -> None:
    """Set one value by its path, `train.epochs=3`; the value is read as YAML. What is wrong stands in `source`."""
    path, equals, written = text.partition("=")
    *above, last = path.strip().split(".")
    if not equals or not all([*above, last]):
        source.problems.append(f"the override {text!r} is not of the form path=value, as train.epochs=3 is")
        return
    try:
        value = _parse(written, Source("override"))
    except yaml.YAMLError as error:
        source.problems.append(f"{text}: the value is no YAML: {_syntax(error)}")
        return
    place = source.sections
    for depth, key in enumerate(above, start=1):
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
        if not isinstance(place, dict):
            whole = ".".join(above[:depth])
            source.problems.append(f"{text}: {whole} is {place!r} and has no keys; give {whole} as a whole instead")
            return
    source.places = {old: line for old, line in source.places.items() if not old.startswith(f"{path.strip()}.")}
    source.places[path.strip()] = text
    place[last] = _expanded(value, path.strip(), source)


def write_text(sections: Mapping[str, Any]) -> str:
    """YAML that `read_source` reads back to equal values."""
    return write_plain(_escaped(sections))


def write_plain(sections: Mapping[str, Any]) -> str:
    """YAML that `read_plain` reads back to equal values."""
    return yaml.dump(dict(sections), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def beside(path: Path) -> str:
    """`; did you mean 'train.csv'?`, the nearest name in the folder of a file that is missing."""
    if not path.parent.is_dir():
        return f"; nor is there a folder {str(path.parent)!r}"
    return nearest(path.name, sorted(file.name for file in path.parent.iterdir()))


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  # typed and shared so by PyYAML


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or `_Loader` would read as something else."""


_PLAIN_VALUES = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
)
for _tag, _pattern, _first in _PLAIN_VALUES:
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _whole_number(_: _Loader, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    return int(text, 16 if text.startswith("0x") else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def _parse(text: str, source: Source) -> Any:
    """The one document in `text`, with the place of each value noted. Raises yaml.YAMLError."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _survey(node, "", source, ())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _survey(node: yaml.Node, path: str, source: Source, above: tuple[yaml.Node, ...]) -> None:
    """Note the line of every value, make every key text and report keys that stand twice."""
    if node in above:
        raise yaml.MarkedYAMLError(problem="this value holds itself", problem_mark=node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _survey(value, f"{path}.{index}", source, (*above, node))
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
                continue
            key.tag = "tag:yaml.org,2002:str"
            below = f"{path}.{key.value}".lstrip(".")
            if key.value in seen:
                first = seen[key.value]
                source.problems.append(f"line {line}: {below!r} stands here and in line {first}; keep one of them")
            seen[key.value] = line
            source.places[below] = f"line {line}"
            _survey(value, below, source, (*above, node))


def _syntax(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        # Within [] and {} the brace of ${NAME} is YAML's own.
        hint = "; put text with ${...} in quotes" if str(error.problem).endswith("but got '{'") else ""
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}{hint}"
    return str(error)


def _expanded(value: Any, path: str, source: Source) -> Any:
    """A copy in which `${NAME}` in text is the environment variable's value, and `$${` a plain `${`."""
    if isinstance(value, dict):
        return {key: _expanded(inner, f"{path}.{key}".lstrip("."), source) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner, f"{path}.{index}", source) for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "${"
        if name not in os.environ:
            remedy = f"; set it: export {name}=..." if name.isidentifier() else ""
            source.report(path, f"{path} names the environment variable ${{{name}}}, which is not set{remedy}")
        return os.environ.get(name, found[0])

    return re.sub(r"\$\$\{|\$\{([^}]*)\}", replacement, value)


def _escaped(value: Any) -> Any:
    """The inverse of `_expanded`."""
    if isinstance(value, Mapping):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(inner) for inner in value]
    return value.replace("${", "$${") if isinstance(value, str) else value
