"""The smallest stage, with topics that only one test uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.echo_stage import EchoBench


@pytest.fixture
def bench(kafka: str, topic_prefix: str, tmp_path: Path) -> EchoBench:
    return EchoBench(kafka, topic_prefix, tmp_path)
