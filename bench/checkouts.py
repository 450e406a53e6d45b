"""A checkout of another commit with its own environment, in the cache directory. It is built once for each commit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench.cache import cache_dir
from bench.sampling import BenchError
from sluice.embedded.fetching import Progress

HERE = Path(__file__).resolve().parents[1]
"""The checkout that the harness belongs to."""


def commit_of(revision: str) -> str:
    """The full hash of a commit. Raises BenchError if this repository does not have it."""
    command = ["git", "-C", str(HERE), "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise BenchError(
            f"--against {revision}: this repository has no such commit. Next: git fetch, or another commit"
        )
    return found.stdout.strip()


def checkout_of(revision: str, progress: Progress) -> Path:
    """The directory of a commit's files, whose `.venv` has what that commit pins. Blocks for minutes the first time."""
    commit = commit_of(revision)
    folder = cache_dir() / f"commit-{commit[:12]}"
    if (folder / ".complete").exists():
        return folder
    progress(f"building commit {commit[:12]} in {folder}, once")
    for older in cache_dir().glob("commit-*"):  # each checkout takes 800 MB
        shutil.rmtree(older, ignore_errors=True)
    folder.mkdir(parents=True)
    # `git archive` instead of a worktree, because git would still list a worktree after the cache is deleted.
    with subprocess.Popen(["git", "-C", str(HERE), "archive", commit], stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", str(folder)], stdin=archive.stdout, check=True)
    built = subprocess.run(["make", "setup"], cwd=folder, stdout=sys.stderr, check=False)
    if built.returncode:
        raise BenchError(f"`make setup` of commit {commit[:12]} failed in {folder}. Next: read its output above")
    (folder / ".complete").touch()
    return folder
