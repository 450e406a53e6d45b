"""A copy of an example whose pipeline.yaml a test may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

# What the author wrote; everything else of the example stays where it is, and is imported from there.
AUTHORED = ("entities.py", "source.py", "sources", "schemas")


def example_copy(example: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copy `example` to `target`, which must not exist; `change` is handed what its pipeline.yaml says. `target`."""
    target.mkdir()
    for part in AUTHORED:
        if (example / part).is_dir():
            shutil.copytree(example / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(example / part, target / part)
    pipeline = yaml.safe_load((example / "pipeline.yaml").read_text())
    change(pipeline)
    (target / "pipeline.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    return target
