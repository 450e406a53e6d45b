"""The Java artifacts that the embedded servers run, and the check whether a file is one of them.

`artifacts.list` has the exact Maven coordinate, size and sha256 of each. `fetching` downloads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, cast

Use = Literal["broker", "tools", "registry"]


@dataclass(frozen=True)
class Artifact:
    """One pinned file. `size`: bytes. `use`: the server or tool that needs it."""

    sha256: str
    size: int
    use: Use
    group: str
    artifact: str
    version: str
    classifier: str
    packaging: str

    @property
    def file_name(self) -> str:
        suffix = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{suffix}.{self.packaging}"

    @property
    def is_archive(self) -> bool:
        return self.packaging == "tar.gz"


def listed(uses: Iterable[Use]) -> tuple[Artifact, ...]:
    """The pinned artifacts of these uses. Their order, that of the list, is the order of the class path."""
    wanted = set(uses)
    return tuple(artifact for artifact in _all() if artifact.use in wanted)


@cache
def _all() -> tuple[Artifact, ...]:
    return parse_list(files("sluice.embedded").joinpath("artifacts.list").read_text())


def parse_list(text: str) -> tuple[Artifact, ...]:
    """Read the lines `sha256 size use group:artifact:version[:classifier:packaging]`; `#` starts a comment."""
    return tuple(_parse_line(line) for line in text.splitlines() if line.strip() and not line.startswith("#"))


def _parse_line(line: str) -> Artifact:
    sha256, size, use, coordinate = line.split()
    group, artifact, version, *rest = coordinate.split(":")
    classifier, packaging = rest or ("", "jar")
    return Artifact(sha256, int(size), cast(Use, use), group, artifact, version, classifier, packaging)


def damage(artifact: Artifact, path: Path) -> str | None:
    """Why this file is not the listed artifact; None if it is."""
    size = path.stat().st_size
    if size < artifact.size:
        return f"the copy is incomplete: it has {size} of {artifact.size} bytes"
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    return None if actual == artifact.sha256 else f"wrong checksum: its sha256 is {actual}, not {artifact.sha256}"
