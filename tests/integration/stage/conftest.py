"""The smallest stage on topics of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.echo_stage import EchoBench


@pytest.fixture
def bench(kafka: str, topic_prefix: str, tmp_path: Path) -> EchoBench:
    return EchoBench(kafka, topic_prefix, tmp_path)
