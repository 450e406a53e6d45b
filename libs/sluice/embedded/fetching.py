"""Gets the files that the embedded servers run: from the cache, from the directory `SLUICE_ARTIFACTS_DIR`, or from
Maven's repository.

The sha256 of each file is checked before the file is used. A download is checked and then moved into the cache by one
rename, so the cache never contains an incomplete file. A damaged file of the cache is downloaded again.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sluice.embedded.artifacts import Artifact, damage, is_whole, unpack, unpacked_dir
from sluice.embedded.state_lock import try_lock
from sluice.errors import EnvironmentFault

Progress = Callable[[str], None]

DEADLINE_S = 1800.0
ATTEMPTS = 3
THREADS = 8
READ_TIMEOUT_S = 30
REPORT_EVERY_S = 3.0


@dataclass(frozen=True)
class FetchedArtifacts:
    """The path of each requested artifact, in the order of the request. For an archive it is the directory of its
    content.

    `download_s`: seconds spent on downloads; 0.0 if no file was missing.
    """

    paths: dict[Artifact, Path]
    download_s: float

    def of(self, *uses: str) -> list[Path]:
        return [path for artifact, path in self.paths.items() if artifact.use in uses]


def cache_dir() -> Path:
    """The directory of the cache: `SLUICE_CACHE_DIR`, or `sluice` in the user's cache directory."""
    if given := os.environ.get("SLUICE_CACHE_DIR"):
        return Path(given).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).expanduser().resolve() / "sluice"


def fetch(wanted: Sequence[Artifact], progress: Progress) -> FetchedArtifacts:
    """Download the artifacts that are missing, and check all of them. Blocks during the download.

    Raises EnvironmentFault if an artifact cannot be downloaded, or differs from the size and sha256 in the list.
    """
    home = cache_dir()
    home.mkdir(parents=True, exist_ok=True)
    given = os.environ.get("SLUICE_ARTIFACTS_DIR")
    source = Path(given).expanduser() if given else home
    with ThreadPoolExecutor(THREADS) as pool:
        whole = list(pool.map(lambda artifact: _is_there(artifact, home, source, progress), wanted))
    missing = [artifact for artifact, there in zip(wanted, whole, strict=True) if not there]
    took_s = _fetch_missing(missing, home, source, progress) if missing else 0.0
    return FetchedArtifacts(
        {a: unpacked_dir(home, a) if a.is_archive else source / a.file_name for a in wanted}, took_s
    )


def _is_there(artifact: Artifact, home: Path, source: Path, progress: Progress) -> bool:
    if artifact.is_archive:
        return is_whole(unpacked_dir(home, artifact))
    path = source / artifact.file_name
    why = damage(artifact, path) if path.is_file() else "it is missing"
    if why and source != home:
        raise _refused(path, why)
    if why and path.exists():
        progress(f"{path}: {why}; fetching it again")
        path.unlink(missing_ok=True)
    return why is None


def _refused(path: Path, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        str(path), why, "copy the file there again, or unset SLUICE_ARTIFACTS_DIR to have it downloaded"
    )


class Meter:
    """Counts the bytes that all download threads received, reports them every few seconds, and enforces the deadline of
    the download."""

    def __init__(self, total_bytes: int, progress: Progress) -> None:
        self.started = time.monotonic()
        self.cancelled = False
        self._total_bytes, self._progress = total_bytes, progress
        self._bytes, self._reported_at, self._lock = 0, self.started, threading.Lock()

    def add(self, count: int) -> None:
        """Count the bytes of a chunk that was received. Raises TimeoutError after the deadline of the whole download,
        because a very slow download never reaches its read timeout."""
        now = time.monotonic()
        if self.cancelled or now - self.started > DEADLINE_S:
            raise TimeoutError(f"not done after {now - self.started:.0f} s")
        with self._lock:
            self._bytes += count
            if now - self._reported_at < REPORT_EVERY_S:
                return
            self._reported_at = now
        self._progress(f"downloaded {self._bytes / 2**20:.0f} of {self._total_bytes / 2**20:.0f} MiB")


def _fetch_missing(missing: Sequence[Artifact], home: Path, source: Path, progress: Progress) -> float:
    meter = Meter(sum(artifact.size for artifact in missing), progress)
    if source == home:
        progress(f"downloading {len(missing)} files to {home}")
    with _one_at_a_time(home, meter.started + DEADLINE_S), ThreadPoolExecutor(THREADS) as pool:
        try:
            # Download the largest files first, because they take the longest.
            largest_first = sorted(missing, key=lambda artifact: -artifact.size)
            list(pool.map(lambda artifact: _fetch_one(artifact, home, source, meter), largest_first))
        except BaseException:  # an interrupt (Ctrl-C) cancels the downloads too: it must not wait for a slow one
            meter.cancelled = True
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    took_s = time.monotonic() - meter.started
    progress(f"artifacts checked and ready ({took_s:.1f} s)")
    return took_s


@contextmanager
def _one_at_a_time(home: Path, deadline: float) -> Iterator[None]:
    """In this context only one process fills the cache. A process that waits here then finds the files in the cache."""
    with (home / ".lock").open("w") as lock:
        while not try_lock(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                why = f"another process has filled this cache for over {DEADLINE_S:.0f} s"
                raise EnvironmentFault(str(home), why, "end that process, then start again")
            time.sleep(0.2)
        yield


def _fetch_one(artifact: Artifact, home: Path, source: Path, meter: Meter) -> None:
    path = source / artifact.file_name
    # Another process may have downloaded this artifact while this one waited for the lock of the cache.
    if artifact.is_archive and is_whole(unpacked_dir(home, artifact)):
        return
    if source == home and not path.is_file():
        _download(artifact, path, meter)
    if not artifact.is_archive:
        return
    why = damage(artifact, path) if path.is_file() else "it is missing"
    if why:
        raise _refused(path, why)
    unpack(path, unpacked_dir(home, artifact))
    if source == home:
        path.unlink()  # the archive is unpacked and would only use disk space


def _download(artifact: Artifact, target: Path, meter: Meter) -> None:
    why: str | None = None
    for attempt in range(ATTEMPTS):
        if meter.cancelled:
            break
        time.sleep(attempt)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as scratch:
            try:
                path = _resolve(artifact, Path(scratch), meter)
                why = damage(artifact, path)
                if why is None:
                    os.replace(path, target)
                    return
            except Exception as error:  # the Maven client may raise any exception: try again, then report it
                why = f"{type(error).__name__}: {error}"
    raise EnvironmentFault(
        f"downloading {artifact.file_name}",
        f"{why} ({ATTEMPTS} attempts)",
        "check the network and its proxy and start again; on a closed network put the file into a directory"
        " and name that in SLUICE_ARTIFACTS_DIR",
    )


def _resolve(artifact: Artifact, scratch: Path, meter: Meter) -> Path:
    # Import the Maven client here, because the import is slow and only the first run on a machine needs it.
    from jgo.maven import MavenContext, PythonResolver

    def watched(_name: str, _size: int) -> AbstractContextManager[Callable[[int], None]]:
        return nullcontext(meter.add)

    resolver = PythonResolver(progress_callback=watched)
    context = MavenContext(resolver=resolver, repo_cache=scratch, local_repos=[], timeout=READ_TIMEOUT_S)
    component = context.project(artifact.group, artifact.artifact).at_version(artifact.version)
    return Path(component.artifact(classifier=artifact.classifier, packaging=artifact.packaging).resolve())
