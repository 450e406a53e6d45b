"""Reads a YAML file that a person wrote. An error names the line of the mistake.

A key that occurs twice in one mapping is refused. PyYAML itself would accept it and ignore the first value.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.constructor import SafeConstructor

from sluice.errors import SettingsError

BYTES_MAX = 1024 * 1024
# The most values that a YAML file may have after its anchors are expanded. An anchor repeats a part of the file, so
# nine lines of anchors can expand to a billion values.
NODES_MAX = 100_000


class YamlFile(NamedTuple):
    """A YAML file that was read. `value`: its content as plain data. `node`: its parsed nodes with their lines."""

    file: Path
    node: Any
    value: Any

    def line(self, location: tuple[int | str, ...]) -> int:
        """The line of the member at `location`, counted from 1. `location`: keys and list indexes on the way to it.

        If the file does not contain the member, the line is that of the innermost part that it does contain.
        """
        node, line = self.node, 0 if self.node is None else int(self.node.start_mark.line)
        for part in location:
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next((pair for pair in node.value if pair[0].value == str(part)), None)
                if found:
                    line, node = found[0].start_mark.line, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = found = node.value[part]
                line = node.start_mark.line
            if found is None:
                break
        return line + 1


def read_yaml(file: Path) -> YamlFile:
    """Read and parse a YAML file.

    Raises SettingsError with file and line if the content is refused, OSError if the file cannot be read.
    """
    text = _text(file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return YamlFile(file, None, None)
        _require_size(file, node)
        for line, problem in _repeated_keys(node, ()):
            raise SettingsError(f"{file}:{line}: {problem}")
        return YamlFile(file, node, SafeConstructor().construct_document(node))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise SettingsError(f"{file}:{line}: not YAML: a character that YAML does not allow") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark else ""
        raise SettingsError(f"{file}{place}: not YAML: {getattr(error, 'problem', None) or 'unreadable'}") from None
    except RecursionError:
        raise SettingsError(f"{file}: nested too deeply") from None
    except ValueError:  # for a value that cannot exist, such as the date 2026-02-30
        raise SettingsError(f"{file}: not YAML: it contains an impossible value. Next: put texts in quotes") from None


def _text(file: Path) -> str:
    if file.exists() and not file.is_file():
        raise SettingsError(f"{file}: is not a file")
    with file.open("rb") as opened:
        read = opened.read(BYTES_MAX + 1)
    if len(read) > BYTES_MAX:
        raise SettingsError(f"{file}: is larger than {BYTES_MAX} bytes")
    try:
        return read.decode()
    except UnicodeDecodeError as error:
        line = read.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{file}:{line}: not UTF-8. Next: save it in that encoding") from None


def _require_size(file: Path, node: Any) -> None:
    sizes: dict[int, int] = {}

    def size(one: Any) -> int:
        known = sizes.get(id(one))
        if known is not None:
            return known
        sizes[id(one)] = NODES_MAX + 1  # stays in use if the node contains itself through an anchor, and so has no end
        children = one.value if isinstance(one, yaml.CollectionNode) else []
        flat = [part for child in children for part in (child if isinstance(child, tuple) else [child])]
        sizes[id(one)] = 1 + sum(size(part) for part in flat)
        return sizes[id(one)]

    if size(node) > NODES_MAX:
        raise SettingsError(f"{file}: its anchors expand to more than {NODES_MAX} values. Next: write it without them")


def _repeated_keys(node: Any, location: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """The line and the problem of each key that occurs twice in one YAML mapping."""
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _repeated_keys(child, location)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[tuple[str, str], int] = {}
    for key, child in node.value:
        if isinstance(key, yaml.ScalarNode):
            here, spelt = (*location, key.value), (key.tag, key.value)
            line = key.start_mark.line + 1
            if spelt in lines:
                yield line, f"{'.'.join(here)} is given twice, first in line {lines[spelt]}"
            lines[spelt] = line
            yield from _repeated_keys(child, here)
