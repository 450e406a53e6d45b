"""Unpacked archives of the artifact cache. A directory is complete or does not exist; damage is detected."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from sluice.embedded.artifacts import Artifact
from sluice.errors import EnvironmentFault

CONTENT = "content.json"


def unpacked_dir(cache: Path, archive: Artifact) -> Path:
    """The directory for the archive's content; it may not exist yet."""
    return cache / f"{archive.artifact}-{archive.version}-{archive.sha256[:12]}"


def is_whole(directory: Path) -> bool:
    """Whether every file exists with the size it had after unpacking. Cheaper than a checksum at each start."""
    try:
        sizes: dict[str, int] = json.loads((directory / CONTENT).read_text())
        return all((directory / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def unpack(archive: Path, target: Path) -> None:
    """Unpack a checked archive. Raises EnvironmentFault if the disk refuses it."""
    scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=target.parent))
    try:
        with tarfile.open(archive) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
            tar.extractall(scratch)  # noqa: S202  the archive is the one pinned by sha256
        sizes = {str(p.relative_to(scratch)): p.stat().st_size for p in scratch.rglob("*") if p.is_file()}
        (scratch / CONTENT).write_text(json.dumps(sizes))
        if target.exists():  # it is damaged, otherwise nothing is unpacked
            shutil.rmtree(target)
        os.rename(scratch, target)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise EnvironmentFault(f"unpacking {archive}", str(error), "free disk space and start again") from error
