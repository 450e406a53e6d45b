"""Reads a pipeline: the author's folder with `pipeline.yaml`, `entities` and `sources/<source>/`, as typed values."""

from sluice.pipeline.load import load_pipeline
from sluice.pipeline.model import (
    CdcSource,
    DebeziumSource,
    Pipeline,
    PollSource,
    PostgresSink,
    SourceStream,
    StreamSettings,
)
from sluice.pipeline.secret import Secret, reveal_all

__all__ = [
    "CdcSource",
    "DebeziumSource",
    "Pipeline",
    "PollSource",
    "PostgresSink",
    "Secret",
    "SourceStream",
    "StreamSettings",
    "load_pipeline",
    "reveal_all",
]
