"""The repository as tests see it: its root, its tracked files, what several of its files must spell alike."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from support.pace import within

ROOT = Path(__file__).resolve().parents[2]


@cache
def tracked_files() -> tuple[Path, ...]:
    """Files that git knows and that stand in the work tree, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, timeout=within(30))
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return tuple(path for name in names if (ROOT / (path := Path(name))).is_file())


def tracked_text(*suffixes: str) -> dict[Path, str]:
    """Text of the tracked files with one of `suffixes` (all of them: no argument). Binary files are left out."""
    texts = {}
    for path in tracked_files():
        if not suffixes or path.suffix in suffixes:
            try:
                texts[path] = (ROOT / path).read_text("utf-8")
            except UnicodeDecodeError:
                continue
    return texts
