"""A broker's data directory is formatted once on each machine, and copied from then on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.embedded.artifacts import listed
from sluice.embedded.fetching import cache_dir, fetch
from sluice.embedded.kafka import FORMATTED, Kafka
from sluice.embedded.layout import Layout


def test_the_second_directory_is_formatted_as_the_first_without_a_jvm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jars = fetch(listed(["broker"]), lambda _line: None).of("broker")
    monkeypatch.setenv("SLUICE_ARTIFACTS_DIR", str(cache_dir()))
    monkeypatch.setenv("SLUICE_CACHE_DIR", str(tmp_path / "cache"))
    brokers = [Kafka(Layout.of(tmp_path / name), {"kafka": 1, "kafka-controller": 2}, jars) for name in ("a", "b")]
    for broker in brokers:
        broker.prepare()
    first, second = ([(broker.home / "data" / name).read_bytes() for name in FORMATTED] for broker in brokers)
    assert first == second
    formatted = [broker.layout.log(broker.name).exists() for broker in brokers]
    assert formatted == [True, False], "what the formatting tool prints goes to the log"
    assert sorted(path.name for path in (brokers[1].home / "data").iterdir()) == sorted(FORMATTED)
