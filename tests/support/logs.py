"""Restores the configuration of logs after a test that configures them as a stage does."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

__all__ = ["logs_as_before"]


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
