"""Reading untrusted YAML, with the lines of its fields for error messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from resnet_repro.base.errors import ConfigError, plain
from resnet_repro.base.files import read_regular
from resnet_repro.base.plain_text import printable_lines

__all__ = ["Document", "Location", "parse_yaml", "read_yaml", "write_yaml"]

Location = tuple[str | int, ...]  # of a field: keys and indices from the outermost on

LARGEST_FILE = 1_000_000  # characters, and values with those that aliases repeat
DEEPEST = 30
# The last two are raised for values that are not what their tag says, as `!!bool x`.
_INVALID = (yaml.YAMLError, ValueError, RecursionError, OverflowError, LookupError, AttributeError)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # with libyaml, if PyYAML has it


@dataclass(frozen=True)
class Document:
    """Parsed YAML with its source's name, and its nodes, which know their lines."""

    data: Any
    name: str
    node: yaml.Node | None
    changes: tuple[str, ...] = ()  # `--set` assignments that were applied to the data

    def line(self, location: Location) -> int | None:
        """The line (from 1) of the field at `location`, or of its nearest existing parent."""
        node, line = self.node, None
        for part in location:
            child = None
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if getattr(key, "value", None) == str(part):
                        line, child = key.start_mark.line + 1, value
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                child = node.value[part] if part < len(node.value) else None
                line = child.start_mark.line + 1 if child else line
            if child is None:
                break
            node = child
        return line

    def place(self, location: Location) -> str:
        """`file, line N` of a field, for an error message; the changes to it instead of the line.

        An empty location is that of fields which do not go together: all changes may matter.
        """
        if typed := [plain(c, 80) for c in self.changes if _is_about(c, location)]:
            return f"{self.name} with --set {' --set '.join(typed)}"
        line = self.line(location)
        return f"{self.name}, line {line}" if line else self.name


def _is_about(assignment: str, location: Location) -> bool:
    """Whether an assignment sets the field, a part of it, or what it is part of."""
    path = assignment.partition("=")[0].strip().split(".")
    return all(key == str(part) for key, part in zip(path, location, strict=False))


def parse_yaml(text: str, name: str) -> Document:
    """Parse one YAML document safely.

    Raises:
        ConfigError: not valid YAML, too large, too deeply nested or too many aliases.
    """
    if len(text) > LARGEST_FILE:
        raise ConfigError(f"{name}: larger than {LARGEST_FILE:,} characters")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(None, name, None)
        _check(node)
        return Document(loader.construct_document(node), name, node)
    except _INVALID as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}, line {mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{place}: not valid YAML: {plain(problem, 200)}") from error


def _check(root: yaml.Node) -> None:
    """Refuse repeated keys, deep nesting, merges, and aliases that fill the memory.

    A node that aliases repeat is looked at each time, as it will be when its value is used.
    """
    waiting, values = [(root, 1)], 0
    while waiting:
        node, depth = waiting.pop()
        values += 1
        if depth > DEEPEST:
            raise _refused(f"nested more than {DEEPEST} deep", node)
        if values > LARGEST_FILE:
            raise _refused(f"aliases make it larger than {LARGEST_FILE:,} values", node)
        if node.tag == "tag:yaml.org,2002:binary":
            raise _refused("binary values are not supported", node)
        if isinstance(node, yaml.MappingNode):
            _check_keys([key for key, _ in node.value])
            waiting += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(item, depth + 1) for item in node.value]


def _check_keys(keys: Sequence[yaml.Node]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key.tag == "tag:yaml.org,2002:merge":
            raise _refused("merging with << is not supported", key)
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise _refused(f"the key {key.value[:60]!r} stands twice", key)
            seen.add(key.value)


def _refused(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def read_yaml(path: Path, name: str | None = None) -> Document:
    """Read a YAML file, by default named by its path; see `parse_yaml`."""
    try:
        text = read_regular(path, 4 * LARGEST_FILE).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a UTF-8 text file") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return parse_yaml(text, name or str(path))


def write_yaml(data: Any) -> str:
    """YAML text in the order given, without aliases."""

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(allow_unicode: bool) -> str:
        return yaml.dump(
            data, Dumper=Dumper, sort_keys=False, allow_unicode=allow_unicode, width=100
        )

    readable = text(True)  # escapes only if some characters are not printable
    return readable if readable == printable_lines(readable) else text(False)
