"""A copy of an example whose pipeline.yaml a test may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


def example_copy(example: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copy `example` to `target`, which must not exist, and let `change` edit the content of its pipeline.yaml. Returns
    `target`."""
    shutil.copytree(example, target, ignore=shutil.ignore_patterns("__pycache__", ".sluice"))
    pipeline = yaml.safe_load((example / "pipeline.yaml").read_text())
    change(pipeline)
    (target / "pipeline.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    return target
