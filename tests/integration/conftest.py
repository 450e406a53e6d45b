"""A pipeline whose logs and tables a test writes by hand, for the folders below."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from sluice.embedded import Servers
from support.handmade import Handmade


@pytest.fixture
def handmade(servers: Servers, postgres_dsn: str, topic_prefix: str, tmp_path: Path) -> Handmade:
    return Handmade(servers, postgres_dsn, topic_prefix, tmp_path)


@pytest.fixture(scope="module")
def shared_handmade(servers: Servers, shared_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Handmade:
    """One pipeline for all tests of a module."""
    folder: Path = tmp_path_factory.mktemp("people")
    return Handmade(servers, shared_dsn, f"t{uuid.uuid4().hex[:8]}.", folder)
