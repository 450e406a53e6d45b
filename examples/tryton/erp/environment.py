"""Tryton's own virtual environment: made once per requirements file, kept in the cache directory.

Tryton is GPL software with dependencies of its own; nothing of it is installed with Sluice or imported by it.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"
INSTALL_TIMEOUT_S = 600.0
_COMPLETE = ".complete"


def environment_key() -> str:
    """Sixteen hex digits that change with the requirements file or the Python version."""
    python = "{}.{}".format(*sys.version_info[:2]).encode()
    return hashlib.sha256(REQUIREMENTS.read_bytes() + python).hexdigest()[:16]


def ensure_environment(cache_dir: Path, progress: Callable[[str], None]) -> Path:
    """The directory of the environment; made, from hashed requirements, if it is not there or not complete.

    A half-made one is thrown away: the mark of completeness is written last. Raises RuntimeError if pip fails.
    """
    target = cache_dir / f"tryton-env-{environment_key()}"
    if (target / _COMPLETE).exists():
        return target
    with exclusive(cache_dir / "tryton-env.lock"):
        if not (target / _COMPLETE).exists():
            progress("tryton: installing the ERP into its own environment (once)")
            shutil.rmtree(target, ignore_errors=True)
            venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(target)
            _install(target)
            (target / _COMPLETE).touch()
    return target


def python_of(environment: Path) -> Path:
    """The environment's interpreter. Scripts are run through it: their own first lines break on long paths."""
    return environment / "bin" / "python"


def script_of(environment: Path, name: str) -> list[str]:
    """The command line that starts one of the environment's scripts."""
    return [str(python_of(environment)), str(environment / "bin" / name)]


def _install(target: Path) -> None:
    pip = [str(python_of(target)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(f"pip could not install {REQUIREMENTS.name} into {target}:\n{done.stdout[-2000:]}")


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Lock a file: two runs that start at the same time create a cached directory once."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
