"""What every test may use, and the order in which files are run."""

from pathlib import Path

import pytest

pytest_plugins = [
    "support.pace",
    "support.ending",
    "support.failures",
    "support.logs",
    "support.servers",
    "support.shared",
]
LONGEST_FIRST = ("scenario", "differential", "integration", "contract", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders with the longest files first, so that the workers of a parallel run end at about the same time."""
    here = Path(__file__).parent
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.relative_to(here).parts[0]))
