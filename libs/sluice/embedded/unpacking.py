"""Archives of the artifact cache, unpacked: a directory is complete or absent, and a damaged one is noticed."""

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
    """Where the archive's content lies, or will."""
    return cache / f"{archive.artifact}-{archive.version}-{archive.sha256[:12]}"


def is_whole(directory: Path) -> bool:
    """Whether every file is there with the size it had when it was unpacked. Cheaper than a checksum at each start."""
    try:
        sizes: dict[str, int] = json.loads((directory / CONTENT).read_text())
        return all((directory / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def unpack(archive: Path, target: Path) -> None:
    """Unpack a checked archive. Raises EnvironmentFault when the disk does not take it."""
    scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=target.parent))
    try:
        with tarfile.open(archive) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
            tar.extractall(scratch)  # noqa: S202  the archive is the one pinned by sha256
        sizes = {str(p.relative_to(scratch)): p.stat().st_size for p in scratch.rglob("*") if p.is_file()}
        (scratch / CONTENT).write_text(json.dumps(sizes))
        if target.exists():  # damaged, else nobody would unpack
            shutil.rmtree(target)
        os.rename(scratch, target)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise EnvironmentFault(f"unpacking {archive}", str(error), "free disk space and start again") from error
