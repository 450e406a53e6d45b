"""The committed list of artifacts, and what counts as one of them."""

import re
from pathlib import Path

import pytest

from sluice.embedded.artifacts import Artifact, damage, listed, parse_list

CONTENT = b"what was pinned"
ARTIFACT = Artifact(
    "70e2ed01d3a52e5b0e9b5fcb3ca1dd2a4ef06f1d8bf5b2e1d4b5a0e7e0e8f2aa", len(CONTENT), "broker", "g", "a", "1", "", "jar"
)


def test_the_list_is_complete_and_of_one_kafka_version() -> None:
    everything = listed(["broker", "tools", "registry"])
    assert [len(listed([use])) for use in ("broker", "tools", "registry")] == [46, 1, 1]
    assert {a.version for a in everything if a.group == "org.apache.kafka"} == {"4.2.1"}
    assert all(re.fullmatch("[0-9a-f]{64}", a.sha256) and a.size > 0 for a in everything)
    assert len({a.file_name for a in everything}) == len(everything)


def test_the_class_path_keeps_the_order_of_the_list() -> None:
    assert listed(["tools", "broker"])[0].artifact == "kafka_2.13"
    assert listed(["broker", "tools"]) == listed(["tools", "broker"])


def test_a_coordinate_may_name_a_classifier_and_a_packaging() -> None:
    (archive,) = parse_list("# comment\n\nab 12 registry g:app:3:all:tar.gz\n")
    assert (archive.file_name, archive.is_archive) == ("app-3-all.tar.gz", True)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (CONTENT[:5], "incomplete: it has 5 of 15 bytes"),
        (b"what was altered", "wrong checksum"),
        (b"", "incomplete: it has 0"),
    ],
)
def test_an_incomplete_or_altered_file_is_named_as_such(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a-1.jar"
    path.write_bytes(content)
    assert why in (damage(ARTIFACT, path) or "")
