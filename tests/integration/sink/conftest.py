"""A complete sink for each test."""

from pathlib import Path

import pytest

from support.sink_stage import SinkRig


@pytest.fixture
def rig(kafka: str, registry_url: str, topic_prefix: str, postgres_dsn: str, tmp_path: Path) -> SinkRig:
    return SinkRig(kafka, registry_url, topic_prefix, postgres_dsn, tmp_path)
