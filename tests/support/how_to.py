"""The files that the reader of a how-to page writes, taken from the code blocks of the page.

A block that starts with `# mine/<file>` is that file. A text after a comma says where its lines go in an existing file:
`at the end`, `in class X`, `before x:`, or `instead of the line that starts like this`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```(?:python|yaml|json)\n# mine/(\S+?)(?:, ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Written(NamedTuple):
    """`where` is empty for a whole file."""

    file: str
    where: str
    text: str


def written_by(page: Path) -> Iterator[Written]:
    """In the order of the page."""
    for file, where, text in _BLOCK.findall(page.read_text("utf-8")):
        yield Written(file, where, text)


def follow(folder: Path, step: Written) -> None:
    """Do in `folder` what the page says for its `mine`."""
    file = folder / step.file
    if not step.where:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(step.text)
        return
    before = file.read_text()
    file.write_text(_placed(before, step))
    assert file.read_text() != before


def _placed(before: str, step: Written) -> str:
    if step.where == "at the end":
        return f"{before}\n\n{step.text}"
    if step.where == "instead of the line that starts like this":
        begins = re.match(r"from \S+ import|[^,:]+[,:]", step.text)
        assert begins, step
        (line,) = [one for one in before.splitlines(keepends=True) if one.startswith(begins[0])]
        return before.replace(line, step.text)
    if step.where.startswith("before "):
        line = f"\n{step.where.removeprefix('before ')}"
        assert before.count(line) == 1, step
        return before.replace(line, f"\n{step.text.rstrip()}{line}")
    name = step.where.removeprefix("in ")
    body = re.search(rf"^{name}\b[^\n]*\n(?:[ \t]+[^\n]*\n|\n(?=[ \t]))+", before, re.MULTILINE)
    assert body, step
    return before.replace(body[0], body[0] + step.text)
