"""The files (Java archives) that the embedded servers run: which they are, how to check a file, and how to unpack it.

`artifacts.list` has the exact Maven coordinate, size and sha256 of each file. `fetching` downloads them. The directory
of an unpacked archive is complete or does not exist, and later damage is detected.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from sluice.embedded.layout import created_whole
from sluice.errors import EnvironmentFault

CONTENT = "content.json"
Use = Literal["broker", "tools", "registry"]


@dataclass(frozen=True)
class Artifact:
    """One file that an embedded server or tool needs, with its checksum. `size`: bytes. `use`: which server or tool
    needs it."""

    sha256: str
    size: int
    use: str
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
    """The files of `artifacts.list` that these `uses` need, in the order of that list, which is the order of the class
    path."""
    wanted = set(uses)
    text = files("sluice.embedded").joinpath("artifacts.list").read_text()
    return tuple(artifact for artifact in parse_list(text) if artifact.use in wanted)


def parse_list(text: str) -> tuple[Artifact, ...]:
    """Read the text of `artifacts.list`: lines `sha256 size use group:artifact:version[:classifier:packaging]`. `#`
    starts a comment."""
    return tuple(_parse_line(line) for line in text.splitlines() if line.strip() and not line.startswith("#"))


def _parse_line(line: str) -> Artifact:
    sha256, size, use, coordinate = line.split()
    group, artifact, version, *rest = coordinate.split(":")
    classifier, packaging = rest or ("", "jar")
    return Artifact(sha256, int(size), use, group, artifact, version, classifier, packaging)


def damage(artifact: Artifact, path: Path) -> str | None:
    """Why the file at `path` is not the listed artifact (wrong size or checksum); None if it is."""
    size = path.stat().st_size
    if size < artifact.size:
        return f"the copy is incomplete: it has {size} of {artifact.size} bytes"
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    return None if actual == artifact.sha256 else f"wrong checksum: its sha256 is {actual}, not {artifact.sha256}"


def unpacked_dir(cache: Path, archive: Artifact) -> Path:
    """The directory for the content of an unpacked archive; it may not exist yet."""
    return cache / f"{archive.artifact}-{archive.version}-{archive.sha256[:12]}"


def is_whole(directory: Path) -> bool:
    """Whether each file of an unpacked archive exists with the size that it had after unpacking. A checksum at each
    start would take longer."""
    try:
        sizes: dict[str, int] = json.loads((directory / CONTENT).read_text())
        return all((directory / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def unpack(archive: Path, target: Path) -> None:
    """Unpack an archive, whose checksum is checked, into `target`. Raises EnvironmentFault if the files cannot be
    written."""
    try:
        if target.exists():
            shutil.rmtree(target)  # it is damaged: the caller does not unpack an archive into a directory that is whole
        with created_whole(target) as scratch, tarfile.open(archive) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
            tar.extractall(scratch)  # noqa: S202  the sha256 of the archive is checked
            sizes = {str(p.relative_to(scratch)): p.stat().st_size for p in scratch.rglob("*") if p.is_file()}
            (scratch / CONTENT).write_text(json.dumps(sizes))
    except OSError as error:
        raise EnvironmentFault(f"unpacking {archive}", str(error), "free disk space and start again") from error
