"""The cache of the benchmarks, outside the repository: environments of peers, and checkouts of other commits."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sluice.embedded.fetching import Progress
from sluice.embedded.fetching import cache_dir as sluice_cache_dir


def cache_dir() -> Path:
    """The directory `bench` in Sluice's cache directory. It is created."""
    folder = sluice_cache_dir() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def python_environment(name: str, requirements: Sequence[str], progress: Progress) -> Path:
    """The Python of a virtual environment that has exactly `requirements` (`package==version`) and what they need.

    It is created if it does not exist. Raises CalledProcessError if pip fails; nothing is kept then.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(" ".join([version, *requirements]).encode()).hexdigest()[:12]
    folder = cache_dir() / f"{name}-{key}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    progress(f"installing {', '.join(requirements)} for peer {name}, once")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *requirements], check=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / "complete").touch()
    return python
