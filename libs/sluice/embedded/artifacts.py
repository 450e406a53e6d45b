"""The Java artifacts the embedded servers run: found, fetched, checked, cached.

Every artifact is named in `artifacts.list` by its exact Maven coordinate, size and sha256. A file is used only when its
sha256 is the listed one, wherever it came from: the cache, a download, or a directory given for closed networks.
A download becomes visible in the cache by one rename after its check, so a cut one is never seen.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from sluice.errors import EnvironmentFault

Use = Literal["broker", "tools", "registry"]
Progress = Callable[[str], None]

FETCH_DEADLINE_S = 1800.0
FETCH_ATTEMPTS = 3
FETCH_THREADS = 8
CLOSED_NETWORK = "set SLUICE_ARTIFACTS_DIR to a directory that holds the file, if this machine has no network"


@dataclass(frozen=True)
class Artifact:
    """One pinned file. `bytes` is its size, `use` says which server needs it."""

    sha256: str
    bytes: int
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


@dataclass(frozen=True)
class Fetched:
    """Where each artifact lies now, and the seconds spent on getting those that were missing (0.0 when none was)."""

    paths: dict[Artifact, Path]
    download_s: float

    def of(self, use: Use) -> list[Path]:
        """Files of one use, in the order of the list."""
        return [path for artifact, path in self.paths.items() if artifact.use == use]


@cache
def listed() -> tuple[Artifact, ...]:
    """All pinned artifacts, in the order of `artifacts.list`."""
    return parse_list(files("sluice.embedded").joinpath("artifacts.list").read_text())


def parse_list(text: str) -> tuple[Artifact, ...]:
    """The lines `sha256 bytes use group:artifact:version[:classifier:packaging]`; `#` begins a comment."""
    rows = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return tuple(_artifact(*row) for row in rows)


def _artifact(sha256: str, size: str, use: Any, coordinate: str) -> Artifact:
    group, artifact, version, *rest = coordinate.split(":")
    classifier, packaging = rest or ("", "jar")
    return Artifact(sha256, int(size), use, group, artifact, version, classifier, packaging)


def cache_dir() -> Path:
    """`SLUICE_CACHE_DIR`, else `sluice` in the user's cache directory."""
    if given := os.environ.get("SLUICE_CACHE_DIR"):
        return Path(given).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).expanduser().resolve() / "sluice"


def fetch(wanted: Sequence[Artifact], progress: Progress) -> Fetched:
    """Every wanted artifact as a checked local file.

    Raises EnvironmentFault when one cannot be had or is not what the list says.
    """
    override = os.environ.get("SLUICE_ARTIFACTS_DIR")
    if override:
        return Fetched({artifact: _from_override(artifact, Path(override)) for artifact in wanted}, 0.0)
    home = cache_dir()
    home.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(FETCH_THREADS) as pool:
        held = dict(zip(wanted, pool.map(lambda a: _cached(a, home, progress), wanted), strict=True))
    missing = [artifact for artifact, path in held.items() if path is None]
    download_s = _download_all(missing, home, progress) if missing else 0.0
    return Fetched({artifact: home / artifact.file_name for artifact in wanted}, download_s)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage(artifact: Artifact, path: Path) -> str | None:
    """Why this file is not the listed artifact, or None when it is."""
    size = path.stat().st_size
    if size != artifact.bytes:
        return f"it has {size} bytes instead of {artifact.bytes}: the copy is cut or is another version"
    actual = sha256_of(path)
    return None if actual == artifact.sha256 else f"its sha256 is {actual} instead of {artifact.sha256}"


def _from_override(artifact: Artifact, directory: Path) -> Path:
    path = directory.expanduser() / artifact.file_name
    if not path.is_file():
        raise EnvironmentFault(
            f"SLUICE_ARTIFACTS_DIR={directory}",
            f"{artifact.file_name} is not there",
            "copy it into that directory, or unset SLUICE_ARTIFACTS_DIR to download it",
        )
    if why := damage(artifact, path):
        raise EnvironmentFault(str(path), why, "copy the file again, or unset SLUICE_ARTIFACTS_DIR to download it")
    return path


