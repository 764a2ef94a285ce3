"""Reading untrusted YAML, with the lines of its fields for error messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

from resnet_repro.base.errors import ConfigError, plain
from resnet_repro.base.files import read_regular
from resnet_repro.base.plain_text import printable_lines

__all__ = ["Document", "parse_yaml", "read_yaml", "write_yaml"]

LARGEST_FILE = 1_000_000  # characters
MOST_ALIASES = 50
DEEPEST = 30
# Characters that libyaml accepts and PyYAML does not, or that change its line numbers.
_READ_DIFFERENTLY = re.compile("[\t\x85\u2028\u2029\ufeff]")


class _Checks(SafeConstructor, Composer, Resolver):
    """From YAML's events to values; refuses repeated keys, deep nesting and alias bombs."""

    check_event: Any  # a parser's

    def __init__(self) -> None:
        SafeConstructor.__init__(self)
        Composer.__init__(self)
        Resolver.__init__(self)
        self.aliases = 0
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MOST_ALIASES:
                raise yaml.YAMLError(f"more than {MOST_ALIASES} aliases")
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"nested more than {DEEPEST} deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value[:60]!r} stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse `<<`: nested merges can make a mapping that fills the memory."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, "merging with << is not supported", key.start_mark
                )


class _Loader(_Checks, Reader, Scanner, Parser):
    """PyYAML's safe loader with these checks."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        _Checks.__init__(self)


if yaml.__with_libyaml__:
    from yaml._yaml import CParser

    class _FastLoader(_Checks, CParser):
        """The same with libyaml's scanner and parser, if PyYAML was built with it."""

        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            _Checks.__init__(self)


@dataclass(frozen=True)
class Document:
    """Parsed YAML with its source's name, and its nodes, which know their lines."""

    data: Any
    name: str
    node: yaml.Node | None

    def line(self, location: Sequence[str | int]) -> int | None:
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

    def place(self, location: Sequence[str | int]) -> str:
        """`file, line N` of a field, for an error message."""
        line = self.line(location)
        return f"{self.name}, line {line}" if line else self.name


def parse_yaml(text: str, name: str) -> Document:
    """Parse one YAML document safely.

    Raises:
        ConfigError: not valid YAML, too large, too deeply nested or too many aliases.
    """
    if len(text) > LARGEST_FILE:
        raise ConfigError(f"{name}: larger than {LARGEST_FILE:,} characters")
    if yaml.__with_libyaml__ and not _READ_DIFFERENTLY.search(text):
        try:
            return _loaded(_FastLoader(text), name)
        except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
            pass  # read again below, for PyYAML's error message
    try:
        return _loaded(_Loader(text), name)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}, line {mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{place}: not valid YAML: {plain(problem, 200)}") from error


def _loaded(loader: Any, name: str) -> Document:
    try:
        node = loader.get_single_node()
        data = loader.construct_document(node) if node is not None else None
        return Document(data, name, node)
    finally:
        loader.dispose()


def read_yaml(path: Path) -> Document:
    """Read a YAML file; see `parse_yaml`."""
    try:
        text = read_regular(path, 4 * LARGEST_FILE).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a UTF-8 text file") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return parse_yaml(text, str(path))


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
