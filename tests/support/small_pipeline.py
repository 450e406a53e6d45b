"""A pipeline's folder with one source, whose entities and mapping a test writes."""

from __future__ import annotations

from pathlib import Path

PIPELINE = """
pipeline: small
sources: {hr: {cdc: postgres, dsn: {env: HR_DSN}, tables: [public.person]}}
"""


def write_pipeline(folder: Path, entities: str, mapping: str) -> Path:
    """Write the pipeline into `folder`. Returns `folder`."""
    (folder / "sources/hr").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "entities.py").write_text(entities)
    (folder / "sources/hr/mapping.py").write_text(mapping)
    return folder