def _cached(artifact: Artifact, home: Path, progress: Progress) -> Path | None:
    path = home / artifact.file_name
    if not path.is_file():
        return None
    why = damage(artifact, path)
    if why is None:
        return path
    progress(f"{path}: {why}; fetching it again")
    path.unlink(missing_ok=True)
    return None


def _download_all(missing: Sequence[Artifact], home: Path, progress: Progress) -> float:
    started = time.monotonic()
    progress(f"fetching {len(missing)} files, {sum(a.bytes for a in missing) / 2**20:.0f} MiB, into {home}")
    with _one_fetcher(home, started + FETCH_DEADLINE_S), ThreadPoolExecutor(FETCH_THREADS) as pool:
        # The largest first: it decides when all are there.
        for _ in pool.map(lambda a: _download(a, home, started), sorted(missing, key=lambda a: -a.bytes)):
            pass
    elapsed = time.monotonic() - started
    progress(f"fetched and checked in {elapsed:.1f} s")
    return elapsed


@contextmanager
def _one_fetcher(home: Path, deadline: float) -> Iterator[None]:
    """One process fetches at a time: the second finds the files of the first."""
    with (home / ".fetch.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EnvironmentFault(
                        str(home), "another process has been fetching for too long", "end it and start again"
                    ) from None
                time.sleep(0.2)
        yield


def _download(artifact: Artifact, home: Path, started: float) -> None:
    target = home / artifact.file_name
    if target.is_file() and damage(artifact, target) is None:
        return  # another process fetched it while this one waited
    why = "nothing was tried"
    for attempt in range(FETCH_ATTEMPTS):
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=home) as scratch:
            try:
                path = _resolve(artifact, Path(scratch), started)
                why = damage(artifact, path) or ""
                if not why:
                    os.replace(path, target)
                    return
            except Exception as error:  # whatever the client raises, the answer is to try again, then to say so
                why = f"{type(error).__name__}: {error}"
        time.sleep(attempt)
    raise EnvironmentFault(
        f"fetching {artifact.file_name}", why, f"check the network or the proxy and start again; {CLOSED_NETWORK}"
    )


def _resolve(artifact: Artifact, scratch: Path, started: float) -> Path:
    from jgo.maven import MavenContext
    from jgo.maven._resolver import PythonResolver

    def within_deadline(_name: str, _size: int) -> AbstractContextManager[Callable[[int], None]]:
        return nullcontext(lambda _bytes: _check_deadline(started))

    context = MavenContext(
        resolver=PythonResolver(progress_callback=within_deadline), repo_cache=scratch, local_repos=[], timeout=30
    )
    component = context.project(artifact.group, artifact.artifact).at_version(artifact.version)
    return Path(component.artifact(classifier=artifact.classifier, packaging=artifact.packaging).resolve())


def _check_deadline(started: float) -> None:
    if time.monotonic() - started > FETCH_DEADLINE_S:
        raise TimeoutError(f"not done within {FETCH_DEADLINE_S:.0f} s")


def unpacked(archive: Artifact, path: Path, progress: Progress) -> Path:
    """The archive's content as a directory of the cache, complete or absent."""
    import tarfile

    target = cache_dir() / f"{archive.artifact}-{archive.version}-{archive.sha256[:12]}"
    if target.is_dir():
        return target
    progress(f"unpacking {archive.file_name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=target.parent))
    try:
        with tarfile.open(path) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
            tar.extractall(scratch)  # noqa: S202  the archive is the one pinned by sha256
        scratch.chmod(0o755)
        os.rename(scratch, target)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if not target.is_dir():
            raise EnvironmentFault(f"unpacking {path}", str(error), "free some disk space and start again") from error
    return target
