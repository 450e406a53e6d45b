"""Artifacts are brought by a real HTTP client from a real server on loopback that cuts, alters or refuses."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jgo.maven import _core

from sluice.embedded import fetching
from sluice.embedded.artifacts import Artifact
from sluice.embedded.fetching import fetch
from sluice.errors import EnvironmentFault

JAR = b"a jar's bytes" * 1000


def archive(**files: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


TAR = archive(program=b"run me", data=b"x" * 5000)


def pinned(content: bytes, packaging: str = "jar") -> Artifact:
    return Artifact(hashlib.sha256(content).hexdigest(), len(content), "broker", "org.g", "a", "1", "", packaging)


class Repository:
    """A Maven repository that gives `answers` one after the other, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.asked = 0
        self.announced: int | None = None
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith(".sha1") or not repository.answers:
                    return self.send_error(404)
                body = repository.answers[min(repository.asked, len(repository.answers) - 1)]
                repository.asked += 1
                self.send_response(200)
                self.send_header("Content-Length", str(repository.announced or len(body)))
                self.end_headers()
                self.wfile.write(body)
                return None

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    repository = Repository()
    monkeypatch.setitem(_core.DEFAULT_REMOTE_REPOS, "central", repository.url)
    monkeypatch.setattr(fetching, "ATTEMPTS", 2)
    thread = threading.Thread(target=repository.server.serve_forever, args=(0.01,))
    thread.start()
    yield repository
    repository.server.shutdown()
    repository.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SLUICE_ARTIFACTS_DIR", raising=False)
    return tmp_path / "cache"


def silent(_line: str) -> None: ...


def visible(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != ".lock")


def test_an_artifact_is_downloaded_once_and_then_taken_from_the_cache(repository: Repository, cache: Path) -> None:
    repository.answers = [JAR]
    first, second = fetch([pinned(JAR)], silent), fetch([pinned(JAR)], silent)
    assert [path.read_bytes() for path in first.of("broker")] == [JAR]
    assert (first.download_s > 0, second.download_s, repository.asked) == (True, 0.0, 1)
    assert visible(cache) == ["a-1.jar"]


def test_a_cut_download_is_tried_again_and_never_seen_in_the_cache(repository: Repository, cache: Path) -> None:
    repository.answers, repository.announced = [JAR[:100], JAR], len(JAR)
    assert fetch([pinned(JAR)], silent).of("broker")[0].read_bytes() == JAR
    assert repository.asked == 2


def test_a_download_that_stays_incomplete_is_an_error_with_a_way_out(repository: Repository, cache: Path) -> None:
    repository.answers = [JAR[:100]]
    with pytest.raises(EnvironmentFault, match=r"incomplete: it has 100 of 13000 bytes.*SLUICE_ARTIFACTS_DIR"):
        fetch([pinned(JAR)], silent)
    assert visible(cache) == []


def test_a_download_with_a_wrong_checksum_is_refused(repository: Repository, cache: Path) -> None:
    repository.answers = [JAR[::-1]]
    with pytest.raises(EnvironmentFault, match=r"downloading a-1.jar: wrong checksum.*Next: check the network"):
        fetch([pinned(JAR)], silent)
    assert visible(cache) == []


def test_an_artifact_that_the_repository_lacks_is_an_error_that_names_it(repository: Repository) -> None:
    with pytest.raises(EnvironmentFault, match=r"downloading a-1.jar"):
        fetch([pinned(JAR)], silent)


def test_a_cached_file_that_was_damaged_is_named_and_fetched_again(repository: Repository, cache: Path) -> None:
    cache.mkdir()
    (cache / "a-1.jar").write_bytes(JAR[:-1])
    repository.answers = [JAR]
    lines: list[str] = []
    assert fetch([pinned(JAR)], lines.append).of("broker")[0].read_bytes() == JAR
    assert "incomplete: it has 12999 of 13000 bytes; fetching it again" in lines[0]


def test_an_archive_is_unpacked_again_when_its_content_was_damaged(repository: Repository, cache: Path) -> None:
    repository.answers = [TAR]
    (directory,) = fetch([pinned(TAR, "tar.gz")], silent).of("broker")
    assert (directory / "program").read_bytes() == b"run me"
    (directory / "data").write_bytes(b"x" * 4999)
    assert fetch([pinned(TAR, "tar.gz")], silent).of("broker") == [directory]
    assert (directory / "data").read_bytes() == b"x" * 5000
    assert visible(cache) == [directory.name]


@pytest.mark.parametrize(
    ("content", "why"), [(None, "it is missing"), (JAR[:50], "incomplete: it has 50"), (JAR[::-1], "wrong checksum")]
)
@pytest.mark.parametrize("packaging", ["jar", "tar.gz"])
def test_a_directory_for_closed_networks_is_checked_too_and_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packaging: str, content: bytes | None, why: str
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    if content is not None:
        (given / f"a-1.{packaging}").write_bytes(content)
    monkeypatch.setenv("SLUICE_ARTIFACTS_DIR", str(given))
    with pytest.raises(EnvironmentFault, match=rf"{why}.*unset SLUICE_ARTIFACTS_DIR"):
        fetch([pinned(JAR, packaging)], silent)
    assert [path.read_bytes() for path in given.iterdir()] == [] if content is None else [content]


def test_a_directory_for_closed_networks_serves_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-1.jar").write_bytes(JAR)
    (tmp_path / "a-1.tar.gz").write_bytes(TAR)
    monkeypatch.setenv("SLUICE_ARTIFACTS_DIR", str(tmp_path))
    jar, directory = fetch([pinned(JAR), pinned(TAR, "tar.gz")], silent).of("broker")
    assert (jar, (directory / "program").read_bytes()) == (tmp_path / "a-1.jar", b"run me")
    assert (tmp_path / "a-1.tar.gz").exists()
